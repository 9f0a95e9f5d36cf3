use std::time::Duration;

use plimsoll_sockets::{CloseCause, ConnectionRegistry, socketio};

use crate::{
    client::{Polling, Socket, has_ping, patient, request, until},
    serve, serve_pinging,
};

fn closing(sockets: &ConnectionRegistry) -> Option<String> {
    let event = sockets.events(100).into_iter().find(|event| event.kind == "closing");
    event.and_then(|event| event.detail)
}

#[tokio::test]
async fn a_room_is_heard_over_both_transports() {
    let (sockets, address) = serve(ConnectionRegistry::builder()).await;
    let polling = Polling::connect(address, "ann").await.unwrap();
    let mut socket = Socket::connect(address, "").await;
    until(|| sockets.report().open == 2).await;
    let transports = sockets.report().transports;
    assert_eq!((transports.polling, transports.socketio), (1, 1));
    polling.send(r#"42["say","grüße"]"#).await;
    assert_eq!(socket.next().await, r#"42["said","grüße"]"#);
    assert!(polling.poll().await.contains(r#"42["said","grüße"]"#));
    assert_eq!(sockets.report().queued_messages, 0);
}

#[tokio::test]
async fn each_namespace_is_a_connection_and_its_leaving_ends_that_one() {
    let (sockets, address) = serve(ConnectionRegistry::builder()).await;
    let mut socket = Socket::connect(address, "").await;
    socket.send("40/admin,").await;
    assert!(socket.next().await.starts_with("40/admin,"));
    until(|| sockets.report().open == 2).await;
    let mut rooms = sockets.rooms();
    rooms.sort();
    assert_eq!(rooms, [("/".to_owned(), 1), ("/admin".to_owned(), 1)]);
    socket.send("41/admin,").await;
    until(|| sockets.report().open == 1).await;
    // Its handler hangs, so it goes at the deadline; the other connection stays.
    socket.stays_until(|| sockets.report().forced == 1).await;
    assert_eq!(sockets.report().open, 1);
    drop(socket);
    patient(sockets.empty()).await;
    assert_eq!(sockets.report().forced, 1);
}

#[tokio::test]
async fn a_cut_and_a_silent_client_are_noticed() {
    let (sockets, address) = serve(ConnectionRegistry::builder()).await;
    drop(Socket::connect(address, "").await);
    patient(sockets.empty()).await;
    assert_eq!(sockets.report().closed, 1);
    // Joined, and never polls again.
    let _abandoned = Polling::connect(address, "ann").await.unwrap();
    until(|| sockets.report().closed == 2).await;
    assert_eq!(closing(&sockets).as_deref(), Some("ping timeout"));
    assert_eq!(sockets.report().forced, 0);
}

#[tokio::test]
async fn one_that_polls_no_more_and_overflows_is_gone_before_its_pings_end_it() {
    // The first ping comes at once.
    let never = Duration::from_secs(600);
    let (sockets, address) = serve_pinging(ConnectionRegistry::builder(), never, never).await;
    let _abandoned = Polling::connect(address, "ann").await.unwrap();
    until(|| sockets.report().open == 1).await;
    // The transport's buffer first, then the queue, which nobody empties any more.
    let said = socketio::event("said", &"hello").unwrap();
    until(|| sockets.broadcast("/", said.clone()).queued == 0).await;
    patient(sockets.empty()).await;
    assert_eq!((sockets.report().forced, sockets.report().lingering), (0, 0));
}

#[tokio::test]
async fn a_connection_that_is_closed_disconnects_its_socket() {
    let (sockets, address) = serve(ConnectionRegistry::builder()).await;
    let mut socket = Socket::connect(address, "").await;
    until(|| sockets.report().open == 1).await;
    let id = sockets.connections()[0].id();
    assert!(sockets.close(id, CloseCause::Idle));
    // A disconnect packet of the namespace.
    assert_eq!(socket.next().await, "41");
    patient(sockets.empty()).await;
    assert_eq!(sockets.report().forced, 0);
}

#[tokio::test]
async fn a_full_server_refuses_the_handshake_and_never_a_poll() {
    let (sockets, address) = serve(ConnectionRegistry::builder().max_connections(1)).await;
    let live = Polling::connect(address, "ann").await.unwrap();
    until(|| sockets.report().open == 1).await;
    let (status, head, body) = request(address, "GET", "transport=polling", "bob", "").await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: 5") && body.contains("\"success\":false"), "{head}");
    // The session that exists goes on: it sends, and it polls.
    live.send(r#"42["say","still here"]"#).await;
    assert!(live.poll().await.contains("still here"));
    assert_eq!(sockets.report().refused, 1);
}

#[tokio::test]
async fn handshakes_count_before_they_are_connections_and_abandoned_ones_come_back() {
    let (sockets, address) = serve(ConnectionRegistry::builder().max_per_peer(2)).await;
    let _first = Polling::handshake(address, "ann").await.unwrap();
    let second = Polling::handshake(address, "ann").await.unwrap();
    assert_eq!(Polling::handshake(address, "ann").await.err(), Some(503));
    assert!(Polling::handshake(address, "bob").await.is_ok());
    assert_eq!(sockets.report().open, 0);
    // Of a handshake one connection is made, in the place that was kept for it.
    second.send("40").await;
    until(|| sockets.report().open == 1).await;
    // The engine drops those who do not poll.
    patient(async {
        while Polling::handshake(address, "ann").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn garbage_in_a_session_ends_it_and_leaves_nothing() {
    let (sockets, address) = serve(ConnectionRegistry::builder()).await;
    let mut socket = Socket::connect(address, "").await;
    until(|| sockets.report().open == 1).await;
    socket.send("\u{1}\u{2}garbage").await;
    assert_eq!(socket.next().await, "");
    patient(sockets.empty()).await;
    let report = sockets.report();
    assert_eq!((report.closed, report.forced), (1, 0));
    // An unknown session is refused by the engine, not by the admission.
    let (status, ..) = request(address, "GET", "transport=polling&sid=nope", "", "").await;
    assert_eq!((status, sockets.report().refused), (400, 0));
}

#[tokio::test]
async fn a_session_changes_from_polling_to_a_websocket_without_being_asked_again() {
    let (sockets, address) = serve(ConnectionRegistry::builder().max_connections(1)).await;
    let polling = Polling::connect(address, "ann").await.unwrap();
    let mut socket = Socket::open(address, &format!("&sid={}", polling.sid())).await;
    socket.send("2probe").await;
    assert_eq!(socket.next().await, "3probe");
    let last_poll = polling.try_poll().await;
    assert_eq!(last_poll.0, 200);
    socket.send("5").await;
    if has_ping(&last_poll.1) {
        socket.send("3").await;
    }
    socket.send(r#"42["say","over the socket"]"#).await;
    assert!(socket.next().await.contains("over the socket"));
    assert_eq!((sockets.report().opened, sockets.report().refused), (1, 0));
    socket.stays_until(|| sockets.report().transports.socketio == 1).await;
    assert_eq!(sockets.report().transports.polling, 0);
}
