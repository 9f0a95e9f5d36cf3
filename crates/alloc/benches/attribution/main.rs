//! What counting adds to an allocation and to a free.
//!
//! `cargo bench -p plimsoll-alloc --bench attribution` counts instructions with callgrind, where it is
//! installed; features add their allocators. `-- --check` fails above the limit that the table
//! shows. Counts rather than times: they repeat on a shared machine.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[path = "../../tests/allocators/mod.rs"]
mod allocators;
mod load;

use std::process::{Command, ExitCode, Stdio};

use crate::load::{BLOCKS, Operation, Variant};

/// First argument of the runs that are counted.
const CHILD: &str = "work";
/// Rounds of [`BLOCKS`] blocks in a counted run.
const ROUNDS: u64 = 1_000;
/// What an allocation and its free may cost more, together: four each. Of a small block, since what is
/// larger costs its allocator and its first use far more than the check that it gets.
const PAIR_LIMIT: f64 = 8.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [CHILD, variant, size] => {
            let size = size.parse().expect("given by the parent");
            Variant::named(variant).expect("named by the parent").run(size, ROUNDS);
            ExitCode::SUCCESS
        }
        arguments if arguments.contains(&"--bench") => measure(arguments.contains(&"--check")),
        // As a test: that every variant runs is all there is to see without a tool.
        _ => {
            Variant::all().iter().for_each(|variant| variant.run(64, 1));
            ExitCode::SUCCESS
        }
    }
}

fn measure(check: bool) -> ExitCode {
    let mut faults = 0;
    println!("instructions per call (callgrind)");
    println!("{:<28}{:>10}{:>10}{:>10}{:>10}", "", "bare", "counted", "more", "limit");
    for (variant, bare) in Variant::pairs() {
        for (size, limit) in [(64, Some(PAIR_LIMIT)), (16 * 1024, None)] {
            println!("{}, {size} bytes", variant.name());
            let mut pair = 0.0;
            for operation in Operation::ALL {
                let (Some(all), Some(bare)) =
                    (per_call(variant, operation, size), per_call(bare, operation, size))
                else {
                    println!("valgrind is not installed");
                    return if check { ExitCode::FAILURE } else { ExitCode::SUCCESS };
                };
                pair += all - bare;
                println!("  {:<26}{bare:>10.1}{all:>10.1}{:>10.1}", operation.name(), all - bare);
            }
            let shown = limit.map_or_else(String::new, |limit| format!("{limit:.0}"));
            println!("  {:<46}{pair:>10.1}{shown:>10}", "both");
            // A hundredth, since quotients are not exact.
            faults += usize::from(limit.is_some_and(|limit| pair > limit + 0.01));
        }
    }
    println!("{faults} above the limit");
    if check && faults > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions per call of `operation`; `None` without valgrind.
fn per_call(variant: Variant, operation: Operation, size: usize) -> Option<f64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(format!("--toggle-collect=*{}*", operation.function()));
    command.arg(std::env::current_exe().expect("a running program has a path"));
    command.arg(CHILD).arg(variant.name()).arg(size.to_string());
    // jemalloc gives pages back by the clock, which would count as well.
    command.env("_RJEM_MALLOC_CONF", "dirty_decay_ms:-1,muzzy_decay_ms:-1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", variant.name());
    let collected = told.lines().find_map(|line| line.split_once("Collected :"))?.1;
    let collected: u32 = collected.split_whitespace().next()?.parse().ok()?;
    let calls = u32::try_from(ROUNDS * BLOCKS as u64).expect("small");
    Some(f64::from(collected) / f64::from(calls))
}
