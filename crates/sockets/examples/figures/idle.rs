//! What a socket costs that does nothing: with the small profile, and with the library's default.

use std::{error::Error, time::Duration};

use plimsoll_sockets::ConnectionRegistry;

use crate::{
    Options,
    process::{self, Other, rss},
    server::{listening, plain, serve, until},
};

const SOCKETS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(300);

/// Each profile in a process of its own, so that none finds the memory of the other.
pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let number = options.sockets.unwrap_or(SOCKETS).to_string();
    println!("profile   sockets  RSS per socket");
    for profile in ["chat", "library"] {
        process::run(&["idle", profile, "--sockets", &number])?;
    }
    Ok(())
}

/// One profile.
pub(crate) async fn one(options: &Options, profile: &str) -> Result<(), Box<dyn Error>> {
    let number = options.sockets.unwrap_or(SOCKETS);
    let sockets = ConnectionRegistry::builder().build()?;
    let app = match profile {
        "chat" => listening(&sockets),
        "library" => plain(),
        _ => return Err(format!("no profile {profile}; there are chat and library").into()),
    };
    let address = serve(app).await?;
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let (before, files_before) = (rss()?, files());
    let client = Other::start(&["client", &address, &number.to_string()])?;
    until("all are open", PATIENCE, || files() >= files_before + number).await?;
    // The last of them are still shaking hands.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = rss()?.saturating_sub(before) / number as u64;
    println!("{profile:8}  {number:7}  {:9.1} KiB", crate::cycles::ratio(each, 1_024));
    client.cut()
}
