//! The event stream: what was, then what happens.
#![forbid(unsafe_code)]

use std::time::Duration;

use plimsoll_tests::{Chat, EventStream};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
const MEMORY: &str = "/api/monitoring/memory";

#[tokio::test]
async fn a_snapshot_comes_first_and_then_samples_thresholds_cleanups_and_alerts() {
    let chat = Chat::start(&[]).await;
    let mut stream = EventStream::open(&chat, None).await;
    let snapshot = stream.next(SOON).await;
    assert_eq!(snapshot.kind, "snapshot");
    assert!(snapshot.data.is_object(), "{}", snapshot.data);

    let sample = stream.find(SOON, "a sample", |event| event.kind == "sample").await;
    assert_eq!(sample.data["level"], "healthy");
    assert!(sample.data["figure"].is_u64() && sample.data["rss"].is_u64(), "{}", sample.data);

    let change = json!({
        "action": "updateThresholds",
        "thresholds": { "warning": "1500MB", "critical": 2500 },
    });
    assert_eq!(chat.post(MEMORY, &change).await.status, 200);
    let thresholds = stream.find(SOON, "the change", |event| event.kind == "thresholds").await;
    assert_eq!(thresholds.data["thresholds"]["warning"], 1500);
    assert_eq!(thresholds.data["thresholds"]["critical"], 2500);

    let answer = chat.post(MEMORY, &json!({ "action": "cleanup" })).await.json();
    let cleanup = stream.find(SOON, "the cleanup", |event| event.kind == "cleanup").await;
    assert_eq!(cleanup.data["id"], answer["data"]["id"]);

    let change =
        json!({ "action": "updateThresholds", "thresholds": { "warning": 1, "critical": 2 } });
    chat.post(MEMORY, &change).await;
    let alert = stream
        .find(SOON, "the alert", |event| event.kind == "alert" && event.data["state"] == "firing");
    assert_eq!(alert.await.data["name"], "MemoryCritical");
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_and_no_second_snapshot() {
    let chat = Chat::start(&[]).await;
    let mut stream = EventStream::open(&chat, None).await;
    let sample = stream.find(SOON, "a sample", |event| event.kind == "sample").await;
    let heard = sample.id.expect("events have ids");
    drop(stream);

    let answer = chat.post(MEMORY, &json!({ "action": "cleanup" })).await.json();
    let mut stream = EventStream::open(&chat, Some(&heard)).await;
    let missed = stream.find(SOON, "the missed cleanup", |event| {
        assert_ne!(event.kind, "snapshot");
        event.kind == "cleanup"
    });
    assert_eq!(missed.await.data["id"], answer["data"]["id"]);
}

#[tokio::test]
async fn a_new_listener_sees_what_was_before_it_came() {
    let chat = Chat::start(&[]).await;
    let mut early = EventStream::open(&chat, None).await;
    for _ in 0..2 {
        early.find(SOON, "a sample", |event| event.kind == "sample").await;
    }
    let snapshot = EventStream::open(&chat, None).await.next(SOON).await;
    assert_eq!(snapshot.kind, "snapshot");
    let samples = snapshot.data["samples"].as_array().expect("the ring is in the snapshot");
    assert!(samples.len() >= 2, "{}", snapshot.data);
    let history = chat.get("/api/monitoring/history?minutes=1").await.json();
    assert!(history["data"]["samples"].as_array().unwrap().len() >= 2, "{history}");
}

#[tokio::test]
async fn an_event_that_is_not_of_this_life_of_the_server_starts_anew() {
    let first = Chat::start(&[]).await;
    let before = EventStream::open(&first, None).await.next(SOON).await.id.expect("an id");
    let second = Chat::start(&[]).await;
    let own = EventStream::open(&second, None).await.next(SOON).await.id.expect("an id");
    let (instance, _) = own.rsplit_once('-').expect("instance and number");
    for id in [before, format!("{instance}-999999"), format!("{instance}-"), "x".to_owned()] {
        let mut stream = EventStream::open(&second, Some(&id)).await;
        assert_eq!(stream.next(SOON).await.kind, "snapshot", "{id}");
    }
}
