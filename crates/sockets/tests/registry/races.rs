//! What happens at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use plimsoll_sockets::{CloseCause, ConnectionMeta, ConnectionRegistry, Refused, Transport};

use crate::{SECOND, open, registry, settle, time_of};

#[tokio::test(start_paused = true)]
async fn a_second_close_changes_nothing() {
    let sockets = registry();
    let connection = open(&sockets);
    let weak = connection.downgrade();
    assert!(weak.close(CloseCause::Lost));
    assert!(!weak.close(CloseCause::Shutdown));
    assert!(!sockets.close(weak.id(), CloseCause::Idle));
    assert_eq!(connection.cause(), Some(CloseCause::Lost));
    drop(connection);
    sockets.empty().await;
    settle().await;
    assert!(!weak.close(CloseCause::Lost));
    assert_eq!((sockets.report().closed, sockets.report().closing), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_close_is_refused_and_dropped() {
    let sockets = registry();
    let connection = open(&sockets);
    connection.ended(CloseCause::Lost);
    let witness = Arc::new(());
    let kept = Arc::clone(&witness);
    assert!(connection.spawn("late", async move { drop(kept) }).is_err());
    let kept = Arc::clone(&witness);
    assert!(connection.on_disconnect("late", move || async move { drop(kept) }).is_err());
    assert!(connection.own(Arc::clone(&witness)).is_err());
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[tokio::test(start_paused = true)]
async fn the_guard_may_be_dropped_in_a_hook_and_in_a_task() {
    let sockets = registry();
    let connection = open(&sockets);
    let weak = connection.downgrade();
    let shared = Arc::new(std::sync::Mutex::new(Some(connection)));
    let held = Arc::clone(&shared);
    weak.on_disconnect("drops the guard", move || async move {
        drop(held.lock().unwrap().take());
    })
    .unwrap();
    weak.close(CloseCause::Lost);
    assert_eq!(time_of(sockets.empty()).await, Duration::ZERO);
    let connection = open(&sockets);
    let weak = connection.downgrade();
    weak.spawn("owns the guard", async move { drop(connection) }).unwrap();
    sockets.empty().await;
    assert_eq!(sockets.report().forced, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_task_with_the_guard_closes_with_1011() {
    let sockets = registry();
    let connection = open(&sockets);
    let weak = connection.downgrade();
    let hold = weak.hold("the test").unwrap();
    weak.spawn("panics", async move {
        let _guard = connection;
        panic!("handler");
    })
    .unwrap();
    settle().await;
    let events = sockets.events(10);
    assert!(events.iter().any(|e| e.kind == "closing" && e.detail.as_deref() == Some("panicked")));
    drop(hold);
    sockets.empty().await;
    assert_eq!(CloseCause::Panicked.code(), Some(1011));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_refuses_what_is_about_to_connect() {
    let sockets = registry();
    let meta = ConnectionMeta::new(Transport::Polling);
    let admitted = sockets.admit(&meta).unwrap();
    let connection = open(&sockets);
    let weak = connection.downgrade();
    weak.spawn("serves", async move {
        connection.closing().await;
    })
    .unwrap();
    let report = sockets.shutdown(15 * SECOND).await;
    assert_eq!((report.connections, report.forced), (1, 0));
    assert!(report.lingering.is_empty());
    assert_eq!(admitted.connect(meta.clone()).unwrap_err(), Refused::ShuttingDown);
    assert_eq!(sockets.connect(meta).unwrap_err(), Refused::ShuttingDown);
    assert!(sockets.is_shutting_down());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_at_its_deadline_and_names_what_is_left() {
    let sockets = registry();
    let connection = open(&sockets);
    connection.spawn("hung", std::future::pending()).unwrap();
    let report = sockets.shutdown(3 * SECOND).await;
    assert_eq!((report.connections, report.forced), (1, 1));
    // The guard is in the test's hands, so it is named.
    assert_eq!(report.lingering.len(), 1);
    assert!(report.lingering[0].starts_with("guard ("), "{:?}", report.lingering);
    drop(connection);
    assert_eq!(sockets.report().lingering, 0);
}

#[test]
fn a_guard_that_outlives_the_runtime_ends_its_connection_all_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let sockets = runtime.block_on(async { registry() });
    let (connection, closing) = (open(&sockets), open(&sockets));
    runtime.block_on(async {
        connection.join("lobby").unwrap();
        closing.spawn("hung", std::future::pending()).unwrap();
        closing.ended(CloseCause::Lost);
    });
    drop(runtime);
    drop(connection);
    drop(closing);
    let report = sockets.report();
    assert_eq!((report.open, report.closing, report.closed, report.lingering), (0, 0, 2, 0));
    assert!(sockets.rooms().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_without_any_time_still_begins_every_hook() {
    let sockets = registry();
    let connection = open(&sockets);
    let began = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let began = Arc::clone(&began);
        let hook = move || async move {
            began.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        };
        connection.on_disconnect("never ends", hook).unwrap();
    }
    drop(connection);
    let report = sockets.shutdown(Duration::ZERO).await;
    assert_eq!(began.load(Ordering::Relaxed), 3);
    assert_eq!((report.connections, report.forced), (1, 1));
    assert!(report.lingering.is_empty(), "what has begun is aborted: {report:?}");
    let forced = sockets.events(10).into_iter().find(|event| event.kind == "forced").unwrap();
    assert_eq!(forced.detail.unwrap().matches("task never ends (").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_may_wait_for_as_long_as_it_takes() {
    let sockets = registry();
    let _connection = open(&sockets);
    let report = sockets.shutdown(Duration::MAX).await;
    assert_eq!((report.connections, report.forced), (1, 1));
}

/// Many threads that open, join, spawn, broadcast and close, while others close the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_however_the_steps_interleave() {
    let sockets = ConnectionRegistry::builder()
        // So short that hooks whose thread has to wait for a processor begin after it.
        .cleanup_timeout(Duration::from_millis(5))
        .max_per_peer(1_000_000)
        .build()
        .unwrap();
    let hooks = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8_u64 {
        let (sockets, hooks) = (sockets.clone(), Arc::clone(&hooks));
        workers.spawn(async move {
            let mut registered = 0;
            for turn in 0..300_u64 {
                let meta = ConnectionMeta::new(Transport::Other).peer(format!("p{}", turn % 5));
                let connection = sockets.connect(meta).unwrap();
                let weak = connection.downgrade();
                let racer = sockets.clone();
                let id = connection.id();
                let race = tokio::spawn(async move {
                    racer.close(id, CloseCause::Lost);
                    // Somebody else's as well.
                    racer.close(id.saturating_sub(3), CloseCause::Idle);
                });
                let _ = weak.join("everybody");
                let hooks = Arc::clone(&hooks);
                let hook = move || async move {
                    hooks.fetch_add(1, Ordering::Relaxed);
                };
                registered += usize::from(connection.on_disconnect("count", hook).is_ok());
                match (worker + turn) % 4 {
                    0 => drop(connection.spawn("ends", async {})),
                    1 => drop(connection.spawn("hangs", std::future::pending())),
                    2 => drop(connection.spawn_while_open("waits", std::future::pending())),
                    _ => drop(connection.spawn("panics", async { panic!("task") })),
                }
                sockets.broadcast("everybody", "hello");
                drop(connection);
                race.await.unwrap();
            }
            registered
        });
    }
    let mut registered = 0;
    while let Some(count) = workers.join_next().await {
        registered += count.unwrap();
    }
    sockets.shutdown(Duration::from_secs(30)).await;
    // What is aborted, or owed its beginning, ends when its turn comes.
    while sockets.report().lingering != 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let figures = sockets.report();
    assert_eq!((figures.opened, figures.closed), (2_400, 2_400));
    assert_eq!((figures.open, figures.closing, figures.lingering), (0, 0, 0));
    assert_eq!((figures.queued_messages, figures.queued_bytes, figures.bytes), (0, 0, 0));
    assert_eq!(hooks.load(Ordering::Relaxed), registered, "every hook ran once");
    assert!(sockets.rooms().is_empty());
}
