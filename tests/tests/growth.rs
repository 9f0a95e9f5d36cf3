//! A leak of the example server is found by the check for growth, and none where there is none.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, future::join_all};
use plimsoll_testkit::assert_no_growth_of_async;
use plimsoll_tests::Chat;

const CYCLES: usize = 80;
/// Each leaves some 4 kB behind where `leak-errors` is on: 100 kB a cycle, 4 MB in half of the cycles.
const REQUESTS: usize = 25;
const TOLERANCE: u64 = 2_000_000;

/// The resident set of a process.
fn rss_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("a figure in kB") * 1024
}

/// Whether the check fails, and with which words.
async fn growth(arguments: &[&str]) -> Option<String> {
    let chat = Chat::start(arguments).await;
    let ask = async || {
        for answer in join_all((0..REQUESTS).map(|_| chat.get("/api/journal"))).await {
            assert_eq!(answer.status, 200);
        }
    };
    let check = assert_no_growth_of_async(|| rss_bytes(chat.id()), CYCLES, TOLERANCE, ask);
    let panic = AssertUnwindSafe(check).catch_unwind().await.err()?;
    Some(*panic.downcast::<String>().expect("a panic with its text"))
}

#[tokio::test]
async fn a_leak_makes_the_check_fail_with_its_figures() {
    let text = growth(&["--chaos", "leak-errors"]).await.expect("the leak is found");
    assert!(text.contains("memory grew by") && text.contains("over 80 cycles"), "{text}");
}

#[tokio::test]
async fn without_a_leak_the_check_passes() {
    assert_eq!(growth(&[]).await, None);
}
