//! Ends that are none of the handler's doing.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use plimsoll_sockets::Session;

use crate::server::{
    Adapter, BOTH, close_code, connect, listen, patient, quick, registry, serve, until,
};

#[tokio::test]
async fn a_cut_is_detected_while_the_handler_hangs() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, |session| async move {
            let _kept = session;
            pending::<()>().await;
        })
        .await;
        let client = connect(address).await;
        until(|| sockets.report().open == 1).await;
        drop(client);
        until(|| sockets.report().closing == 1).await;
        patient(sockets.empty()).await;
        until(|| sockets.report().lingering == 0).await;
        let report = sockets.report();
        assert_eq!((report.forced, report.open), (1, 0), "{adapter:?}");
        let events = sockets.events(10);
        let forced = events.iter().find(|event| event.kind == "forced").unwrap();
        assert!(forced.detail.as_deref().unwrap().contains("task handler ("), "{forced:?}");
    }
}

#[tokio::test]
async fn a_peer_that_is_silent_is_pinged_and_then_given_up() {
    for adapter in BOTH {
        let mut limits = quick();
        limits.ping_interval = Duration::from_millis(50);
        limits.pong_deadline = Duration::from_millis(50);
        let sockets = registry(limits);
        let address = serve(adapter, &sockets, listen).await;
        // Not polled, so it answers no ping.
        let client = connect(address).await;
        until(|| sockets.report().opened == 1).await;
        patient(sockets.empty()).await;
        let events = sockets.events(10);
        let closing = events.iter().find(|event| event.kind == "closing").unwrap();
        assert_eq!(closing.detail.as_deref(), Some("ping timeout"), "{adapter:?}");
        drop(client);
    }
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays() {
    let mut limits = quick();
    limits.ping_interval = Duration::from_millis(20);
    limits.pong_deadline = Duration::from_secs(20);
    let sockets = registry(limits);
    let address = serve(Adapter::Axum, &sockets, listen).await;
    let mut client = connect(address).await;
    // Reading answers; so many pings come only if each one was answered.
    for _ in 0..5 {
        let frame = patient(futures_util::StreamExt::next(&mut client)).await;
        assert!(matches!(frame, Some(Ok(tokio_tungstenite::tungstenite::Message::Ping(_)))));
    }
    assert_eq!(sockets.report().open, 1);
}

#[tokio::test]
async fn a_handler_that_takes_nothing_slows_its_peer_and_is_given_up_in_the_end() {
    use futures_util::SinkExt;
    let mut limits = quick();
    limits.inbox_messages = 2;
    limits.ping_interval = Duration::from_millis(50);
    limits.pong_deadline = Duration::from_millis(50);
    let sockets = registry(limits);
    let address = serve(Adapter::Axum, &sockets, |session: Session| async move {
        session.connection().closing().await;
    })
    .await;
    let mut client = connect(address).await;
    for _ in 0..10 {
        client.send("hello".into()).await.unwrap();
    }
    assert_eq!(close_code(&mut client).await, 1011);
    let events = sockets.events(10);
    let closing = events.iter().find(|event| event.kind == "closing").unwrap();
    assert_eq!(closing.detail.as_deref(), Some("handler stalled"));
}

#[tokio::test]
async fn a_client_that_never_answers_the_close_is_dropped_after_the_grace() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, |session| async move {
            session.close(1000, "bye");
        })
        .await;
        let client = connect(address).await;
        until(|| sockets.report().closed == 1).await;
        assert_eq!(sockets.report().forced, 0, "{adapter:?}");
        drop(client);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_a_slow_consumer() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let address = serve(adapter, &sockets, move |session: Session| {
            let count = Arc::clone(&count);
            async move {
                let flood = "x".repeat(60_000);
                while session.send(flood.as_str()).is_ok() {
                    tokio::task::yield_now().await;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .await;
        let client = connect(address).await;
        until(|| sockets.report().closed == 1).await;
        assert_eq!(told.load(Ordering::Relaxed), 1);
        let report = sockets.report();
        assert_eq!((report.forced, report.queued_bytes), (0, 0), "{adapter:?}");
        let events = sockets.events(10);
        let closing = events.iter().find(|event| event.kind == "closing").unwrap();
        assert_eq!(closing.detail.as_deref(), Some("slow consumer"));
        drop(client);
    }
}
