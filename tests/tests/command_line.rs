//! The `plimsoll` command against a running server: shapes to the character, and exit codes.
#![forbid(unsafe_code)]

use std::net::TcpListener;

use plimsoll_tests::{Chat, Ran, plimsoll, plimsoll_command};
use serde_json::Value;

/// Every digit becomes a 9, and a number of MB becomes one of them: what is left is the shape.
fn shape(text: &str) -> String {
    let nines: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let mut shape = nines.clone();
    while let Some(at) = shape.find("99MB") {
        shape.remove(at);
    }
    shape
}

/// Pipes get no colours, and neither stream ends without a line end.
fn assert_plain(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    }
}

const REPORT: &str = "\
📊 Memory Report
================
Status: ✅ HEALTHY
Heap Used: 9MB / 9MB
RSS: 9MB
External: 9MB
Array Buffers: 9MB

Thresholds:
  Warning: 9MB
  Critical: 9MB

🧹 Recent Cleanups:
";

#[tokio::test]
async fn the_report_has_the_shape_of_the_contract() {
    let chat = Chat::start(&[]).await;
    let url = chat.url();
    plimsoll(&url, &["thresholds", "2000,3000"]).await.success();
    let report = plimsoll(&url, &["report"]).await.success();
    assert_plain(&report);
    assert_eq!(report.stderr, "");
    assert_eq!(shape(&report.stdout), format!("{REPORT}  none yet\n"));
    assert!(report.stdout.contains("\n  Warning: 2000MB\n  Critical: 3000MB\n"));

    plimsoll(&url, &["cleanup"]).await.success();
    plimsoll(&url, &["cleanup", "--level", "aggressive"]).await.success();
    let report = plimsoll(&url, &["report"]).await.success();
    let records = "  9. 9999-99-99 99:99:99 - Freed 9MB (9 actions)\n".repeat(2);
    assert_eq!(shape(&report.stdout), format!("{REPORT}{records}"));
    assert!(report.stdout.contains("\n  1. ") && report.stdout.contains("\n  2. "));

    let rss = chat.report().await["current"]["rss"].as_u64().unwrap();
    let line = report.stdout.lines().find(|line| line.starts_with("RSS: ")).unwrap();
    let shown: u64 = line["RSS: ".len()..].trim_end_matches("MB").parse().unwrap();
    assert!(rss.abs_diff(shown) <= rss / 10 + 1, "report {rss}, tool {shown}");

    // The old spelling is hidden, and the same.
    let old = plimsoll(&url, &["memory:report"]).await.success();
    assert_eq!(shape(&old.stdout), shape(&report.stdout));
}

#[tokio::test]
async fn monitor_prints_its_first_line_at_once() {
    let chat = Chat::start(&[]).await;
    let line = plimsoll(&chat.url(), &["monitor", "--count", "1"]).await.success();
    assert_plain(&line);
    assert_eq!(shape(&line.stdout), "[9999-99-99 99:99:99] Memory: 9MB ✅ healthy\n");
    assert_eq!(line.stderr, "");
    plimsoll(&chat.url(), &["thresholds", "1,2"]).await.success();
    let line = plimsoll(&chat.url(), &["monitor", "--count", "1"]).await.success();
    assert_eq!(shape(&line.stdout), "[9999-99-99 99:99:99] Memory: 9MB 🚨 critical\n");
}

#[tokio::test]
async fn with_json_every_command_prints_one_document() {
    let chat = Chat::start(&[]).await;
    for arguments in [
        &["report"][..],
        &["report", "--history", "20"],
        &["cleanup"],
        &["cleanup", "--dry-run"],
        &["thresholds"],
        &["thresholds", "2000,3000"],
        &["aggressive", "--dry-run"],
        &["aggressive", "--yes"],
    ] {
        let ran = plimsoll(&chat.url(), &[arguments, &["--json"]].concat()).await.success();
        assert_plain(&ran);
        assert_eq!(ran.json()["success"], true, "{arguments:?}");
    }
    let monitor = plimsoll(&chat.url(), &["monitor", "--count", "1", "--json"]).await.success();
    assert_eq!(monitor.stdout.lines().count(), 1, "one document a line");
    assert_eq!(monitor.json()["data"]["status"], "healthy");
    let report: Value = plimsoll(&chat.url(), &["report", "--json"]).await.success().json();
    assert_eq!(report["data"]["instance"], chat.report().await["instance"]);
}

#[tokio::test]
async fn a_cleanup_lists_its_actions() {
    let chat = Chat::start(&[]).await;
    for (level, actions) in [
        ("moderate", &["error_logs", "release_memory", "socket_events"][..]),
        (
            "aggressive",
            &[
                "database_connections",
                "error_logs",
                "monitoring_history",
                "performance_metrics",
                "release_memory",
                "socket_events",
            ],
        ),
    ] {
        let ran = plimsoll(&chat.url(), &["cleanup", "--level", level]).await.success();
        assert_plain(&ran);
        let (head, list) = ran.stdout.split_once('\n').unwrap();
        let count = format!("({} actions)", actions.len());
        assert!(head.starts_with("🧹 Freed ") && head.contains(&count), "{head}");
        let mut names: Vec<_> =
            list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, actions, "{list}");
        let newest = chat.report().await["cleanupHistory"][0].clone();
        assert_eq!((&newest["level"], &newest["trigger"]), (&level.into(), &"cli".into()));
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let chat = Chat::start(&[]).await;
    for arguments in [
        &["cleanup", "--dry-run"][..],
        &["cleanup", "--level", "aggressive", "--dry-run"],
        &["aggressive", "--dry-run"],
    ] {
        let ran = plimsoll(&chat.url(), arguments).await.success();
        assert_plain(&ran);
        assert!(ran.stdout.contains("Dry run ("), "{}", ran.stdout);
        assert!(ran.stdout.contains("nothing was changed"), "{}", ran.stdout);
        assert!(ran.stdout.contains("\n  socket_events "), "{}", ran.stdout);
    }
    assert_eq!(chat.report().await["cleanupHistory"], Value::Array(Vec::new()));
    // Nobody is there to agree, so the real thing needs to be told so.
    assert_eq!(plimsoll(&chat.url(), &["aggressive"]).await.code, 2);
    assert_eq!(chat.report().await["cleanupHistory"], Value::Array(Vec::new()));
    plimsoll(&chat.url(), &["aggressive", "--yes"]).await.success();
    assert_eq!(chat.report().await["cleanupHistory"][0]["level"], "aggressive");
}

