//! What the layers add to a whole HTTP server, and what a refusal costs beside an answer.
//!
//! `cargo bench -p plimsoll-monitor --bench server` counts, with callgrind, the instructions of the
//! thread that serves: 3,000 requests less 1,000 requests, over 2,000, one after the other on one
//! connection. `-- --check` fails above the limits that the table shows. Without valgrind there
//! is no table.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

mod client;
mod serve;

use std::process::ExitCode;

use crate::serve::Variant;

/// The most that both layers may add to an answer. The goal is a hundredth of it, 125; what stands in
/// the way is in docs/BENCHMARKS.md.
const MOST_OF_BOTH: u64 = 470;
/// The most that a refusal may cost of an answer, in thousandths. The goal is 645, which a status
/// alone does not reach either, served in this way.
const MOST_OF_REFUSAL: u64 = 875;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [client::CHILD, variant] => {
            serve::run(Variant::named(variant).expect("named by the parent"));
            ExitCode::SUCCESS
        }
        arguments if arguments.contains(&"--bench") => measure(arguments.contains(&"--check")),
        // As a test: that every variant answers as it should is all there is to see without a tool.
        _ => {
            Variant::ALL.iter().for_each(|variant| client::ask(*variant, None, 2));
            ExitCode::SUCCESS
        }
    }
}

fn measure(check: bool) -> ExitCode {
    let Some(answer) = client::instructions(Variant::Router) else {
        println!("valgrind is not installed");
        return if check { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let control = client::instructions(Variant::Alone).expect("counted before");
    println!("instructions of a server per request (callgrind)");
    println!("{:<44}{:>8}{:>12}{:>12}", "", "all", "over alone", "of router");
    let mut faults = Vec::new();
    for variant in Variant::ALL {
        let all = client::instructions(variant).expect("counted before");
        // Signed: hyper alone does less than axum.
        let over = all.cast_signed() - control.cast_signed();
        let thousandths = (all * 1_000 + answer / 2) / answer;
        let ratio = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
        println!("{:<44}{all:>8}{over:>12}{ratio:>12}", variant.name());
        match variant {
            Variant::Both if over > MOST_OF_BOTH.cast_signed() => {
                faults.push(format!("both layers add {over}, and may add {MOST_OF_BOTH}"));
            }
            Variant::Refusing if thousandths > MOST_OF_REFUSAL => {
                faults.push(format!("a refusal costs {ratio} of an answer"));
            }
            _ => {}
        }
    }
    for fault in &faults {
        println!("above the limit: {fault}");
    }
    if check && !faults.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
