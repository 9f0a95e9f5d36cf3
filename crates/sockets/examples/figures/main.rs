//! What connections cost and what is left of them, in figures.
//!
//! ```text
//! cargo run --release -p plimsoll-sockets --all-features --example figures -- cycles
//! cargo run --release -p plimsoll-sockets --all-features --example figures -- idle
//! cargo run --release -p plimsoll-sockets --all-features --example figures -- polling
//! ```
//!
//! `--full` takes the deadlines of a real server and the time that they take; without it they are
//! short. `--sockets N` and `--cycles N` change the numbers. Clients are a process of their own.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program prints its figures")]

mod client;
mod cycles;
mod idle;
mod polling;
mod process;
mod server;

use std::error::Error;

/// What the command line says.
struct Options {
    full: bool,
    sockets: Option<usize>,
    cycles: Option<usize>,
    words: Vec<String>,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self { full: false, sockets: None, cycles: None, words: Vec::new() };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--full" => options.full = true,
                "--sockets" | "--cycles" => {
                    let value = args.next().unwrap_or_default();
                    let number = value.parse().ok().filter(|number| *number > 0);
                    let number = number.ok_or(format!("{arg} {value}: accepted are 1 and more"))?;
                    match arg.as_str() {
                        "--sockets" => options.sockets = Some(number),
                        _ => options.cycles = Some(number),
                    }
                }
                _ => options.words.push(arg),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let words: Vec<_> = options.words.iter().map(String::as_str).collect();
    process::raise_file_limit()?;
    match words[..] {
        ["cycles"] => cycles::run(&options).await,
        ["idle"] => idle::run(&options).await,
        ["idle", profile] => idle::one(&options, profile).await,
        ["polling"] => polling::run(&options).await,
        ["client", address, number] => client::hold(address, number.parse()?).await,
        ["pollers", address, rate] => client::abandon(address, rate.parse()?).await,
        _ => {
            Err("accepted are cycles, idle and polling, with --full, --sockets N, --cycles N"
                .into())
        }
    }
}
