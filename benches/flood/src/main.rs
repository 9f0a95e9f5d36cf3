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
mod crossing;
mod flood;
mod http;
mod matrix;
mod options;
mod outcome;
mod process;
mod profile;
mod programs;
mod sampler;
mod soak;
mod table;
mod variant;

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use plimsoll_flood::{Guard, MB};
use plimsoll_testkit::MemoryGroup;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    adversary::{Adversary, Attacked},
    crossing::Crossed,
    options::{Options, Plan, Work},
    outcome::{Outcome, Verdict},
    programs::Programs,
    soak::Minute,
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
    if let Err(why) = MemoryGroup::with_limit(plan.limit_bytes) {
        let why = format!("{why} (this needs root)");
        // CI runs in places that allow none; whoever asks for figures has to be told.
        if plan.work == Work::Quick {
            println!("skipped: {why}");
            return Ok(ExitCode::SUCCESS);
        }
        return Err(why.into());
    }
    let programs = Programs::build(&plan)?;
    match &plan.work {
        Work::Attack(adversaries) => {
            let attacked = attack(&plan, &programs, adversaries).await?;
            write_json(options, &attacked)?;
            Ok(ExitCode::SUCCESS)
        }
        Work::Matrix(limits) => {
            let outcomes = matrix(&plan, &programs, limits).await?;
            write_json(options, &outcomes)?;
            Ok(succeeded(matrix::all_lived(&outcomes)))
        }
        Work::Soak => {
            let soaked = soak(&plan, &programs).await?;
            write_json(options, &soaked)?;
            let lived = soaked.iter().all(|(outcome, _)| outcome.verdict == Verdict::Survived);
            Ok(succeeded(lived))
        }
        Work::Crossing(times) => {
            let crossed = crossings(&plan, &programs, *times).await?;
            write_json(options, &crossed)?;
            Ok(ExitCode::SUCCESS)
        }
        Work::Tables | Work::Quick => {
            let outcomes = tables(&plan, &programs).await?;
            write_json(options, &outcomes)?;
            Ok(if plan.work == Work::Quick { quick_verdict(&outcomes) } else { ExitCode::SUCCESS })
        }
    }
}

fn succeeded(lived: bool) -> ExitCode {
    if lived { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn tables(plan: &Plan, programs: &Programs) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for profile in &plan.profiles {
        println!("{}", table::title(*profile, plan));
        println!("{}", table::HEAD);
        for variant in &plan.variants {
            for run in 0..plan.runs {
                if let Some(why) = programs.missing(*variant) {
                    println!("{:<23}{:<10}skipped: {why}", variant.guard, variant.allocator);
                    break;
                }
                let outcome = flood::run(plan, programs, *profile, *variant, run).await?;
                println!("{}", table::row(&outcome));
                outcomes.push(outcome);
            }
        }
        println!();
    }
    Ok(outcomes)
}

async fn matrix(plan: &Plan, programs: &Programs, limits: &[u64]) -> Result<Vec<Outcome>, String> {
    println!("matrix: {} s, {} runs of each", plan.seconds, plan.runs);
    println!("{}", matrix::HEAD);
    let mut outcomes = Vec::new();
    for limit_bytes in limits {
        let plan = Plan { limit_bytes: *limit_bytes, ..plan.clone() };
        for profile in &plan.profiles {
            for variant in &plan.variants {
                if let Some(why) = programs.missing(*variant) {
                    println!("{:<23}{:<10}skipped: {why}", variant.guard, variant.allocator);
                    continue;
                }
                let begin = outcomes.len();
                for run in 0..plan.runs {
                    outcomes.push(flood::run(&plan, programs, *profile, *variant, run).await?);
                }
                println!("{}", matrix::row(&outcomes[begin..]));
            }
        }
    }
    println!("{}", matrix::summary(&outcomes));
    Ok(outcomes)
}

async fn soak(plan: &Plan, programs: &Programs) -> Result<Vec<(Outcome, Vec<Minute>)>, String> {
    let mut soaked = Vec::new();
    for profile in &plan.profiles {
        for variant in &plan.variants {
            if let Some(why) = programs.missing(*variant) {
                println!("{:<23}{:<10}skipped: {why}", variant.guard, variant.allocator);
                continue;
            }
            println!("{}", table::title(*profile, plan));
            let raw = flood::flood(plan, programs, *profile, *variant).await?;
            let outcome = Outcome::of(plan, *profile, *variant, 0, &raw);
            println!("{}\n{}\n", table::HEAD, table::row(&outcome));
            println!("{}", soak::HEAD);
            let minutes = soak::minutes(&raw, plan.seconds);
            for (turn, minute) in minutes.iter().enumerate() {
                println!("{}", soak::row(turn + 1, minute));
            }
            println!();
            soaked.push((outcome, minutes));
        }
    }
    Ok(soaked)
}

async fn crossings(plan: &Plan, programs: &Programs, times: u32) -> Result<Vec<Crossed>, String> {
    println!("crossings: limit {} MB, {times} times", plan.limit_bytes / MB);
    println!("{}", crossing::HEAD);
    let mut all = Vec::new();
    for variant in &plan.variants {
        let crossed = crossing::run(plan, programs, *variant, times).await?;
        println!("{}", crossing::row(&crossed));
        all.push(crossed);
    }
    Ok(all)
}

async fn attack(
    plan: &Plan,
    programs: &Programs,
    adversaries: &[Adversary],
) -> Result<Vec<Attacked>, String> {
    println!("adversaries: limit {} MB, {} s", plan.limit_bytes / MB, plan.seconds);
    println!("{}", adversary::HEAD);
    let mut all = Vec::new();
    for adversary in adversaries {
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
fn quick_verdict(outcomes: &[Outcome]) -> ExitCode {
    let faults: Vec<String> = outcomes.iter().filter_map(Outcome::fault).collect();
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
