//! The real command against a canned server: outputs to the byte, requests, exit codes.
//!
//! `tests/fixtures` holds what the server says, `tests/golden` what must be printed.
#![forbid(unsafe_code)]

#[cfg(test)]
mod actions;
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod common;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod monitor;
#[cfg(test)]
mod report;
#[cfg(test)]
mod support;
#[cfg(test)]
#[cfg(all(target_os = "linux", feature = "tui"))]
mod terminal;
#[cfg(test)]
mod watch;
