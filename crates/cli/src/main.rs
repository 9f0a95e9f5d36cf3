//! `plimsoll`: report, cleanup, monitor and thresholds of a server that mounts the Plimsoll
//! monitoring routes.
//!
//! ```text
//! plimsoll report                 what the server holds now, and its newest cleanups
//! plimsoll cleanup                give memory back now
//! plimsoll monitor                one line each 30 s
//! plimsoll thresholds 1500,2500   show or change the two thresholds
//! plimsoll aggressive             database rules, then the aggressive cleanup
//! plimsoll watch                  the full screen: chart, routes, alerts, cleanups, and keys to act
//! plimsoll alerts                 what is wrong, and who is told; `--test`, `--silence`, `--resolve`
//! plimsoll doctor                 check the set-up, each finding with its fix
//! plimsoll completions bash       a completion script
//! ```
//!
//! The tool speaks plain HTTP and JSON to `--url` (or `PLIMSOLL_URL`) and uses no proxy, so that
//! a call to a loopback address stays on the machine. A token comes from `--token-file` or
//! `PLIMSOLL_TOKEN`, never from a flag, because other users can read a command line.
//!
//! Data goes to standard output, talk to standard error. Under `--json` standard output holds
//! one JSON document, also when the command fails (`monitor --json`: one document a line). Pipes
//! get no colour. A closed pipe ends the command quietly.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | unexpected: a faulty server or answer |
//! | 2 | usage |
//! | 3 | unreachable, or no answer in time |
//! | 4 | not allowed |
//! | 5 | refused |
//! | 7 | ran, with failed actions |
//! | 10, 11 | warning, critical; only `report --check` and `doctor` |
//! | 130 | interrupted, or the question of `aggressive` was not answered with yes |
//!
//! An interrupt is left to the operating system: the process dies of the signal, which a shell
//! reports as 130. Nothing has to be undone, since every change is made by the server. `watch` gives
//! the terminal back first, and then ends in 130.
//!
//! # Features
//! `tui` (default): the full screen of `watch`. Without it, and without a terminal, `watch` prints
//! the lines of `monitor`.
//!
//! # What it cannot see
//! Only what the server reports. The `alerts` command is not part of this release.
#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod exit;
mod failure;
mod look;
mod output;
mod render;
mod text;
mod threshold;
mod time;
mod token;
mod url;
#[cfg(feature = "tui")]
mod watch;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Args, exit::Exit};

fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => commands::run(&args).into(),
        Err(error) => {
            // Also the way of `--help` and `--version`. A closed pipe is no reason to complain.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
        }
    }
}
