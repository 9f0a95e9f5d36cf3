//! What the guard adds to an admitted request while memory is healthy.
//!
//! `cargo bench -p plimsoll-guard --bench admission` counts instructions with callgrind and system
//! calls with strace, each where it is installed. `-- --check` fails above the limits that
//! the table shows, and at one system call. Counts rather than times: they repeat on a shared machine.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

mod count;
mod load;
mod reading;

use std::process::ExitCode;

use crate::load::{Limit, Variant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [count::CHILD, variant, rounds] => {
            let variant = Variant::named(variant).expect("named by the parent");
            variant.run(rounds.parse().expect("counted by the parent"));
            ExitCode::SUCCESS
        }
        arguments if arguments.contains(&"--bench") => measure(arguments.contains(&"--check")),
        // As a test: that every variant runs is all there is to see without a tool.
        _ => {
            Variant::all().iter().for_each(|variant| variant.run(1));
            ExitCode::SUCCESS
        }
    }
}

fn measure(check: bool) -> ExitCode {
    let mut faults = Vec::new();
    println!("instructions per request, healthy unless it says otherwise (callgrind)");
    println!("{:<56}{:>8}{:>12}{:>12}", "", "all", "over bare", "limit");
    for variant in Variant::all() {
        let (Some(all), Some(bare)) =
            (count::instructions(*variant), count::instructions(variant.bare()))
        else {
            println!("valgrind is not installed");
            faults.push("not measured: valgrind is not installed".to_owned());
            break;
        };
        let over = all.saturating_sub(bare);
        let limit = variant.limit();
        let (shown, within) = match limit {
            Limit::None => (String::new(), true),
            Limit::OverBare(most) => (most.to_string(), over <= most),
            Limit::All(most) => (format!("{most} in all"), all <= most),
        };
        println!("{:<56}{all:>8}{over:>12}{shown:>12}", variant.name());
        if !within {
            faults.push(format!("{}: {all} instructions, {over} over bare", variant.name()));
        }
    }
    println!("\nsystem calls of {} requests (strace)", count::REQUESTS);
    for variant in Variant::all().iter().filter(|variant| variant.is_guarded()) {
        let Some(calls) = count::system_calls(*variant) else {
            println!("strace is not installed, or may not trace here");
            faults.push("not measured: strace did not run".to_owned());
            break;
        };
        println!("{:<56}{calls:>8}", variant.name());
        if calls > 0 {
            faults.push(format!("{}: {calls} system calls", variant.name()));
        }
    }
    for fault in &faults {
        println!("above the limit: {fault}");
    }
    if check && !faults.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
