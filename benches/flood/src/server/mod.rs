//! The flooded server: requests that hold what they were asked to hold, behind a guard.

mod bodies;
mod hold;
mod peers;
mod pressure;
mod protect;
pub mod tuning;
mod usage;

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{self, ExitCode},
    thread,
};

use axum::{
    Router,
    routing::{get, post},
};
use clap::Parser;
use tokio::net::TcpListener;

use crate::Guard;

/// Threads of the runtime, as on a machine with two cores.
const WORKERS: usize = 2;

#[derive(Clone, Debug, Parser)]
#[command(about = "The flooded server; plimsoll-flood starts it in a memory cgroup")]
struct Options {
    /// What stands in front of it
    #[arg(long, default_value = "none")]
    guard: Guard,
    /// The limit of its cgroup, in bytes
    #[arg(long)]
    limit_bytes: u64,
    /// The file that tells the usage of its cgroup
    #[arg(long)]
    usage_file: PathBuf,
    /// A folder for large files, on a disk
    #[arg(long)]
    scratch: PathBuf,
    /// What each request of the flood takes, which only the oracle of `conc` is told
    #[arg(long, default_value_t = 4 * crate::MB)]
    request_bytes: u64,
    /// Register a pruner for what `/background` grows
    #[arg(long)]
    prune_background: bool,
}

/// Serves until its standard input ends, which it does with whoever started it. `tune` is the call
/// by which an application sets up its allocator; it is made for the variant that wants it.
pub fn serve(tune: fn()) -> ExitCode {
    let options = Options::parse();
    if options.guard == Guard::PlimsollTuned {
        tune();
    }
    // A server that outlives a killed flood would keep its cgroup for ever.
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let background = pressure::Background::default();
    let work = Router::new()
        .route("/alloc", post(hold::alloc))
        .route("/upload", post(bodies::upload))
        .route("/download", get(bodies::download))
        .route("/background", post(pressure::grow).with_state(background.clone()))
        .route(
            "/fill-cache",
            post(pressure::fill_cache).with_state(pressure::Scratch::new(&options.scratch)),
        );
    // Held until the end: it keeps pruners registered.
    let (app, _protection) = protect::wrap(work, &options, &background)?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = io::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
