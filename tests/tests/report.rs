//! The report of a running server: every member of the contract, and a resident set that the
//! system confirms.
#![forbid(unsafe_code)]

use plimsoll_tests::{Chat, Ran, chat_command, plimsoll_command};
use serde_json::{Value, json};
use tokio::process::Command;

/// What a member holds. A figure that is not known is `null` and never 0.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Number,
    Figure,
    Bool,
    List,
    Object,
}
use Kind::{Bool, Figure, List, Number, Object, Text};

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Number => value.is_u64(),
            Figure => value.is_u64() || value.is_null(),
            Bool => value.is_boolean(),
            List => value.is_array(),
            Object => value.is_object(),
        }
    }
}

/// Section 3 of the contract, written out.
const MEMBERS: [(&str, Kind); 83] = [
    ("/success", Bool),
    ("/timestamp", Text),
    ("/data", Object),
    ("/data/status", Text),
    ("/data/metric", Text),
    ("/data/checkedAt", Text),
    ("/data/instance", Text),
    ("/data/version", Text),
    ("/data/uptimeSeconds", Number),
    ("/data/current", Object),
    ("/data/current/heapUsed", Figure),
    ("/data/current/heapTotal", Figure),
    ("/data/current/rss", Number),
    ("/data/current/external", Figure),
    ("/data/current/arrayBuffers", Figure),
    ("/data/bytes", Object),
    ("/data/bytes/heapUsed", Figure),
    ("/data/bytes/heapTotal", Figure),
    ("/data/bytes/rss", Number),
    ("/data/bytes/external", Figure),
    ("/data/bytes/arrayBuffers", Figure),
    ("/data/bytes/workingSet", Figure),
    ("/data/bytes/limit", Figure),
    ("/data/bytes/retained", Figure),
    ("/data/bytes/reserved", Number),
    ("/data/thresholds", Object),
    ("/data/thresholds/warning", Number),
    ("/data/thresholds/critical", Number),
    ("/data/thresholds/unit", Text),
    ("/data/thresholds/source", Text),
    ("/data/thresholdBytes", Object),
    ("/data/thresholdBytes/warning", Number),
    ("/data/thresholdBytes/critical", Number),
    ("/data/cleanupInProgress", Bool),
    ("/data/lastCleanup", Number),
    ("/data/cooldown", Object),
    ("/data/cooldown/remainingMs", Number),
    ("/data/cleanupHistory", List),
    ("/data/alerts", List),
    ("/data/guard", Object),
    ("/data/guard/mode", Text),
    ("/data/guard/inFlight", Number),
    ("/data/guard/reservedBytes", Number),
    ("/data/guard/admitted", Number),
    ("/data/guard/shed", Number),
    ("/data/guard/wouldHaveShed", Number),
    ("/data/sockets", Object),
    ("/data/sockets/open", Number),
    ("/data/sockets/closing", Number),
    ("/data/sockets/lingering", Number),
    ("/data/sockets/opened", Number),
    ("/data/sockets/closed", Number),
    ("/data/sockets/forced", Number),
    ("/data/sockets/refused", Number),
    ("/data/sockets/bytes", Number),
    ("/data/sockets/queuedMessages", Number),
    ("/data/sockets/queuedBytes", Number),
    ("/data/sockets/cap", Number),
    ("/data/sockets/oldestSeconds", Figure),
    ("/data/sockets/events", Number),
    ("/data/sockets/transports/websocket", Number),
    ("/data/sockets/transports/socketio", Number),
    ("/data/sockets/transports/polling", Number),
    ("/data/sockets/transports/sse", Number),
    ("/data/sockets/transports/other", Number),
    ("/data/retention", Object),
    ("/data/retention/database", Text),
    ("/data/retention/running", Bool),
    ("/data/retention/intervalMs", Number),
    ("/data/retention/nextRun", Figure),
    ("/data/retention/rules/2/rule", Text),
    ("/data/retention/rules/2/olderThanSeconds", Number),
    ("/data/retention/rules/2/deletedTotal", Number),
    ("/data/retention/rules/2/reprievedTotal", Number),
    ("/data/release", Object),
    ("/data/release/backends", List),
    ("/data/monitor", Object),
    ("/data/monitor/bytes", Number),
    ("/data/cleanupHistory/0/id", Text),
    ("/data/cleanupHistory/0/level", Text),
    ("/data/cleanupHistory/0/trigger", Text),
    ("/data/cleanupHistory/0/actions", List),
    ("/data/cleanupHistory/0/results", List),
];

