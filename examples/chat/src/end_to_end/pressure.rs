//! What Plimsoll does around the chat.

use super::*;

/// Thresholds far below and far above what this process uses.
const TINY: &str = r#"{"action":"updateThresholds","thresholds":{"warning":1,"critical":2}}"#;
const HUGE: &str =
    r#"{"action":"updateThresholds","thresholds":{"warning":900000,"critical":1000000}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_server_sheds_the_chat_and_still_answers_its_monitors() {
    let server = Running::start(&[Fault::LeakErrors], false).await;
    server.set_thresholds(TINY).await;
    let shed = server.get_until("/", 503).await;
    assert_eq!(shed.header("content-type"), "application/problem+json");
    assert!(shed.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert!(matches!(server.enter("name=Ada").await, Err(Error::Http(r)) if r.status() == 503));
    assert_eq!(server.get("/livez").await.head.status, StatusCode::OK);
    let report = server.get("/api/monitoring/memory").await.json();
    assert_eq!(report["data"]["status"], "critical");
    assert_eq!(report["data"]["guard"]["mode"], "enforce");

    server.set_thresholds(HUGE).await;
    server.get_until("/", 200).await;
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_nothing_is_shed_but_the_report_stays() {
    let server = Running::start(&[], true).await;
    server.set_thresholds(TINY).await;
    let critical = async {
        while server.get("/api/monitoring/memory").await.json()["data"]["status"] != "critical" {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), critical).await.unwrap();
    assert_eq!(server.get("/").await.head.status, StatusCode::OK);
    let report = server.get("/api/monitoring/memory").await.json();
    assert_eq!(report["data"]["cleanupHistory"], json!([]));
    server.stop().await.unwrap();
}

/// Names of the actions of a cleanup, with whether each says what it freed.
async fn actions(server: &Running, level: &str) -> Vec<String> {
    let cleanup = json!({ "action": "cleanup", "level": level });
    let answer = server.post("/api/monitoring/memory", cleanup).await;
    assert_eq!(answer.head.status, StatusCode::OK, "{:?}", answer.body);
    let report = server.get("/api/monitoring/memory").await.json();
    let results = report["data"]["cleanupHistory"][0]["results"].as_array().unwrap().clone();
    let name = |result: &Value| result["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = results.iter().map(name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cleanup_has_six_actions_and_a_moderate_one_three() {
    let server = Running::start(&[], false).await;
    let mut ada = server.visitor("Ada").await;
    ada.hear("welcome").await;
    let six = [
        "database_connections",
        "error_logs",
        "monitoring_history",
        "performance_metrics",
        "release_memory",
        "socket_events",
    ];
    assert_eq!(actions(&server, "aggressive").await, six);
    let three = ["error_logs", "release_memory", "socket_events"];
    assert_eq!(actions(&server, "moderate").await, three);
    // And nobody was thrown out for it.
    ada.say("still here").await;
    ada.hear("message").await;
    drop(ada);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_report_tells_of_sockets_and_rules() {
    let server = Running::start(&[], false).await;
    let mut ada = server.visitor("Ada").await;
    ada.hear("welcome").await;
    let report = server.get("/api/monitoring/memory").await.json();
    let sockets = &report["data"]["sockets"];
    assert_eq!((&sockets["open"], &sockets["transports"]["websocket"]), (&json!(1), &json!(1)));
    assert!(sockets["bytes"].as_u64().unwrap() >= 12 * 1024, "{sockets}");
    let retention = &report["data"]["retention"];
    assert_eq!(retention["database"], "sqlite");
    let rules: Vec<_> = retention["rules"].as_array().unwrap().iter().collect();
    let told: Vec<_> =
        rules.iter().map(|rule| (&rule["rule"], &rule["olderThanSeconds"])).collect();
    let expected = [
        (&json!("empty_threads"), &json!(7_200)),
        (&json!("empty_chat_sessions"), &json!(86_400)),
        (&json!("abandoned_room_participants"), &json!(21_600)),
    ];
    assert_eq!(told, expected);
    drop(ada);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_failure_of_ours_is_tracked_and_timed() {
    let server = Running::start(&[], false).await;
    server.app.db.close().await;
    assert_eq!(server.get("/api/rooms").await.head.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(server.get("/api/rooms").await.head.status, StatusCode::INTERNAL_SERVER_ERROR);
    let journal = server.get("/api/journal").await.json();
    let error = &journal["errors"][0];
    assert_eq!((&error["source"], &error["count"]), (&json!("/api/rooms"), &json!(2)));
    assert_eq!(error["message"], "500 Internal Server Error");
    let rooms = journal["latencies"].as_array().unwrap();
    assert!(rooms.iter().any(|it| it["route"] == "/api/rooms" && it["count"] == 2), "{journal}");
    server.stop().await.unwrap();
}
