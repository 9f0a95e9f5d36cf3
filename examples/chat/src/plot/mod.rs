//! `chat plot`: the same leaking server twice in a small memory cgroup, without Plimsoll and with
//! it, under the same load. Prints the figures and draws the picture that the README shows.
//!
//! The server and the load are processes of their own, so that neither is measured as part of the
//! other. The probe, which tells how long admitted requests take, is here.

mod draw;
mod figures;
mod probe;
mod run;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use plimsoll::prelude::MB;
use plimsoll_testkit::{MemoryGroup, MemoryGroupError};

use self::{figures::Figures, run::Run};
use crate::options::PlotOptions;

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlotError {
    #[error("{0}; without one nothing would kill the server that leaks")]
    NoGroup(#[from] MemoryGroupError),
    #[error("{0}")]
    Run(String),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot print the table")]
    Print(#[from] io::Error),
}

/// Runs both servers, draws the picture and prints the table.
pub(crate) async fn run(options: PlotOptions) -> Result<(), PlotError> {
    let limit = options.limit_mb * MB;
    let mut runs = Vec::new();
    for guard in [false, true] {
        let group = MemoryGroup::with_limit(limit)?;
        eprintln!("{}, at most {} s ...", name(guard), options.idle_seconds + options.seconds);
        runs.push(Run::of(&options, &group, guard).await.map_err(PlotError::Run)?);
    }
    let figures: Vec<_> = runs.iter().map(Figures::of).collect();
    let picture = draw::picture(&runs, &figures, limit);
    let path = options.svg;
    fs::write(&path, picture).map_err(|source| PlotError::Write { path: path.clone(), source })?;
    let text = format!("{}\n{}", runs[1].command(), figures::table(&runs, &figures));
    io::stdout().write_all(text.as_bytes())?;
    eprintln!("drawn: {}", path.display());
    Ok(())
}

fn name(guard: bool) -> &'static str {
    if guard { "with Plimsoll" } else { "without Plimsoll" }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Whole MB, for people.
fn mb(bytes: u64) -> u64 {
    (bytes + MB / 2) / MB
}
