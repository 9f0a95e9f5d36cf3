//! Pressure made with the real tool: thresholds below and above what an idle server uses.
#![forbid(unsafe_code)]

use std::time::Duration;

use plimsoll_tests::{Chat, EventStream, assert_no_figures, assert_refusal, eventually, plimsoll};
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
/// For what the contract gives no time.
const SOON: Duration = Duration::from_secs(10);

fn alert<'a>(alerts: &'a Value, name: &str) -> Option<&'a Value> {
    alerts.as_array()?.iter().find(|alert| alert["name"] == name)
}

async fn reaches(chat: &Chat, level: &str) {
    eventually(SECOND, level, async || (chat.status().await == level).then_some(())).await;
}

#[tokio::test]
async fn a_server_cleans_up_at_warning_sheds_at_critical_and_recovers_by_itself() {
    let chat = Chat::start(&[]).await;
    let url = chat.url();
    let mut stream = EventStream::open(&chat, None).await;
    assert_eq!(chat.status().await, "healthy");

    // Warning: a moderate cleanup, and nobody is refused.
    plimsoll(&url, &["thresholds", "1,100000"]).await.success();
    reaches(&chat, "warning").await;
    let cleanup = stream.find(SOON, "a moderate cleanup", |event| {
        event.kind == "cleanup" && event.data["level"] == "moderate"
    });
    let cleanup = cleanup.await.data;
    let newest = chat.report().await["cleanupHistory"][0].clone();
    assert_eq!(newest["id"], cleanup["id"]);
    assert_eq!((&newest["level"], &newest["trigger"]), (&"moderate".into(), &"threshold".into()));
    assert_eq!(chat.get("/").await.status, 200);

    // Critical: an aggressive cleanup in spite of the cooldown, an alert, and shedding.
    plimsoll(&url, &["thresholds", "1,2"]).await.success();
    reaches(&chat, "critical").await;
    // The alert and the cleanup come in no fixed order.
    let (mut firing, mut aggressive) = (false, false);
    while !(firing && aggressive) {
        let event = stream.next(SOON).await;
        firing |= event.kind == "alert"
            && event.data["name"] == "MemoryCritical"
            && event.data["state"] == "firing";
        aggressive |= event.kind == "cleanup"
            && event.data["level"] == "aggressive"
            && event.data["trigger"] == "threshold";
    }
    let report = chat.report().await;
    assert_eq!(report["cleanupHistory"][0]["level"], "aggressive");
    let critical = alert(&report["alerts"], "MemoryCritical").expect("it fires");
    assert_eq!(critical["state"], "firing");

    let shed = chat.get("/").await;
    assert_refusal(&shed, 503);
    assert_no_figures(&shed);
    let body = shed.json();
    assert_eq!((&body["level"], &body["instance"]), (&"critical".into(), &"/".into()));
    assert!(body["retryAfterMs"].is_u64(), "{body}");
    assert!(shed.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    for path in ["/livez", "/metrics", "/api/monitoring/memory", "/monitoring/"] {
        assert_eq!(chat.get(path).await.status, 200, "{path} is never shed");
    }

    // Healthy again, with no request but the tool's to wake anybody.
    plimsoll(&url, &["thresholds", "2000,3000"]).await.success();
    stream
        .find(SECOND, "a healthy sample", |event| {
            event.kind == "thresholds" && event.data["status"] == "healthy"
                || event.kind == "sample" && event.data["level"] == "healthy"
        })
        .await;
    assert_eq!(chat.status().await, "healthy");
    assert_eq!(chat.get("/").await.status, 200);
    eventually(SOON, "the alert's end", async || {
        alert(&chat.report().await["alerts"], "MemoryCritical").is_none().then_some(())
    })
    .await;
    let alerts = chat.get("/api/monitoring/alerts").await.json();
    let resolved = alert(&alerts["data"]["history"], "MemoryCritical").expect("it was active");
    assert_eq!(resolved["state"], "resolved");
    assert_eq!(resolved["id"], critical["id"]);
}

#[tokio::test]
async fn the_critical_edge_starts_one_aggressive_cleanup_and_not_one_for_each_who_hears_it() {
    let chat = Chat::start(&[]).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(EventStream::open(&chat, None).await);
    }
    plimsoll(&chat.url(), &["thresholds", "1,2"]).await.success();
    let stream = &mut streams[0];
    stream.find(SOON, "the cleanup", |event| event.kind == "cleanup").await;
    // Three seconds of staying critical bring no second one: the cooldown is 30 s.
    for _ in 0..3 {
        stream.find(SOON, "a sample", |event| event.kind == "sample").await;
    }
    let report = chat.report().await;
    let history = report["cleanupHistory"].as_array().unwrap();
    let aggressive = history.iter().filter(|record| record["level"] == "aggressive").count();
    assert_eq!(aggressive, 1, "{history:#?}");
    assert!(report["cooldown"]["remainingMs"].as_u64().unwrap() > 0);
}

/// The control: the same pressure without the layer.
#[tokio::test]
async fn without_the_guard_critical_is_only_told() {
    let chat = Chat::start(&["--no-guard"]).await;
    let mut stream = EventStream::open(&chat, None).await;
    plimsoll(&chat.url(), &["thresholds", "1,2"]).await.success();
    reaches(&chat, "critical").await;
    // Long enough for a cleanup that would come: with the guard it is there within one sample.
    for _ in 0..3 {
        stream.find(SOON, "a sample", |event| event.kind == "sample").await;
        assert_eq!(chat.get("/").await.status, 200);
    }
    let report = chat.report().await;
    assert_eq!(report["status"], "critical");
    assert_eq!(report["cleanupHistory"], Value::Array(Vec::new()));
    assert_eq!((&report["guard"]["mode"], &report["guard"]["shed"]), (&"off".into(), &0.into()));
}

#[tokio::test]
async fn readiness_fails_at_sustained_critical_and_liveness_never() {
    let chat = Chat::start(&[]).await;
    plimsoll(&chat.url(), &["thresholds", "1,2"]).await.success();
    let unready = eventually(Duration::from_secs(30), "503 from /readyz", async || {
        let answer = chat.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    });
    assert!(!unready.await.text().contains(|c: char| c.is_ascii_digit()), "it says only words");
    assert_eq!(chat.get("/livez").await.status, 200);
    plimsoll(&chat.url(), &["thresholds", "2000,3000"]).await.success();
    eventually(SOON, "readiness", async || (chat.get("/readyz").await.status == 200).then_some(()))
        .await;
}