/// The figures of a cleanup and of one of its actions.
const RECORD: [(&str, Kind); 12] = [
    ("/timestamp", Number),
    ("/freedMemory", Figure),
    ("/beforeBytes", Figure),
    ("/afterBytes", Figure),
    ("/durationMs", Number),
    ("/actions/0", Text),
    ("/results/0/name", Text),
    ("/results/0/removed", Figure),
    ("/results/0/freedBytes", Figure),
    ("/results/0/durationMs", Number),
    ("/results/0/outcome", Text),
    ("/results/0/detail", Object),
];

fn assert_members(document: &Value, members: &[(&str, Kind)]) {
    for (pointer, kind) in members {
        let value = document.pointer(pointer);
        let value = value.unwrap_or_else(|| panic!("{pointer} is missing in {document:#}"));
        let optional_text = pointer.ends_with("/detail") && (value.is_null() || value.is_string());
        assert!(optional_text || kind.fits(value), "{pointer} is {value}, not {kind:?}");
    }
}

#[tokio::test]
async fn a_server_that_starts_says_where_app_dashboard_and_report_are() {
    let chat = Chat::start(&[]).await;
    let url = chat.url();
    let expected = [
        format!("chat:      {url}/"),
        format!("dashboard: {url}/monitoring/"),
        format!("report:    {url}/api/monitoring/memory"),
    ];
    assert_eq!(chat.announced(), expected);
    for (path, kind) in [
        ("/", "text/html"),
        ("/monitoring/", "text/html"),
        ("/api/monitoring/memory", "application/json"),
    ] {
        let answer = chat.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with(kind), "{path}: {:?}", answer.headers);
    }
    let moved = chat.get("/monitoring").await;
    // Relative, so that it holds below any prefix.
    assert_eq!((moved.status, moved.header("location")), (308, "monitoring/"));
}

#[tokio::test]
async fn the_report_has_every_member_of_the_contract() {
    let chat = Chat::start(&[]).await;
    let cleanup = json!({ "action": "cleanup", "level": "aggressive" });
    let cleaned = chat.post("/api/monitoring/memory", &cleanup).await;
    assert_eq!(cleaned.status, 200, "{}", cleaned.text());
    assert_members(&cleaned.json(), &[("/success", Bool), ("/message", Text), ("/data", Object)]);

    let answer = chat.get("/api/monitoring/memory").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let report = answer.json();
    assert_members(&report, &MEMBERS);
    assert_members(&report["data"]["cleanupHistory"][0], &RECORD);

    assert_eq!(report["success"], true);
    let data = &report["data"];
    assert_eq!(data["status"], "healthy");
    assert_eq!(data["thresholds"]["unit"], "MB");
    assert_eq!(data["thresholds"]["source"], "default");
    assert_eq!(data["guard"]["mode"], "enforce");
    assert_eq!(data["cleanupHistory"][0]["trigger"], "api");
    assert_eq!(data["lastCleanup"], data["cleanupHistory"][0]["timestamp"]);
    for mark in ["warning", "critical"] {
        let mb = data["thresholds"][mark].as_u64().unwrap();
        assert_eq!(data["thresholdBytes"][mark].as_u64().unwrap().div_ceil(1_000_000), mb);
    }
    for (name, mb) in data["current"].as_object().unwrap() {
        let (Some(mb), Some(bytes)) = (mb.as_u64(), data["bytes"][name].as_u64()) else {
            assert_eq!(mb, &data["bytes"][name], "{name} is unknown in one of the two");
            continue;
        };
        assert!((mb * 1_000_000).abs_diff(bytes) <= 500_000, "{name}: {mb} MB, {bytes} bytes");
    }
}

