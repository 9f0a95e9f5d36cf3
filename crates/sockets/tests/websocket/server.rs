//! Servers and clients for the tests.

use std::{future::Future, net::SocketAddr, time::Duration};

use axum::{Router, extract::WebSocketUpgrade, routing::get};
use futures_util::StreamExt;
use plimsoll_sockets::{ConnectionMeta, ConnectionRegistry, Session, SocketLimits, Transport};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message},
};

pub(crate) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both adapters: what holds for one must hold for the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Adapter {
    Axum,
    Tungstenite,
}

pub(crate) const BOTH: [Adapter; 2] = [Adapter::Axum, Adapter::Tungstenite];

/// A server on a port of its own, for as long as the test's runtime lives.
pub(crate) async fn serve<H, Fut>(
    adapter: Adapter,
    sockets: &ConnectionRegistry,
    handler: H,
) -> SocketAddr
where
    H: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let sockets = sockets.clone();
    match adapter {
        Adapter::Axum => {
            let upgrade = move |ws: WebSocketUpgrade| {
                let (sockets, handler) = (sockets.clone(), handler.clone());
                async move { plimsoll_sockets::axum::upgrade(&sockets, ws, meta(), handler) }
            };
            let app = Router::new().route("/ws", get(upgrade));
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        Adapter::Tungstenite => {
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let handler = handler.clone();
                    let _ =
                        plimsoll_sockets::tungstenite::accept(&sockets, stream, meta(), handler);
                }
            });
        }
    }
    address
}

fn meta() -> ConnectionMeta {
    ConnectionMeta::new(Transport::WebSocket).peer("test")
}

pub(crate) async fn echo(mut session: Session) {
    while let Some(message) = session.recv().await {
        let _ = session.send(message);
    }
}

/// Takes messages and says nothing.
pub(crate) async fn listen(mut session: Session) {
    while session.recv().await.is_some() {}
}

pub(crate) async fn connect(address: SocketAddr) -> Client {
    connect_async(format!("ws://{address}/ws")).await.expect("it is let in").0
}

/// The next frame that is not a ping or pong; `None` at the end of the stream.
pub(crate) async fn next(client: &mut Client) -> Option<Result<Message, tungstenite::Error>> {
    loop {
        let frame = patient(client.next()).await;
        if !matches!(frame, Some(Ok(Message::Ping(_) | Message::Pong(_)))) {
            return frame;
        }
    }
}

/// The code of the close frame that comes next.
pub(crate) async fn close_code(client: &mut Client) -> u16 {
    match next(client).await {
        Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
        other => panic!("not a close frame: {other:?}"),
    }
}

pub(crate) async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    patient(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Short deadlines, since the clock of these tests runs.
pub(crate) fn quick() -> SocketLimits {
    let mut limits = SocketLimits::chat();
    limits.close_grace = Duration::from_millis(100);
    limits
}

pub(crate) fn registry(limits: SocketLimits) -> ConnectionRegistry {
    ConnectionRegistry::builder()
        .limits(limits)
        .cleanup_timeout(Duration::from_secs(3))
        .build()
        .expect("settings are in range")
}
