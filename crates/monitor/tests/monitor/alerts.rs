use plimsoll_core::{
    MB, Plimsoll, Thresholds,
    alerts::{FnSink, SinkError},
};

use crate::support::Server;

const ALERTS: &str = "/api/monitoring/alerts";
const SILENCE: &str = "/api/monitoring/alerts/silence";

#[tokio::test]
async fn an_alert_is_shown_resolved_by_hand_and_remembered() {
    let (told, mut notifications) = tokio::sync::mpsc::unbounded_channel();
    let sink = FnSink::new("pager", move |notification| {
        // The test may have ended by the time that a shutdown is told.
        let _ = told.send(notification);
        std::future::ready(Ok(()))
    });
    let builder = Plimsoll::builder()
        .thresholds(Thresholds::new(MB, 2 * MB).unwrap())
        .automatic_cleanup(false)
        .alert_sink(sink);
    let server = Server::with(builder, |layer| layer);
    let firing = notifications.recv().await.unwrap();

    let data = server.get(ALERTS).await.data();
    let active = data["active"].as_array().unwrap();
    assert!(active.iter().any(|alert| alert["id"] == *firing.id && alert["state"] == "firing"));
    assert_eq!(data["sinks"][0]["name"], "log");
    assert_eq!(data["sinks"][1]["name"], "pager");

    let path = format!("{ALERTS}/{}/resolve", firing.id);
    let answer = server.post(&path, "").await;
    assert_eq!(answer.data()["id"], *firing.id);
    assert_eq!(answer.json()["message"], format!("Resolved {}", firing.id));
    let data = server.get(ALERTS).await.data();
    assert_eq!(data["history"][0]["id"], *firing.id);
    assert_eq!(data["history"][0]["state"], "resolved");
}

#[tokio::test]
async fn a_rule_is_silenced_for_a_while_and_heard_again() {
    let server = Server::start();
    let answer = server.post(SILENCE, r#"{"name":"MemoryWarning","minutes":60}"#).await;
    assert_eq!(answer.data()["silences"][0]["name"], "MemoryWarning");
    assert_eq!(answer.json()["message"], "MemoryWarning is silenced for 60 min");
    let data = server.post(SILENCE, r#"{"name":"CleanupFailed","for":"24h"}"#).await.data();
    assert_eq!(data["silences"].as_array().unwrap().len(), 2);
    assert_eq!(server.get(ALERTS).await.data()["silences"], data["silences"]);
    let data = server.post(SILENCE, r#"{"name":"MemoryWarning","minutes":0}"#).await.data();
    assert_eq!(data["silences"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_span_that_is_not_taken_is_told_what_is() {
    let server = Server::start();
    for (member, detail) in [
        (r#","for":"25h""#, "for must be a duration such as \"1h\", at most 24h"),
        (r#","for":7"#, "for must be a duration such as \"1h\", at most 24h"),
        (r#","minutes":1441"#, "minutes must be a whole number such as 60, at most 1440"),
        ("", "for must say for how long, such as \"1h\", at most 24h"),
    ] {
        let body = format!(r#"{{"name":"MemoryWarning"{member}}}"#);
        let problem = server.post(SILENCE, &body).await.problem(422, "invalid-value");
        assert_eq!(problem["detail"], detail);
    }
}

#[tokio::test]
async fn every_sink_is_tried_and_tells_how_it_fared() {
    let good = FnSink::new("good", |_| std::future::ready(Ok(())));
    let bad =
        FnSink::new("bad", |_| std::future::ready(Err(SinkError::new("no route").permanent())));
    let builder = Plimsoll::builder().alert_sink(good).alert_sink(bad);
    let server = Server::with(builder, |layer| layer);
    let answer = server.post("/api/monitoring/alerts/test", "").await;
    let sinks = answer.data()["sinks"].clone();
    assert_eq!(answer.json()["message"], "Delivered to 2 of 3 sinks");
    assert_eq!((&sinks[1]["sink"], &sinks[1]["delivered"]), (&"good".into(), &true.into()));
    assert_eq!((&sinks[2]["sink"], &sinks[2]["error"]), (&"bad".into(), &"no route".into()));
}