#[tokio::test]
async fn rows_are_counted_before_they_are_deleted_and_deleted_when_asked() {
    let chat = Chat::start(&["--chaos", "fill-threads"]).await;
    for _ in 0..7 {
        assert_eq!(chat.get("/api/rooms").await.status, 200);
    }
    for (arguments, words, deleted) in [
        (&["aggressive", "--dry-run"][..], "7 selected", 0),
        (&["aggressive", "--yes"], "7 deleted", 7),
    ] {
        let told = plimsoll(&chat.url(), arguments).await.success().stdout;
        let rule = told.lines().find(|line| line.trim_start().starts_with("empty_threads"));
        let rule = rule.unwrap_or_else(|| panic!("{told}"));
        assert!(rule.contains(words), "{told}");
        let rules = &chat.report().await["retention"]["rules"];
        assert_eq!(rules[0]["deletedTotal"], deleted, "{rules}");
    }
}

#[tokio::test]
async fn thresholds_are_shown_changed_and_refused() {
    let chat = Chat::start(&[]).await;
    let url = chat.url();
    let changed = plimsoll(&url, &["thresholds", "1500,2500"]).await.success();
    assert_plain(&changed);
    assert!(changed.stdout.starts_with("Thresholds:\n  Warning: 1500MB (was "));
    let shown = plimsoll(&url, &["thresholds"]).await.success().stdout;
    assert_eq!(shown, "Thresholds:\n  Warning: 1500MB\n  Critical: 2500MB\n  Source: api\n");
    // One side alone, and a size with a unit.
    plimsoll(&url, &["thresholds", "1.25GB,"]).await.success();
    let report = chat.report().await;
    assert_eq!(report["thresholdBytes"]["warning"], 1_250_000_000);
    assert_eq!(report["thresholdBytes"]["critical"], 2_500_000_000_u64);

    let refused = plimsoll(&url, &["thresholds", "3000,2000"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (5, ""));
    assert_eq!(
        refused.stderr,
        "error: warning (3000MB) must be lower than critical (2000MB)\n  \
         help: did you mean `plimsoll thresholds 2000,3000`?\n"
    );
    // One that only the server can refuse.
    let refused = plimsoll(&url, &["thresholds", "2600,"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (5, ""), "{}", refused.stderr);
    assert_eq!(chat.report().await["thresholdBytes"], report["thresholdBytes"]);
}

#[tokio::test]
async fn exit_codes_tell_scripts_what_happened() {
    let chat = Chat::start(&[]).await;
    let url = chat.url();
    plimsoll(&url, &["thresholds", "2000,3000"]).await.success();
    let check = plimsoll(&url, &["report", "--check"]).await;
    assert_eq!(check.code, 0);
    assert_eq!(check.stdout.lines().count(), 1, "{}", check.stdout);
    for (pair, code) in [("1,100000", 10), ("1,2", 11)] {
        plimsoll(&url, &["thresholds", pair]).await.success();
        assert_eq!(plimsoll(&url, &["report", "--check"]).await.code, code);
        assert_eq!(plimsoll(&url, &["report"]).await.code, 0, "only a check tells by its code");
    }
    assert_eq!(plimsoll(&url, &["report", "--unknown"]).await.code, 2);

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = plimsoll(&format!("http://{free}"), &["report"]).await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (3, ""));
    assert!(nobody.stderr.starts_with(&format!("error: cannot reach http://{free}: ")));
    assert!(nobody.stderr.contains("\n  help: "), "{}", nobody.stderr);
}

#[tokio::test]
async fn doctor_finds_a_fresh_server_in_order() {
    let chat = Chat::start(&[]).await;
    let doctor = plimsoll(&chat.url(), &["doctor"]).await;
    assert_plain(&doctor);
    assert!(matches!(doctor.code, 0 | 10), "{}{}", doctor.stdout, doctor.stderr);
    assert!(!doctor.stdout.contains('❌'), "{}", doctor.stdout);
    assert_eq!(chat.report().await["cleanupHistory"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn colours_come_only_when_asked_for() {
    let chat = Chat::start(&[]).await;
    let always = plimsoll(&chat.url(), &["--color", "always", "report"]).await.success();
    assert!(always.stdout.contains('\u{1b}'), "the control: there are colours");
    let ascii = plimsoll(&chat.url(), &["--ascii", "report"]).await.success();
    assert!(ascii.stdout.is_ascii(), "{}", ascii.stdout);
    let mut command = plimsoll_command();
    command.args(["completions", "bash"]);
    assert!(Ran::of(command).await.success().stdout.contains("plimsoll"));
}
