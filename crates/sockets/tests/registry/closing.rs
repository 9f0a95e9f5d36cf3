//! From a detected disconnect to the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use plimsoll_sockets::{CloseCause, ConnectionMeta, ConnectionRegistry, SendError, Transport};

use crate::{SECOND, kinds, open, registry, settle, time_of};

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_gone_at_fifteen_seconds_and_named() {
    let sockets = registry();
    let connection = open(&sockets);
    let id = connection.id();
    connection.spawn("hung handler", std::future::pending()).unwrap();
    assert!(sockets.close(id, CloseCause::Lost));
    assert_eq!((sockets.report().open, sockets.report().closing), (0, 1));
    drop(connection);
    let took = time_of(sockets.empty()).await;
    assert_eq!(took, 15 * SECOND);
    settle().await;
    let report = sockets.report();
    assert_eq!((report.closing, report.closed, report.forced, report.lingering), (0, 1, 1, 0));
    let events = sockets.events(10);
    let forced = events.iter().find(|event| event.kind == "forced").unwrap();
    let named = forced.detail.as_deref().unwrap();
    assert!(named.contains("hung handler") && named.contains("closing.rs:"), "{named}");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_cause_the_budget_is_the_same() {
    for cause in [
        CloseCause::PeerClosed,
        CloseCause::Lost,
        CloseCause::PingTimeout,
        CloseCause::Protocol,
        CloseCause::TooLarge,
        CloseCause::Stalled,
        CloseCause::Closed { code: 4000, reason: "bye".into() },
        CloseCause::SlowConsumer,
        CloseCause::Idle,
        CloseCause::Pressure,
        CloseCause::Shutdown,
    ] {
        let sockets = registry();
        let connection = open(&sockets);
        connection.spawn("hung", std::future::pending()).unwrap();
        connection.ended(cause.clone());
        assert_eq!(time_of(sockets.empty()).await, 15 * SECOND, "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_tasks_end_is_gone_at_once() {
    let sockets = registry();
    let connection = open(&sockets);
    let weak = connection.downgrade();
    let watching = weak.clone();
    connection.spawn("waits for the end", async move { watching.closing().await }).unwrap();
    connection.spawn_while_open("ticks", std::future::pending()).unwrap();
    drop(connection);
    assert_eq!(time_of(sockets.empty()).await, Duration::ZERO);
    assert!(!weak.is_open());
    assert_eq!(sockets.report().forced, 0);
    assert_eq!(kinds(&sockets), ["open", "closing", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn hooks_run_at_the_same_time_and_a_panic_in_one_harms_no_other() {
    let sockets = registry();
    let connection = open(&sockets);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let done = Arc::clone(&done);
        let hook = move || async move {
            tokio::time::sleep(SECOND).await;
            done.fetch_add(1, Ordering::Relaxed);
        };
        connection.on_disconnect("slow", hook).unwrap();
    }
    connection.on_disconnect("in the future", || async { panic!("hook") }).unwrap();
    let call = || -> std::future::Ready<()> { panic!("hook") };
    connection.on_disconnect("in the call", call).unwrap();
    drop(connection);
    assert_eq!(time_of(sockets.empty()).await, SECOND);
    assert_eq!(done.load(Ordering::Relaxed), 10);
    assert_eq!(kinds(&sockets).iter().filter(|kind| **kind == "panicked").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_owns_is_dropped_with_it() {
    struct Subscription(Arc<AtomicBool>);
    impl Drop for Subscription {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let sockets = registry();
    let connection = open(&sockets);
    let dropped = Arc::new(AtomicBool::new(false));
    connection.own(Subscription(Arc::clone(&dropped))).unwrap();
    drop(connection);
    sockets.empty().await;
    assert!(dropped.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn rooms_are_left_when_the_closing_begins() {
    let sockets = registry();
    let (first, second) = (open(&sockets), open(&sockets));
    assert_eq!(first.join("lobby"), Ok(true));
    assert_eq!(first.join("lobby"), Ok(false));
    assert_eq!(second.join("lobby"), Ok(true));
    assert_eq!(sockets.broadcast("lobby", "hello").queued, 2);
    assert_eq!(sockets.broadcast("nowhere", "hello").queued, 0);
    first.ended(CloseCause::Lost);
    assert_eq!(sockets.rooms(), [("lobby".to_owned(), 1)]);
    assert!(first.join("lobby").is_err());
    assert!(second.leave("lobby") && !second.leave("lobby"));
    assert!(sockets.rooms().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_drops_its_queue_and_one_that_is_closed_flushes_it() {
    let sockets = registry();
    for (cause, kept) in [
        (CloseCause::Lost, 0),
        (CloseCause::Pressure, 0),
        (CloseCause::Closed { code: 1000, reason: "".into() }, 1),
    ] {
        let connection = open(&sockets);
        connection.send("last words").unwrap();
        connection.ended(cause);
        assert_eq!(sockets.report().queued_messages, kept);
        assert_eq!(connection.send("too late"), Err(SendError::Closed));
        drop(connection);
        sockets.empty().await;
        assert_eq!(sockets.report().queued_bytes, 0);
    }
}

#[tokio::test]
async fn a_handle_that_is_kept_lingers_and_is_named() {
    let sockets = ConnectionRegistry::builder()
        .cleanup_timeout(Duration::from_millis(20))
        .max_connections(1)
        .build()
        .unwrap();
    let connection = open(&sockets);
    let hold = connection.downgrade().hold("a map of mine").unwrap();
    drop(connection);
    sockets.empty().await;
    while sockets.events(1)[0].kind != "lingering" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((sockets.report().forced, sockets.report().lingering), (1, 1));
    let named = sockets.events(1)[0].detail.clone().unwrap();
    assert!(named.contains("a map of mine"), "{named}");
    // What lingers holds memory, so it counts under the cap.
    assert!(sockets.connect(ConnectionMeta::new(Transport::Sse)).is_err());
    drop(hold);
    assert_eq!(sockets.report().lingering, 0);
    // The closer, which named it, is done when the next connection finds its place free.
    while sockets.connect(ConnectionMeta::new(Transport::Sse)).is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_does_not_yield_is_named_until_it_does() {
    let sockets =
        ConnectionRegistry::builder().cleanup_timeout(Duration::from_millis(20)).build().unwrap();
    let connection = open(&sockets);
    let (release, blocked) = mpsc::channel::<()>();
    let (started, begun) = tokio::sync::oneshot::channel();
    connection
        .spawn("never yields", async move {
            let _ = started.send(());
            let _ = blocked.recv();
        })
        .unwrap();
    begun.await.unwrap();
    drop(connection);
    sockets.empty().await;
    while sockets.events(1)[0].kind != "lingering" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(sockets.events(1)[0].detail.as_deref().unwrap().contains("task never yields"));
    assert_eq!(sockets.report().lingering, 1);
    drop(release);
    while sockets.report().lingering != 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