#[tokio::test]
async fn the_resident_set_is_the_one_that_ps_tells() {
    let chat = Chat::start(&[]).await;
    // Once for what answering allocates for the first time.
    chat.report().await;
    let id = chat.id().to_string();
    // A cleanup takes a fresh reading; the report alone may show one that is seconds old.
    chat.post("/api/monitoring/memory", &json!({ "action": "cleanup" })).await;
    let told = chat.report().await["bytes"]["rss"].as_u64().unwrap();
    let ps = Command::new("ps").args(["-o", "rss=", "-p", &id]).output().await.unwrap();
    let kib: u64 = String::from_utf8(ps.stdout).unwrap().trim().parse().unwrap();
    let seen = kib * 1024;
    assert!(told.abs_diff(seen) * 20 <= seen, "report {told}, ps {seen}");
}

#[tokio::test]
async fn every_other_route_answers_what_the_contract_says() {
    let chat = Chat::start(&[]).await;
    for (path, members) in [
        ("/api/monitoring/history?minutes=60", vec![("/success", Bool), ("/data", Object)]),
        ("/api/monitoring/alerts", vec![("/success", Bool), ("/data", Object)]),
        ("/api/monitoring/routes", vec![("/success", Bool), ("/data", Object)]),
        ("/api/monitoring/pruners", vec![("/success", Bool), ("/data", Object)]),
        ("/api/monitoring/openapi.json", vec![("/openapi", Text), ("/paths", Object)]),
    ] {
        let answer = chat.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_members(&answer.json(), &members);
    }
    assert!(chat.get("/api/monitoring/openapi.json").await.text().contains("\"3.1"));
    for probe in ["/livez", "/readyz", "/readyz?verbose"] {
        let answer = chat.get(probe).await;
        assert_eq!(answer.status, 200, "{probe}");
        assert!(!answer.text().contains(|c: char| c.is_ascii_digit()), "only words: {answer:?}");
    }
}

#[tokio::test]
async fn the_metrics_have_their_stable_names_in_both_formats() {
    let chat = Chat::start(&[]).await;
    chat.get("/").await;
    chat.post("/api/monitoring/memory", &json!({ "action": "cleanup" })).await;
    let text = chat.get("/metrics").await;
    assert_eq!(text.status, 200);
    assert!(text.header("content-type").starts_with("text/plain"), "{:?}", text.headers);
    for name in [
        "process_resident_memory_bytes",
        "plimsoll_memory_bytes{kind=",
        "plimsoll_threshold_bytes{level=",
        "plimsoll_pressure_level",
        "plimsoll_checks_total",
        "plimsoll_cleanups_total{",
        "plimsoll_cleanup_duration_seconds",
        "plimsoll_cleanup_freed_bytes_total",
        "plimsoll_pruner_removed_total{pruner=",
        "plimsoll_requests_admitted_total{route=\"/\"}",
        "plimsoll_inflight_requests",
        "plimsoll_reserved_bytes",
        "plimsoll_monitor_bytes",
        "plimsoll_build_info",
    ] {
        let found = text.text().lines().any(|line| line.starts_with(name));
        assert!(found, "{name} is missing in\n{}", text.text());
    }
    let accept = "application/openmetrics-text; version=1.0.0";
    let request = chat.request("GET".parse().unwrap(), "/metrics").header("accept", accept);
    let open = chat.send(request, "").await;
    assert!(open.header("content-type").starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
}

#[tokio::test]
async fn both_programs_answer_to_help_and_version() {
    for argument in ["--help", "--version"] {
        let mut command = plimsoll_command();
        command.arg(argument);
        assert!(!Ran::of(command).await.success().stdout.is_empty());
        let chat = chat_command().arg(argument).output().unwrap();
        assert!(chat.status.success() && !chat.stdout.is_empty());
    }
}
