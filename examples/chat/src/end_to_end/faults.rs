//! Faults that are switched on, and the load that shows them.

use clap::Parser as _;

use super::*;
use crate::{
    load::{self, Kind},
    options::{Command, Options},
};

#[tokio::test]
async fn memory_is_held_only_where_that_is_switched_on() {
    let calm = Running::start(&[], false).await;
    let refused = calm.send(Method::POST, "/api/hold?mb=1&ms=1", "").await;
    assert_eq!(refused.head.status, StatusCode::NOT_FOUND);
    calm.stop().await.unwrap();

    let server = Running::start(&[Fault::Hold], false).await;
    for (query, status) in [
        ("mb=1&ms=1", 200),
        ("mb=1&ms=1&touch=late", 200),
        ("mb=x", 400),
        ("touch=soon", 400),
        ("mb=0", 422),
        ("ms=60001", 422),
    ] {
        let answer = server.send(Method::POST, &format!("/api/hold?{query}"), "").await;
        assert_eq!(answer.head.status.as_u16(), status, "{query}");
        if status != 200 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.json()["success"], false);
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn everything_that_grows_is_a_pruner_and_a_cleanup_gives_it_back() {
    let faults = [Fault::LeakErrors, Fault::LeakEvents, Fault::LeakCache];
    let server = Running::start(&faults, false).await;
    let mut ada = server.visitor("Ada").await;
    for n in 0..40 {
        ada.say(&n.to_string()).await;
        ada.hear("message").await;
    }
    let journal = server.get("/api/journal").await.json();
    assert_eq!(journal["socketEvents"][0]["kind"], "open");
    assert_eq!(journal["latencies"][0]["route"], "/ws");
    let cleanup = r#"{"action":"cleanup","level":"aggressive"}"#;
    let answer = server.send(Method::POST, "/api/monitoring/memory", cleanup).await.json();
    let report = server.get("/api/monitoring/memory").await.json();
    let results = report["data"]["cleanupHistory"][0]["results"].as_array().unwrap().clone();
    for name in ["socket_events", "error_logs", "performance_metrics", "leaked_errors"] {
        assert!(results.iter().any(|result| result["name"] == name), "{name}: {answer}");
    }
    for name in ["leaked_events", "leaked_cache"] {
        let result = results.iter().find(|result| result["name"] == name).unwrap();
        assert!(result["removed"].as_u64().unwrap() >= 20, "{result}");
    }
    let latencies = server.get("/api/journal").await.json()["latencies"].clone();
    assert!(latencies.as_array().unwrap().iter().all(|it| it["route"] != "/ws"), "{latencies}");
    drop(ada);
    server.stop().await.unwrap();
}

/// The results of an aggressive cleanup, by name.
async fn cleaned(server: &Running) -> impl Fn(&str) -> Value + use<> {
    let cleanup = json!({ "action": "cleanup", "level": "aggressive" });
    let answer = server.post("/api/monitoring/memory", cleanup).await;
    assert_eq!(answer.head.status, StatusCode::OK, "{:?}", answer.body);
    let report = server.get("/api/monitoring/memory").await.json();
    let results = report["data"]["cleanupHistory"][0]["results"].as_array().unwrap().clone();
    move |name| results.iter().find(|result| result["name"] == name).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_those_who_vanished_are_leaked_until_a_cleanup() {
    let server = Running::start(&[Fault::LeakSockets], false).await;
    let mut ada = server.visitor("Ada").await;
    ada.hear("welcome").await;
    for n in 0..12 {
        let protocol = Protocol::ALL[n % 2];
        let mut talk = server.talk(protocol, &format!("v{n}")).await.unwrap();
        talk.send("here and gone").await.unwrap();
        while talk.hear().await.unwrap() != load::Heard::Message("here and gone".into()) {}
    }
    // The server notices each of them, and keeps what was theirs all the same.
    let gone = async {
        while server.app.sockets.report().open > 1 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.unwrap();
    let result = cleaned(&server).await("leaked_sessions");
    assert_eq!(result["removed"], 12, "{result}");
    assert!(result["freedBytes"].as_u64().unwrap() > 12 * 64 * 1024, "{result}");
    // Hers is not among them, nor was she idle.
    ada.say("still here").await;
    ada.hear("message").await;
    drop(ada);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_threads_fill_the_database_until_the_rule_runs() {
    let server = Running::start(&[Fault::FillThreads], false).await;
    for _ in 0..20 {
        assert_eq!(server.get("/api/rooms").await.head.status, StatusCode::OK);
    }
    // No cleanup of memory deletes rows.
    assert_eq!(cleaned(&server).await("empty_threads"), Value::Null);
    let dry = server.post("/api/cleanup/aggressive?dryRun=true", json!({})).await.json();
    assert_eq!(dry["data"]["database"]["rules"][0]["selected"], 20, "{dry}");
    let done = server.post("/api/cleanup/aggressive", json!({})).await.json();
    assert_eq!(done["data"]["database"]["rules"][0]["deleted"], 20, "{done}");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_counts_what_real_clients_got() {
    let server = Running::start(&[Fault::Hold], false).await;
    let url = format!("http://{}", server.address);
    let arguments = "--seconds 2 --clients 4 --socketio-clients 2 --polling-clients 2 --churn 2 \
        --socket-io rust --api-clients 2 --hold-clients 2 --hold-mb 1 --hold-ms 50 --hold-touch late";
    let arguments = ["chat", "load", "--url", &url].into_iter().chain(arguments.split_whitespace());
    let Some(Command::Load(options)) = Options::parse_from(arguments).command else {
        panic!("the load was asked for")
    };
    let summary = load::drive(&options).await.unwrap();
    let json = summary.to_json();
    assert_eq!(summary.accepted(Kind::Connect), 4, "{json}");
    assert!(summary.accepted(Kind::Message) >= 4, "{json}");
    assert_eq!(summary.accepted(Kind::IoConnect), 4, "{json}");
    for kind in [Kind::IoMessage, Kind::Churn, Kind::Api, Kind::Hold] {
        assert!(summary.accepted(kind) >= 2, "{kind:?}: {json}");
    }
    for kind in ["connect", "message", "ioConnect", "ioMessage", "churn", "api", "hold"] {
        let refused = ["shed503", "other", "errors"].map(|count| &json["kinds"][kind][count]);
        assert_eq!(refused, [&json!(0); 3], "{kind}: {json}");
    }
    assert!(json["livez"]["answered"].as_u64().unwrap() >= 5, "{json}");
    assert_eq!(json["livez"]["lost"], 0, "{json}");
    server.stop().await.unwrap();
    assert!(matches!(load::drive(&options).await, Err(load::LoadError::Unreachable(_))));
}
