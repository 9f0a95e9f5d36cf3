//! Floods guarded and unguarded servers in small memory cgroups, and tells which of them live
//! and what they served.
//!
//! `cargo run --release -p plimsoll-flood`, as root; the README tells the rest. Times are
//! reported and never a reason to fail.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod adversary;
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
use plimsoll_flood::{Guard, MB};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    adversary::Attacked,
    options::{Options, Plan},
    programs::Programs,
    variant::Protector,
};

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
    let programs = Programs::build(&plan)?;
    if !plan.adversaries.is_empty() {
        let attacked = attack(&plan, &programs).await?;
        write_json(options, &attacked)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut outcomes = Vec::new();
    for profile in &plan.profiles {
        println!("{}", table::title(*profile, &plan));
        println!("{}", table::HEAD);
        for variant in &plan.variants {
            for run in 0..plan.runs {
                if let Some(why) = programs.missing(*variant) {
                    println!("{:<23}{:<10}skipped: {why}", variant.guard, variant.allocator);
                    break;
                }
                let outcome = flood::run(&plan, &programs, *profile, *variant, run).await?;
                println!("{}", table::row(&outcome));
                outcomes.push(outcome);
            }
        }
        println!();
    }
    write_json(options, &outcomes)?;
    Ok(if plan.quick { quick_verdict(&outcomes) } else { ExitCode::SUCCESS })
}

async fn attack(plan: &Plan, programs: &Programs) -> Result<Vec<Attacked>, String> {
    println!("adversaries: limit {} MB, {} s", plan.limit_bytes / MB, plan.seconds);
    println!("{}", adversary::HEAD);
    let mut all = Vec::new();
    for adversary in &plan.adversaries {
        for variant in &plan.variants {
            // Only where it is meant to show that the attack is one.
            if variant.guard == Protector::Guard(Guard::None) && !adversary.kills() {
                continue;
            }
            let attacked = adversary::run(plan, programs, *adversary, *variant).await?;
            println!("{}", adversary::row(&attacked));
            all.push(attacked);
        }
    }
    Ok(all)
}

fn write_json(options: &Options, figures: &impl Serialize) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(figures)?)?;
    }
    Ok(())
}

/// For CI: the control has to die, or the flood shows nothing, and Plimsoll has to live.
fn quick_verdict(outcomes: &[outcome::Outcome]) -> ExitCode {
    let faults: Vec<String> = outcomes.iter().filter_map(outcome::Outcome::fault).collect();
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
