//! One module a command: ask, render, choose the exit code.

mod aggressive;
mod alerts;
mod cleanup;
mod completions;
mod doctor;
mod monitor;
mod report;
mod thresholds;
mod watch;

use crate::{
    args::{Args, Command, Global},
    client::{Client, Reply},
    exit::Exit,
    failure::Failure,
    look::Look,
    output::Output,
    token::Token,
    wire::{Envelope, Report},
};

/// Report, cleanup and thresholds share this route.
const MEMORY: &str = "/api/monitoring/memory";

/// Runs a command to its exit code.
pub(crate) fn run(args: &Args) -> Exit {
    let mut output = Output::new(Look::new(&args.global), args.global.json);
    match dispatch(args, &mut output) {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            failure.exit()
        }
    }
}

fn dispatch(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    let global = &args.global;
    match &args.command {
        Command::Report(options) => report::run(&connect(global)?, options, global.verbose, output),
        Command::Cleanup(options) => cleanup::run(&connect(global)?, options, output),
        Command::Monitor(options) => monitor::run(&connect(global)?, options, output),
        Command::Thresholds(options) => thresholds::run(global, options, output),
        Command::Aggressive(options) => aggressive::run(global, options, output),
        Command::Watch => watch::run(global, output),
        Command::Alerts(options) => alerts::run(global, options, output),
        Command::Doctor => doctor::run(&connect(global)?, output),
        Command::Completions { shell } => completions::run(*shell, output),
    }
}

fn connect(global: &Global) -> Result<Client, Failure> {
    let token = Token::find(global.token_file.as_deref())?;
    Ok(Client::new(global.url.clone(), token, global.timeout, global.verbose > 0))
}

/// The same, but never telling its calls.
#[cfg(feature = "tui")]
fn quiet(global: &Global) -> Result<Client, Failure> {
    let token = Token::find(global.token_file.as_deref())?;
    Ok(Client::new(global.url.clone(), token, global.timeout, false))
}

/// Asks for the report.
fn fetch_report(client: &Client) -> Result<(Reply, Envelope<Report>, Report), Failure> {
    let reply = client.get(MEMORY)?;
    let mut envelope: Envelope<Report> = reply.read()?;
    match envelope.data.take().filter(|report| !report.is_foreign()) {
        Some(report) => Ok((reply, envelope, report)),
        None => Err(reply.foreign()),
    }
}
