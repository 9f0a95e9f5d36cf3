//! Pruners that panic, hang and lie, asked over HTTP. The readings are scripted, so that what
//! was freed is known to the byte.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use plimsoll::{Plimsoll, prelude::*};
use plimsoll_testkit::{Answer, RecordingPruner, ScriptHandle, ScriptedSource};
use plimsoll_tests::{Http, within};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

const DEADLINE: Duration = Duration::from_millis(300);
const BEFORE: u64 = 900 * MB;
const FREED: u64 = 40 * MB;

/// A server of this test with monitoring routes and nothing else.
struct Server {
    http: Http,
    plimsoll: Plimsoll,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(registry: CleanupRegistry, source: ScriptedSource) -> Self {
        let plimsoll = Plimsoll::builder()
            .registry(registry)
            .pruner_deadline(DEADLINE)
            .start_with(source)
            .unwrap();
        let app = Router::new().layer(MonitorRouteLayer::new(&plimsoll));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { http: Http::new(address), plimsoll, task }
    }

    /// Asks for an aggressive cleanup and returns its record.
    async fn clean_up(&self) -> Value {
        let body = json!({ "action": "cleanup", "level": "aggressive" });
        let mut answer = self.http.post("/api/monitoring/memory", &body).await.json();
        assert!(answer["data"]["id"].is_string(), "{answer:#}");
        answer["data"].take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn scripted() -> (ScriptedSource, ScriptHandle) {
    let (source, script) = ScriptedSource::new();
    script.set_rss(BEFORE);
    (source, script)
}

/// Registers a pruner that does free something, which only the readings show.
fn honest(registry: &CleanupRegistry, name: &str, script: &ScriptHandle) -> Registration {
    let script = script.clone();
    registry.register_fn(name, move |_: PruneRequest| {
        let script = script.clone();
        async move {
            script.set_rss(BEFORE - FREED);
            Ok(Pruned::entries(7).bytes(1))
        }
    })
}

fn outcome<'a>(record: &'a Value, name: &str) -> &'a str {
    let results = record["results"].as_array().expect("a record has results");
    let result = results.iter().find(|result| result["name"] == name);
    result.unwrap_or_else(|| panic!("{name} did not run: {record:#}"))["outcome"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruners_that_panic_hang_and_lie_change_neither_the_others_nor_the_figure() {
    let (source, script) = scripted();
    let registry = CleanupRegistry::new();
    let hanging = RecordingPruner::new(Answer::Never);
    let witness = RecordingPruner::new(Answer::Claim(Pruned::entries(1)));
    let _registered = [
        registry.register("first", witness.clone()),
        registry.register("panics", RecordingPruner::new(Answer::Panic("boom".to_owned()))),
        registry.register("hangs", hanging.clone()),
        registry.register(
            "lies",
            RecordingPruner::new(Answer::Claim(Pruned::entries(3).bytes(10_000 * MB))),
        ),
        honest(&registry, "honest", &script),
        registry.register("fails", RecordingPruner::new(Answer::Fail("disk full".to_owned()))),
        registry.register("last", witness.clone()),
    ];
    let server = Server::start(registry, source).await;

    let begun = Instant::now();
    let record = server.clean_up().await;
    let took = begun.elapsed();
    // One of them uses up its time, the others next to none.
    assert!(took >= DEADLINE && took < DEADLINE + Duration::from_secs(2), "{took:?}");

    for (name, expected) in [
        ("first", "ok"),
        ("panics", "panicked"),
        ("hangs", "timedOut"),
        ("lies", "implausible"),
        ("honest", "ok"),
        ("fails", "failed"),
        ("last", "ok"),
    ] {
        assert_eq!(outcome(&record, name), expected, "{name} in {record:#}");
    }
    assert_eq!(witness.finished(), 2);
    assert_eq!(hanging.dropped(), 1, "the hanging pass was dropped");
    // Neither the lie of 10 GB nor the honest pruner's claim of one byte.
    assert_eq!(record["freedMemory"], FREED);
    assert_eq!(
        (&record["beforeBytes"], &record["afterBytes"]),
        (&BEFORE.into(), &(BEFORE - FREED).into())
    );
    assert!(!record.to_string().contains("10000000000"), "{record:#}");
    let report = server.http.report().await;
    assert_eq!(report["cleanupHistory"][0]["freedMemory"], FREED);
    assert_eq!(report["cleanupHistory"][0]["id"], record["id"]);

    // And the next one works as if nothing had been.
    let again = server.clean_up().await;
    assert_eq!((outcome(&again, "last"), &again["freedMemory"]), ("ok", &0.into()));
    assert_eq!(witness.finished(), 4);
    server.plimsoll.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pruner_that_blocks_its_thread_holds_up_nobody_else() {
    let (source, script) = scripted();
    let registry = CleanupRegistry::new();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
    let blocks = registry.register_fn("blocks", move |_: PruneRequest| {
        let blocked = std::sync::Arc::clone(&blocked);
        async move {
            // No await point: this cannot be dropped, only left behind.
            let _ = blocked.lock().unwrap().recv();
            Ok(Pruned::nothing())
        }
    });
    let _honest = honest(&registry, "honest", &script);
    let server = Server::start(registry, source).await;
    let record = within(DEADLINE + Duration::from_secs(5), "the cleanup", server.clean_up()).await;
    assert_eq!(outcome(&record, "blocks"), "timedOut");
    assert_eq!((outcome(&record, "honest"), &record["freedMemory"]), ("ok", &FREED.into()));
    drop((release, blocks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_caller_joins_the_running_cleanup() {
    let (source, _script) = scripted();
    let registry = CleanupRegistry::new();
    let held = RecordingPruner::new(Answer::Held(Pruned::entries(1)));
    let _registered = registry.register("held", held.clone());
    let plimsoll = Plimsoll::builder().registry(registry).start_with(source).unwrap();
    let first = tokio::spawn({
        let plimsoll = plimsoll.clone();
        async move { plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap() }
    });
    held.started(1).await;
    assert!(plimsoll.report().cleanup_in_progress);
    let mut second = std::pin::pin!(plimsoll.cleanup(CleanupLevel::Aggressive));
    // Joined before the first one ends: it cannot be ready, but has begun.
    tokio::select! {
        biased;
        _ = &mut second => panic!("it did not wait"),
        () = async {} => held.let_go(),
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    assert_eq!(held.requests().len(), 1);
    plimsoll.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growth_during_a_cleanup_is_told_and_never_negative() {
    let (source, script) = scripted();
    let registry = CleanupRegistry::new();
    let _grows = registry.register_fn("grows", move |_: PruneRequest| {
        let script = script.clone();
        async move {
            script.set_rss(BEFORE + 12 * MB);
            Ok(Pruned::nothing())
        }
    });
    let server = Server::start(registry, source).await;
    let record = server.clean_up().await;
    assert_eq!((&record["freedMemory"], &record["detail"]), (&0.into(), &"grew 12MB".into()));
    server.plimsoll.shutdown().await;
}

#[tokio::test]
async fn a_dropped_registration_is_not_asked_any_more() {
    let (source, _script) = scripted();
    let registry = CleanupRegistry::new();
    let pruner = RecordingPruner::new(Answer::Claim(Pruned::entries(1)));
    let registered = registry.register("gone", pruner.clone());
    let server = Server::start(registry, source).await;
    assert_eq!(outcome(&server.clean_up().await, "gone"), "ok");
    drop(registered);
    let record = server.clean_up().await;
    assert!(!record.to_string().contains("gone"), "{record:#}");
    assert_eq!(pruner.finished(), 1);
    server.plimsoll.shutdown().await;
}
