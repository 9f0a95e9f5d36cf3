//! Socket.IO over real sockets of this machine: polling, WebSocket, namespaces, rooms.
#![cfg(all(feature = "axum", feature = "socketioxide", feature = "tungstenite"))]

mod client;
mod sessions;

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use plimsoll_sockets::{
    ConnectionRegistry, ConnectionRegistryBuilder, SocketAdmissionLayer, SocketLimits, socketio,
};
use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};
use tokio::net::TcpListener;

/// A chat: what is said in a room is told to everybody in there.
async fn serve(builder: ConnectionRegistryBuilder) -> (ConnectionRegistry, SocketAddr) {
    serve_pinging(builder, Duration::from_millis(300), Duration::from_millis(200)).await
}

/// The same with other times between two pings and until their answer.
async fn serve_pinging(
    builder: ConnectionRegistryBuilder,
    ping_interval: Duration,
    pong_deadline: Duration,
) -> (ConnectionRegistry, SocketAddr) {
    let mut limits = SocketLimits::chat();
    limits.close_grace = Duration::from_millis(100);
    limits.ping_interval = ping_interval;
    limits.pong_deadline = pong_deadline;
    let sockets = builder
        .limits(limits)
        .cleanup_timeout(Duration::from_secs(1))
        .build()
        .expect("settings are in range");
    let (layer, io) = socketio::configured(SocketIo::builder(), sockets.limits()).build_layer();
    for namespace in ["/", "/admin"] {
        let registry = sockets.clone();
        io.ns(namespace, async move |socket: SocketRef| {
            let Ok(connection) = socketio::track(&registry, &socket) else { return };
            let room = socket.ns().to_owned();
            let _ = connection.join(&room);
            if socket.ns() == "/admin" {
                let _ = connection.spawn("hangs", std::future::pending());
            }
            socket.on("say", async move |Data(text): Data<String>| {
                connection.touch();
                let said = socketio::event("said", &text).expect("a string");
                registry.broadcast(&room, said);
            });
        });
    }
    let admission = SocketAdmissionLayer::new(&sockets, "/socket.io")
        .peer_by(|head| Some(head.headers.get("x-user")?.to_str().ok()?.to_owned()));
    let app = Router::new().layer(layer).layer(admission);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (sockets, address)
}
