//! A chat server that Plimsoll keeps afloat: axum, WebSockets and Socket.IO, and an embedded SQLite
//! database or PostgreSQL.
//!
//! `cargo run -p chat` serves it, `cargo run -p chat -- load` drives it with real clients, and
//! `cargo run -p chat -- plot` shows what Plimsoll does for it when it leaks. How Plimsoll is put around it is in one file, `protect.rs`, and the rules for old rows are in
//! `retention.rs`.
#![forbid(unsafe_code)]

mod api;
mod app;
mod chaos;
mod conversation;
mod db;
#[cfg(test)]
mod end_to_end;
mod hold;
mod load;
mod location;
mod message;
mod options;
mod page;
mod plot;
mod problem;
mod protect;
mod retention;
mod room;
mod serve;
mod socket_io;
mod stop;
#[cfg(test)]
mod testing;
mod ws;

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use plimsoll::{TracedErrors, prelude::Journal};
use tracing_subscriber::{EnvFilter, prelude::*};

use crate::options::{Command, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = Journal::new();
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter);
    // What is logged as an error is tracked, also where the filter keeps it off the screen.
    tracing_subscriber::registry().with(stderr).with(TracedErrors::new(&journal.errors)).init();
    let result = match options.command {
        Some(Command::Load(load)) => load::run(load).await.map_err(|error| one_line(&error)),
        Some(Command::Plot(plot)) => plot::run(plot).await.map_err(|error| one_line(&error)),
        None => serve::run(options.server, journal).await.map_err(|error| one_line(&error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes; one that only repeats what was said already is left out.
fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
