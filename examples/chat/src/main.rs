//! A chat server that Plimsoll keeps afloat: axum, WebSockets and an embedded SQLite database.
//!
//! `cargo run -p chat` serves it, `cargo run -p chat -- load` drives it with real clients. What
//! Plimsoll needs is in one file, `protect.rs`; the rest would be the same without it.
#![forbid(unsafe_code)]

mod app;
mod chaos;
mod db;
#[cfg(test)]
mod end_to_end;
mod hold;
mod journal;
mod load;
mod message;
mod options;
mod page;
mod problem;
mod protect;
mod room;
mod serve;
mod socket;
mod stop;

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::options::{Command, Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let result = match options.command {
        Some(Command::Load(load)) => load::run(load).await.map_err(|error| one_line(&error)),
        None => serve::run(options.server).await.map_err(|error| one_line(&error)),
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
