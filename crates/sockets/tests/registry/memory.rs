//! With Plimsoll: ledger, report, refusals for memory, waves.

use std::time::Duration;

use plimsoll_core::{CleanupLevel, CleanupTrigger, MB, Plimsoll, Thresholds, env::EnvSettings};
use plimsoll_sockets::{ConnectionMeta, ConnectionRegistry, Refused, Transport};
use plimsoll_testkit::ScriptedSource;

use crate::open;

fn plimsoll() -> (Plimsoll, plimsoll_testkit::ScriptHandle) {
    let (source, script) = ScriptedSource::with_rss(50 * MB);
    let plimsoll = Plimsoll::builder()
        .thresholds(Thresholds::new(100 * MB, 200 * MB).expect("in order"))
        .check_interval(Duration::from_millis(10))
        .start_with(source)
        .expect("a runtime is here");
    (plimsoll, script)
}

fn registry(plimsoll: &Plimsoll) -> ConnectionRegistry {
    ConnectionRegistry::builder().plimsoll(plimsoll).build().expect("the defaults are fine")
}

#[tokio::test]
async fn buffers_and_queues_are_charged_and_given_back() {
    let (plimsoll, _script) = plimsoll();
    let sockets = registry(&plimsoll);
    let reserved = || plimsoll.report().bytes.reserved.unwrap();
    assert_eq!(reserved(), 0);
    let connection = open(&sockets);
    let resting = sockets.limits().resting_bytes();
    assert_eq!(reserved(), resting);
    let other = open(&sockets);
    connection.join("lobby").unwrap();
    other.join("lobby").unwrap();
    let payload = "x".repeat(10_000);
    assert_eq!(sockets.broadcast("lobby", payload.as_str()).queued, 2);
    let queued = reserved() - 2 * resting;
    assert!((10_000..11_000).contains(&queued), "the payload is there once: {queued}");
    let report = plimsoll.report();
    assert_eq!(report.bytes.array_buffers, Some(20_000));
    let figures = report.sockets.unwrap();
    assert_eq!((figures.open, figures.queued_messages, figures.queued_bytes), (2, 2, 20_000));
    assert_eq!(connection.next_queued().await.unwrap().len(), 10_000);
    drop(other);
    while sockets.report().closed < 1 {
        tokio::task::yield_now().await;
    }
    crate::settle().await;
    assert_eq!(reserved(), resting);
    let held = connection.charge(5_000);
    assert_eq!(reserved(), resting + 5_000);
    drop(held);
    drop(connection);
    sockets.empty().await;
    let ended = async {
        // The closer's own reference goes a moment after the removal.
        while reserved() != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_memory_has_no_room_for_is_refused() {
    let (plimsoll, script) = plimsoll();
    let sockets = registry(&plimsoll);
    script.set_rss(250 * MB);
    plimsoll.check().await.unwrap();
    let refused = sockets.connect(ConnectionMeta::new(Transport::WebSocket)).unwrap_err();
    let Refused::Memory { retry_after, .. } = refused else { panic!("{refused:?}") };
    assert!(!retry_after.is_zero());
    assert_eq!(sockets.events(1)[0].kind, "refused");
    assert_eq!(plimsoll.report().sockets.unwrap().open, 0);
    let never = ConnectionRegistry::builder().plimsoll(&plimsoll).priority(None).build().unwrap();
    drop(open(&never));
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn a_mass_disconnect_is_followed_by_a_reading_and_a_release() {
    let (plimsoll, _script) = plimsoll();
    let sockets = registry(&plimsoll);
    let connections: Vec<_> = (0..2_000).map(|_| open(&sockets)).collect();
    assert!(plimsoll.cleanups(1).is_empty());
    drop(connections);
    let seen = async {
        while plimsoll.cleanups(1).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
    let cleanups = plimsoll.cleanups(10);
    assert_eq!(cleanups.len(), 1, "one wave, one release");
    assert_eq!(cleanups[0].trigger, CleanupTrigger::Disconnect);
    assert_eq!(serde_json::to_value(cleanups[0].trigger).unwrap(), "disconnect");
    plimsoll.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_released_after_it_where_nothing_is_to_start_by_itself() {
    let (source, _script) = ScriptedSource::with_rss(50 * MB);
    let builder = Plimsoll::builder().automatic_cleanup(false);
    let plimsoll = builder.start_with(source).expect("a runtime is here");
    let sockets = registry(&plimsoll);
    drop((0..2_000).map(|_| open(&sockets)).collect::<Vec<_>>());
    sockets.empty().await;
    // Far longer than the wave takes to settle; then a reading, behind which a cleanup would be.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let _ = plimsoll.check().await;
    assert!(plimsoll.cleanups(1).is_empty() && !plimsoll.report().cleanup_in_progress);
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn the_events_are_pruned_to_the_newest_fifty() {
    let (plimsoll, _script) = plimsoll();
    let sockets = registry(&plimsoll);
    for _ in 0..100 {
        drop(open(&sockets));
    }
    sockets.empty().await;
    assert!(sockets.events(1_000).len() >= 200);
    plimsoll.cleanup(CleanupLevel::Aggressive).await.unwrap();
    assert_eq!(sockets.events(1_000).len(), 50);
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn a_registry_that_is_dropped_leaves_the_report() {
    let (plimsoll, _script) = plimsoll();
    assert!(plimsoll.report().sockets.is_none());
    let sockets = registry(&plimsoll);
    assert!(plimsoll.report().sockets.is_some());
    assert_eq!(plimsoll.registry().names().iter().filter(|n| *n == "socket_events").count(), 1);
    drop(sockets);
    assert!(plimsoll.report().sockets.is_none());
    assert!(!plimsoll.registry().names().contains(&"socket_events".to_owned()));
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn the_environment_sets_the_deadline_unless_the_program_does() {
    let (source, _script) = ScriptedSource::with_rss(50 * MB);
    let settings = EnvSettings::from_vars([("SOCKET_CLEANUP_TIMEOUT".into(), "2500".into())]);
    let plimsoll = Plimsoll::builder().env_settings(settings.unwrap()).start_with(source).unwrap();
    assert_eq!(registry(&plimsoll).cleanup_timeout(), Duration::from_millis(2_500));
    let builder = ConnectionRegistry::builder().plimsoll(&plimsoll);
    let own = builder.cleanup_timeout(Duration::from_secs(7)).build().unwrap();
    assert_eq!(own.cleanup_timeout(), Duration::from_secs(7));
    let alone = ConnectionRegistry::builder().build().unwrap();
    assert_eq!(alone.cleanup_timeout(), Duration::from_secs(15));
    plimsoll.shutdown().await;
}
