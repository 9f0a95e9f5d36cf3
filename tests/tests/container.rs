//! A server in a memory cgroup that it can outgrow: killed without the guard, alive with it.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

use std::{env, os::unix::process::ExitStatusExt as _, time::Duration};

use plimsoll_tests::{Chat, HoldLoad, eventually, hold_until, memory_group, probe_until, within};
use tokio::time::Instant;

const LIMIT: u64 = 256 * 1024 * 1024;
/// Twice what the container holds.
const LOAD: HoldLoad = HoldLoad { clients: 64, mb: 8, ms: 1000, touch: "now" };
/// How long the load lasts; 60 s with `PLIMSOLL_LONG` set.
const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);
/// SIGKILL; a shell shows it as 128 + 9 = 137.
const KILLED: i32 = 9;

#[tokio::test]
async fn in_a_small_container_the_defaults_follow_its_limit() {
    let Some(group) = memory_group(LIMIT) else { return };
    let chat = Chat::start_in(&group, &[]).await;
    let report = chat.report().await;
    assert_eq!(report["bytes"]["limit"], LIMIT);
    assert_eq!(report["metric"], "workingSet");
    assert_eq!(report["thresholds"]["source"], "default");
    for (mark, percent) in [("warning", 70), ("critical", 85)] {
        let bytes = report["thresholdBytes"][mark].as_u64().unwrap();
        assert!(bytes.abs_diff(LIMIT * percent / 100) <= 1, "{mark} is {bytes}");
    }
}

/// The control: if this one lives, the next test shows nothing.
#[tokio::test]
async fn without_the_guard_the_load_gets_the_server_killed() {
    let Some(group) = memory_group(LIMIT) else { return };
    let mut chat = Chat::start_in(&group, &["--no-guard", "--chaos", "hold"]).await;
    assert_eq!(group.killed(), Some(0));
    // It does not take a second; the clients stop when their connections break.
    let holds = hold_until(&chat, LOAD, Instant::now() + SHORT);
    let holds = within(SHORT * 2, "the end of all clients", holds).await;
    let status = chat.ended(Duration::from_secs(10)).await;
    assert_eq!(status.signal(), Some(KILLED), "{status}, {holds:?}");
    assert!(group.killed() >= Some(1));
    assert!(!holds.lost.is_empty(), "its clients saw it go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_guard_it_lives_through_the_load_and_is_healthy_right_after() {
    let long = env::var_os("PLIMSOLL_LONG").is_some();
    lives_through(LOAD, if long { LONG } else { SHORT }).await;
}

/// Whoever believes only what was measured has admitted all of it before any of it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_guard_it_lives_through_memory_that_is_touched_late() {
    lives_through(HoldLoad { touch: "late", ..LOAD }, SHORT / 2).await;
}

async fn lives_through(load: HoldLoad, duration: Duration) {
    let Some(group) = memory_group(LIMIT) else { return };
    let mut chat = Chat::start_in(&group, &["--chaos", "hold"]).await;
    let before = chat.report().await;
    let end = Instant::now() + duration;
    let probed = chat.clone();
    let probes = tokio::spawn(async move { probe_until(&probed, end).await });
    let holds = hold_until(&chat, load, end).await;
    let probes = probes.await.expect("the prober does not panic");
    eprintln!(
        "{load:?}: {} served, {} refused, {} probes answered",
        holds.served, holds.refused, probes.answered
    );

    eventually(Duration::from_secs(2), "healthy after the load", async || {
        (chat.status().await == "healthy").then_some(())
    })
    .await;
    assert!(chat.is_running(), "the same process");
    let after = chat.report().await;
    assert_eq!(after["instance"], before["instance"]);
    assert_eq!(group.killed(), Some(0));

    assert_eq!(probes.lost, [""; 0], "every probe of /livez is answered");
    assert!(probes.answered >= duration.as_secs() * 5, "{probes:?}");
    assert_eq!(holds.lost, [""; 0], "every request is answered, with 200 or 503");
    assert!(holds.refused > 0, "the load was more than it could carry");
    // Some 25 of the 64 fit at the same time, each for a second; a guard that latches serves
    // far fewer.
    assert!(holds.served >= duration.as_secs() * 10, "{} served", holds.served);
    let guard = &after["guard"];
    assert_eq!(guard["reservedBytes"], 0, "{guard}");
    assert!(guard["shed"].as_u64() >= Some(holds.refused), "{guard}");
}

#[tokio::test]
async fn thresholds_above_the_limit_start_with_a_warning() {
    let Some(group) = memory_group(LIMIT) else { return };
    let chat = Chat::start_with_in(&group, &[], &[("MEMORY_CRITICAL_THRESHOLD", "3000")]).await;
    let alert = eventually(Duration::from_secs(5), "the alert", async || {
        let report = chat.report().await;
        let alerts = report["alerts"].as_array()?;
        alerts.iter().find(|alert| alert["name"] == "ThresholdAboveLimit").cloned()
    });
    assert_eq!(alert.await["state"], "firing");
    chat.says("ThresholdAboveLimit").await;
}
