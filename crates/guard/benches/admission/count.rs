//! Runs this program under the tools that count.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::load::{MARK, ROUND, Variant};

/// First argument of the runs that are counted.
pub(crate) const CHILD: &str = "serve";
/// Two lengths: what starting costs is in both, so their difference is requests only.
const SHORT: u64 = 10;
const LONG: u64 = 1_000 + SHORT;
/// Requests of a long run.
pub(crate) const REQUESTS: u64 = LONG * ROUND;

/// Instructions per request, rounded; `None` without valgrind.
pub(crate) fn instructions(variant: Variant) -> Option<u64> {
    let requests = (LONG - SHORT) * ROUND;
    let more = callgrind(variant, LONG)?.checked_sub(callgrind(variant, SHORT)?)?;
    Some((more + requests / 2) / requests)
}

/// System calls of the serving thread while it served [`LONG`] rounds; `None` where strace is
/// not installed or may not trace. The sampler has a thread of its own, and wakes by the clock.
pub(crate) fn system_calls(variant: Variant) -> Option<usize> {
    let log = log_path();
    let mut command = Command::new("strace");
    command.arg("-o").arg(&log);
    let status = child(command, variant, LONG).stderr(Stdio::null()).status().ok()?;
    let trace = fs::read_to_string(&log).ok()?;
    fs::remove_file(&log).ok()?;
    let calls: Vec<_> = trace.lines().collect();
    let served = calls.split(|call| call.contains(MARK)).nth(2)?;
    status.success().then_some(served.len())
}

fn callgrind(variant: Variant, rounds: u64) -> Option<u64> {
    let mut command = Command::new("valgrind");
    // Only the serving loop, so that the other threads do not count.
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg("--toggle-collect=*serve_round*");
    let output = child(command, variant, rounds).stderr(Stdio::piped()).output().ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", variant.name());
    let collected = told.lines().find_map(|line| line.split_once("Collected :"))?.1;
    collected.split_whitespace().next()?.parse().ok()
}

fn child(mut command: Command, variant: Variant, rounds: u64) -> Command {
    let program = std::env::current_exe().expect("a running program has a path");
    command.arg(program).arg(CHILD).arg(variant.name()).arg(rounds.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // All that a round frees stays in the thread's cache: else glibc tidies its heap now and then,
    // in one variant and not in the other, and the difference passes for the guard's.
    command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=127");
    command
}

fn log_path() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.strace", std::process::id()))
}
