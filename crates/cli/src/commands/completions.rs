//! `completions`: a script for a shell; asks no server.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::{args::Args, exit::Exit, failure::Failure, output::Output};

/// Runs `completions`.
pub(super) fn run(shell: Shell, output: &mut Output) -> Result<Exit, Failure> {
    // Into memory first: the generator panics on a writer that fails, as a closed pipe does.
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "plimsoll", &mut script);
    output.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
