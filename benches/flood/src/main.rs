//! Floods guarded and unguarded servers in small memory cgroups, and tells which of them live
//! and what they served.
//!
//! `cargo run --release -p plimsoll-flood`, as root; the README tells the rest. Times are
//! reported and never a reason to fail.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod allocator;
mod client;
mod flood;
mod group;
mod http;
mod options;
mod outcome;
mod process;
mod profile;
mod programs;
mod sampler;
mod table;
mod variant;

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Options, Plan};

/// As a shell has it for a program that was interrupted.
const INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let work = async {
        match run(&options).await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    };
    // Dropping the work ends its servers and removes its cgroups.
    tokio::select! {
        code = work => code,
        () = interrupted() => ExitCode::from(INTERRUPTED),
    }
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if options.list {
        print!("{}", options::list());
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan::of(options)?;
    group::MemoryGroup::with_limit(plan.limit_bytes)
        .map_err(|why| format!("no memory cgroup can be made here (this needs root): {why}"))?;
    let programs = programs::Programs::build(&plan)?;
    let mut outcomes = Vec::new();
    for profile in &plan.profiles {
        println!("{}", table::title(*profile, &plan));
        println!("{}", table::HEAD);
        for variant in &plan.variants {
            for run in 0..plan.runs {
                if let Some(why) = programs.missing(*variant) {
                    println!("{:<17}{:<10}skipped: {why}", variant.guard, variant.allocator);
                    break;
                }
                let outcome = flood::run(&plan, &programs, *profile, *variant, run).await?;
                println!("{}", table::row(&outcome));
                outcomes.push(outcome);
            }
        }
        println!();
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&outcomes)?)?;
    }
    Ok(if plan.quick { quick_verdict(&outcomes) } else { ExitCode::SUCCESS })
}

/// For CI: the control has to die, or the flood shows nothing, and Plimsoll has to live.
fn quick_verdict(outcomes: &[outcome::Outcome]) -> ExitCode {
    let faults: Vec<String> = outcomes.iter().filter_map(outcome::Outcome::fault).collect();
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
