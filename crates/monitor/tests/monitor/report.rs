use std::time::Duration;

use http::{Method, StatusCode};
use plimsoll_core::{MB, Plimsoll};
use serde_json::Value;

use crate::support::{Answer, MEMORY, Server, empty, far_thresholds, local, still};

/// Every key that the contract shows, as JSON pointers.
const KEYS: &[&str] = &[
    "/success",
    "/timestamp",
    "/data/status",
    "/data/metric",
    "/data/checkedAt",
    "/data/instance",
    "/data/version",
    "/data/uptimeSeconds",
    "/data/current/heapUsed",
    "/data/current/heapTotal",
    "/data/current/rss",
    "/data/current/external",
    "/data/current/arrayBuffers",
    "/data/bytes/heapUsed",
    "/data/bytes/heapTotal",
    "/data/bytes/rss",
    "/data/bytes/external",
    "/data/bytes/arrayBuffers",
    "/data/bytes/workingSet",
    "/data/bytes/limit",
    "/data/bytes/retained",
    "/data/bytes/reserved",
    "/data/thresholds/warning",
    "/data/thresholds/critical",
    "/data/thresholds/unit",
    "/data/thresholds/source",
    "/data/thresholdBytes/warning",
    "/data/thresholdBytes/critical",
    "/data/cleanupInProgress",
    "/data/lastCleanup",
    "/data/cooldown/remainingMs",
    "/data/cleanupHistory",
    "/data/alerts",
    "/data/guard/mode",
    "/data/guard/inFlight",
    "/data/guard/reservedBytes",
    "/data/guard/admitted",
    "/data/guard/shed",
    "/data/guard/wouldHaveShed",
    "/data/sockets",
    "/data/retention",
    "/data/release/backends",
    "/data/monitor/bytes",
];

#[tokio::test]
async fn the_report_has_every_key_of_the_contract() {
    let server = Server::start();
    server.plimsoll.cleanup(plimsoll_core::CleanupLevel::Moderate).await.unwrap();
    let answer = server.get(MEMORY).await;
    let json = answer.json();
    for key in KEYS {
        assert!(json.pointer(key).is_some(), "{key} is missing in {json}");
    }
    let data = answer.data();
    assert_eq!((&data["status"], &data["metric"]), (&"healthy".into(), &"rss".into()));
    assert_eq!(data["current"]["rss"], 1_400);
    assert_eq!(data["bytes"]["rss"], 1_400 * MB);
    assert_eq!(data["bytes"]["heapUsed"], Value::Null, "not known is not 0");
    assert_eq!(data["thresholds"]["warning"], 2_000);
    let cleanup = &data["cleanupHistory"][0];
    for key in ["id", "timestamp", "level", "trigger", "freedMemory", "beforeBytes", "afterBytes"] {
        assert!(cleanup.get(key).is_some(), "{key} is missing in {cleanup}");
    }
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn the_report_tells_the_figures_of_now_and_many_who_ask_share_them() {
    // By itself the sampler would look again in 10 s.
    let clock = still();
    let builder = Plimsoll::builder().clock(clock.clone()).thresholds(far_thresholds());
    let server = Server::with(builder, |layer| layer);
    server.plimsoll.check().await.unwrap();
    server.script.set_rss(1_700 * MB);
    let before = server.script.reads();
    for _ in 0..20 {
        assert_eq!(server.get(MEMORY).await.data()["current"]["rss"], 1_400);
    }
    assert_eq!(server.script.reads(), before);
    clock.advance(Duration::from_millis(100));
    assert_eq!(server.get(MEMORY).await.data()["current"]["rss"], 1_700);
    assert_eq!(server.script.reads(), before + 1);
}

#[tokio::test]
async fn a_source_that_fails_does_not_hide_the_report() {
    let server = Server::start();
    server.script.fail(true);
    assert!(server.plimsoll.check().await.is_none());
    let data = server.get(MEMORY).await.data();
    assert_eq!(data["current"]["rss"], 1_400, "the last that is known");
    assert!(data["readingError"]["message"].is_string(), "{data}");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start();
    for path in [MEMORY, "/livez", "/monitoring/", "/api/monitoring/stream", "/api/monitoring/no"] {
        let get = if path.ends_with("stream") { None } else { Some(server.get(path).await) };
        let request = local(Method::HEAD, path).body(empty()).unwrap();
        let head = Answer::of(server.ask(request).await).await;
        assert!(head.body.is_empty(), "{path}");
        if let Some(get) = get {
            assert_eq!(head.status(), get.status(), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            assert_ne!(head.header("content-length"), "", "{path}");
        } else {
            assert_eq!(head.header("content-type"), "text/event-stream");
        }
    }
}

#[tokio::test]
async fn what_is_not_ours_reaches_the_application() {
    let server = Server::start();
    for path in ["/", "/api/monitoringx", "/api/users", "/metricsx", "/monitor", "/api/cleanup"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status(), answer.text()), (StatusCode::OK, "app"), "{path}");
    }
    for path in ["/api/monitoring/sockets", "/api/monitoring", "/monitoring/x.js"] {
        server.get(path).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_prefix_moves_all_routes() {
    let server =
        Server::with(Plimsoll::builder(), |layer| layer.prefix("/internal").probe_prefix(""));
    server.get("/internal/api/monitoring/memory").await.data();
    assert_eq!(server.get("/livez").await.text(), "ok");
    for path in [MEMORY, "/internal/livez", "/metrics"] {
        assert_eq!(server.get(path).await.text(), "app", "{path}");
    }
    let document = server.get("/internal/api/monitoring/openapi.json").await.json();
    assert!(document["paths"]["/internal/api/cleanup/aggressive"].is_object());
    assert!(document["paths"]["/livez"].is_object());
}

#[tokio::test]
async fn history_tables_and_page_answer() {
    let server = Server::start();
    let _cache = server
        .plimsoll
        .registry()
        .register_fn("cache", async |_| Ok(plimsoll_core::Pruned::entries(3).bytes(4)));
    server.plimsoll.cleanup(plimsoll_core::CleanupLevel::Moderate).await.unwrap();
    let history = server.get("/api/monitoring/history?minutes=1440").await.data();
    assert_eq!(history["minutes"], 60);
    assert_eq!(history["cleanups"][0]["results"][0]["name"], "cache");
    assert!(history["samples"].is_array());
    server.get("/api/monitoring/history?minutes=0").await.problem(400, "malformed-request");
    server.get("/api/monitoring/history?minutes=x").await.problem(400, "malformed-request");

    let pruners = server.get("/api/monitoring/pruners").await.data();
    let cache = pruners["pruners"].as_array().unwrap().iter().find(|row| row["name"] == "cache");
    assert_eq!(cache.unwrap()["removedTotal"], 3);
    assert_eq!(server.get("/api/monitoring/routes").await.data()["routes"], serde_json::json!([]));
}
