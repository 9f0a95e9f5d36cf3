//! The ordinary course of things.

use std::time::Duration;

use futures_util::SinkExt;
use plimsoll_sockets::{CloseCause, ConnectionRegistry};
use tokio_tungstenite::{connect_async, tungstenite::Error};

use crate::server::{
    BOTH, close_code, connect, echo, next, patient, quick, registry, serve, until,
};

#[tokio::test]
async fn text_and_bytes_go_there_and_back() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, echo).await;
        let mut client = connect(address).await;
        for message in ["grüße".into(), vec![0_u8, 255].into(), "".into()] {
            let message: tokio_tungstenite::tungstenite::Message = message;
            client.send(message.clone()).await.unwrap();
            assert_eq!(next(&mut client).await.unwrap().unwrap(), message);
        }
        client.close(None).await.unwrap();
        patient(sockets.empty()).await;
        let report = sockets.report();
        assert_eq!((report.opened, report.closed, report.forced), (1, 1, 0));
        let events = sockets.events(10);
        let closing = events.iter().find(|event| event.kind == "closing").unwrap();
        assert_eq!(closing.detail.as_deref(), Some("peer closed"), "{adapter:?}");
    }
}

#[tokio::test]
async fn what_was_queued_before_the_end_arrives_before_the_close_frame() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, |session| async move {
            for number in 0..100 {
                session.send(number.to_string()).unwrap();
            }
            session.close(4001, "enough");
        })
        .await;
        let mut client = connect(address).await;
        for number in 0..100 {
            assert_eq!(next(&mut client).await.unwrap().unwrap(), number.to_string().into());
        }
        assert_eq!(close_code(&mut client).await, 4001, "{adapter:?}");
        while next(&mut client).await.is_some() {}
        patient(sockets.empty()).await;
        assert_eq!(sockets.report().forced, 0);
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_a_503_that_says_when_to_come_back() {
    let sockets = ConnectionRegistry::builder().max_connections(1).build().unwrap();
    let address = serve(crate::server::Adapter::Axum, &sockets, echo).await;
    let first = connect(address).await;
    let refused = connect_async(format!("ws://{address}/ws")).await.unwrap_err();
    let Error::Http(answer) = refused else { panic!("{refused}") };
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    drop(first);
    until(|| sockets.report().open == 0 && sockets.report().closing == 0).await;
    until(|| sockets.report().bytes == 0).await;
    drop(connect(address).await);
}

#[tokio::test]
async fn a_shutdown_says_1001_to_all_and_waits_for_them() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, echo).await;
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(connect(address).await);
        }
        until(|| sockets.report().open == 50).await;
        let ending = {
            let sockets = sockets.clone();
            tokio::spawn(async move { sockets.shutdown(Duration::from_secs(15)).await })
        };
        for client in &mut clients {
            assert_eq!(close_code(client).await, 1001);
            while next(client).await.is_some() {}
        }
        let report = patient(ending).await.unwrap();
        assert_eq!((report.connections, report.forced), (50, 0), "{adapter:?}");
        assert!(report.lingering.is_empty());
    }
}

#[tokio::test]
async fn closed_for_memory_is_told_1013() {
    let sockets = registry(quick());
    let address = serve(crate::server::Adapter::Axum, &sockets, echo).await;
    let mut client = connect(address).await;
    until(|| sockets.report().open == 1).await;
    let id = sockets.connections()[0].id();
    assert!(sockets.close(id, CloseCause::Pressure));
    assert_eq!(close_code(&mut client).await, 1013);
}

#[tokio::test]
async fn a_message_that_is_being_written_is_whole_when_the_close_frame_comes() {
    for adapter in BOTH {
        let mut limits = quick();
        limits.close_grace = Duration::from_secs(20);
        let sockets = ConnectionRegistry::builder().limits(limits).build().unwrap();
        let message = "x".repeat(60_000);
        let whole = message.clone();
        let address = serve(adapter, &sockets, move |session| {
            let message = message.clone();
            async move {
                while session.send(message.as_str()).is_ok() {
                    // Until the kernel takes no more and one is half written.
                    while session.connection().is_open() && session.connection().queued_bytes() > 0
                    {
                        tokio::task::yield_now().await;
                        if session.connection().idle() > Duration::from_millis(300) {
                            session.connection().closing().await;
                        }
                    }
                }
            }
        })
        .await;
        let mut client = connect(address).await;
        until(|| sockets.connections().iter().any(|c| c.idle() > Duration::from_millis(300))).await;
        assert_eq!(sockets.close_largest(1), 1);
        let mut frames = 0;
        loop {
            match next(&mut client).await.unwrap().unwrap() {
                tokio_tungstenite::tungstenite::Message::Close(frame) => {
                    assert_eq!(u16::from(frame.unwrap().code), 1013, "{adapter:?}");
                    break;
                }
                frame => assert_eq!(frame, whole.as_str().into()),
            }
            frames += 1;
        }
        assert!(frames > 1);
    }
}
