//! Runs this program under the tools that count.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::load::{ROUND, Variant};

/// First argument of the runs that are counted.
pub(crate) const CHILD: &str = "serve";
/// Two lengths: what starting costs is in both, so their difference is requests only.
const SHORT: u64 = 10;
const LONG: u64 = 1_000 + SHORT;

/// Instructions per request, rounded; `None` without valgrind.
pub(crate) fn instructions(variant: Variant) -> Option<u64> {
    let requests = (LONG - SHORT) * ROUND;
    let more = callgrind(variant, LONG)?.checked_sub(callgrind(variant, SHORT)?)?;
    Some((more + requests / 2) / requests)
}

/// System calls by the serving thread that [`LONG`] makes beyond [`SHORT`]; `None` without
/// strace. The sampler and the worker have threads of their own, and wake by the clock.
pub(crate) fn system_calls(variant: Variant) -> Option<u64> {
    Some(strace(variant, LONG)?.saturating_sub(strace(variant, SHORT)?))
}

fn callgrind(variant: Variant, rounds: u64) -> Option<u64> {
    let mut command = Command::new("valgrind");
    // Only the serving loop, so that the other threads do not count.
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg("--toggle-collect=*serve_round*");
    let output = child(command, variant, rounds).stderr(Stdio::piped()).output().ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected :"))?.1;
    collected.split_whitespace().next()?.parse().ok()
}

fn strace(variant: Variant, rounds: u64) -> Option<u64> {
    let log = log_path(variant, rounds);
    let mut command = Command::new("strace");
    command.arg("-o").arg(&log);
    let status = child(command, variant, rounds).stderr(Stdio::null()).status().ok()?;
    let calls = fs::read_to_string(&log).ok()?.lines().count();
    fs::remove_file(&log).ok()?;
    if status.success() { u64::try_from(calls).ok() } else { None }
}

fn child(mut command: Command, variant: Variant, rounds: u64) -> Command {
    let program = std::env::current_exe().expect("a running program has a path");
    command.arg(program).arg(CHILD).arg(variant.name()).arg(rounds.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn log_path(variant: Variant, rounds: u64) -> PathBuf {
    let name = format!("{}-{rounds}-{}.strace", variant.name(), std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace(' ', "-"))
}
