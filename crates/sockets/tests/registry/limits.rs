//! Caps, settings, pruners.

use std::time::Duration;

use http::StatusCode;
use plimsoll_core::{CleanupLevel, PruneRequest, Pruner};
use plimsoll_sockets::{
    BuildError, CloseCause, CloseIdle, CloseLargest, ConnectionMeta, ConnectionRegistry,
    QueuePolicy, Refused, SendError, SocketLimits, Transport,
};

use crate::{SECOND, open, registry, settle};

fn refusal(sockets: &ConnectionRegistry, peer: &str) -> Option<Refused> {
    sockets.connect(ConnectionMeta::new(Transport::WebSocket).peer(peer)).err()
}

#[tokio::test(start_paused = true)]
async fn caps_refuse_and_places_come_back() {
    let sockets = ConnectionRegistry::builder().max_connections(3).max_per_peer(2).build().unwrap();
    let connect = |peer: &str| sockets.connect(ConnectionMeta::new(Transport::Sse).peer(peer));
    let first = connect("a").unwrap();
    let _second = connect("a").unwrap();
    assert_eq!(refusal(&sockets, "a"), Some(Refused::PeerFull { most: 2 }));
    let _third = connect("b").unwrap();
    assert_eq!(refusal(&sockets, "c"), Some(Refused::Full { most: 3 }));
    // One that closes holds memory still.
    first.ended(CloseCause::Lost);
    assert!(refusal(&sockets, "c").is_some());
    drop(first);
    settle().await;
    assert_eq!(refusal(&sockets, "c"), None);
    assert_eq!((sockets.report().refused, sockets.report().cap), (3, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_without_figures() {
    let sockets = ConnectionRegistry::builder().max_connections(1).build().unwrap();
    let _one = open(&sockets);
    let answer = refusal(&sockets, "a").unwrap().response();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!((&body["status"], &body["success"]), (&503.into(), &false.into()));
    assert!(!body["detail"].as_str().unwrap().contains('1'));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    assert_eq!(
        ConnectionRegistry::builder().build().unwrap_err(),
        BuildError::NoRuntime,
        "no runtime here"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let mut limits = SocketLimits::chat();
    limits.max_write_buffer_bytes = limits.write_buffer_bytes;
    let error = ConnectionRegistry::builder().limits(limits).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the socket limit max_write_buffer_bytes is 8192; accepted is more than write_buffer_bytes"
    );
    let error = ConnectionRegistry::builder().cleanup_timeout(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.to_string(), "the cleanup timeout is 0ns; accepted are 1ms to 604800s");
    let error = ConnectionRegistry::builder().max_per_peer(0).build().unwrap_err();
    assert_eq!(error, BuildError::ZeroCap { name: "max_per_peer" });
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_closed_with_1013() {
    let mut limits = SocketLimits::chat();
    limits.queue_messages = 2;
    let sockets = ConnectionRegistry::builder().limits(limits).build().unwrap();
    let connection = open(&sockets);
    connection.send("1").unwrap();
    connection.send("2").unwrap();
    assert!(matches!(connection.send("3"), Err(SendError::SlowConsumer { messages: 2, .. })));
    let cause = connection.cause().unwrap();
    assert_eq!((&cause, cause.code()), (&CloseCause::SlowConsumer, Some(1013)));
    limits.queue_policy = QueuePolicy::DropOldest;
    let sockets = ConnectionRegistry::builder().limits(limits).build().unwrap();
    let connection = open(&sockets);
    for number in 0..10 {
        connection.send(number.to_string()).unwrap();
    }
    assert_eq!(connection.next_queued().await.unwrap().as_text(), Some("8"));
    assert_eq!(connection.next_queued().await.unwrap().as_text(), Some("9"));
    connection.ended(CloseCause::Lost);
    assert_eq!(connection.next_queued().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_go_first_and_the_busy_stay() {
    let sockets = registry();
    let mut open: Vec<_> = (0..4).map(|_| open(&sockets)).collect();
    tokio::time::advance(100 * SECOND).await;
    open[1].touch();
    open[2].send("waits to be sent").unwrap();
    tokio::time::advance(50 * SECOND).await;
    let pruner = CloseIdle::new(&sockets, 100 * SECOND);
    assert_eq!(pruner.least_level(), CleanupLevel::Aggressive);
    let request = PruneRequest::new(CleanupLevel::Aggressive);
    assert_eq!(pruner.preview(request).unwrap().entries, 2);
    assert!(open.iter().all(|connection| connection.is_open()), "a preview changes nothing");
    let mut little = request;
    little.target_bytes = Some(1);
    let end = async {
        open[0].closing().await;
        open.remove(0)
    };
    let (pruned, ended) = tokio::join!(pruner.prune(little), end);
    assert_eq!(pruned.unwrap().entries, 1, "no more than it takes");
    assert_eq!(ended.cause(), Some(CloseCause::Idle));
    assert_eq!(sockets.close_idle(100 * SECOND), 1);
    let left: Vec<_> = open.iter().map(|connection| connection.is_open()).collect();
    assert_eq!(left, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_largest_go_and_what_has_ended_is_claimed() {
    let sockets = registry();
    let (small, large) = (open(&sockets), open(&sockets));
    let held = large.charge(1_000_000);
    let pruner = CloseLargest::new(&sockets, 1);
    let end = async {
        large.closing().await;
        drop((large, held));
    };
    let request = PruneRequest::new(CleanupLevel::Aggressive);
    let (pruned, ()) = tokio::join!(pruner.prune(request), end);
    let pruned = pruned.unwrap();
    assert_eq!(pruned.entries, 1);
    assert!(pruned.bytes.unwrap() >= 1_000_000);
    assert!(small.is_open());
    assert_eq!(sockets.close_largest_bytes(1), 1);
    assert_eq!(small.cause(), Some(CloseCause::Pressure));
}
