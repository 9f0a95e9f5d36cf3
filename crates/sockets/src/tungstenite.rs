//! WebSockets of tokio-tungstenite.
//!
//! ```no_run
//! use plimsoll_sockets::{ConnectionMeta, ConnectionRegistry, Transport};
//! use tokio::net::TcpListener;
//!
//! # async fn serve(sockets: ConnectionRegistry) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:9001").await?;
//! loop {
//!     let (stream, peer) = listener.accept().await?;
//!     let meta = ConnectionMeta::new(Transport::WebSocket).peer(peer.ip().to_string());
//!     // The handshake is a task of the connection as well; a refused one is dropped here.
//!     let _ = plimsoll_sockets::tungstenite::accept(&sockets, stream, meta, |mut session| async move {
//!         while let Some(message) = session.recv().await {
//!             let _ = session.send(message);
//!         }
//!     });
//! }
//! # }
//! ```

use std::{future::Future, panic::Location, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message as TungsteniteMessage, Utf8Bytes,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use crate::{
    cause::CloseCause,
    limits::SocketLimits,
    message::Message,
    meta::ConnectionMeta,
    refused::Refused,
    registry::ConnectionRegistry,
    wire::{self, Frame, Incoming, Session},
};

/// A handshake that takes longer is a client that only holds the place.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Opens a connection for a stream, shakes hands within 10 s, and runs `handler`, all in tasks
/// that the connection owns. Returns at once.
///
/// # Errors
/// [`Refused`] when there is no room; the stream is dropped without an answer then.
#[track_caller]
pub fn accept<S, H, Fut>(
    registry: &ConnectionRegistry,
    stream: S,
    meta: ConnectionMeta,
    handler: H,
) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let at = Location::caller();
    let connection = registry.connect(meta)?;
    let config = config(registry.limits());
    let entry = Arc::clone(connection.entry());
    let handshake = async move {
        let accepted = tokio::select! {
            () = connection.closing() => return,
            accepted = tokio::time::timeout(
                HANDSHAKE_DEADLINE,
                tokio_tungstenite::accept_async_with_config(stream, Some(config)),
            ) => accepted,
        };
        match accepted {
            Ok(Ok(socket)) => drop(wire::start(connection, socket, at, handler)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake failed");
                connection.ended(CloseCause::Protocol);
            }
            Err(_) => connection.ended(CloseCause::PingTimeout),
        }
    };
    // The connection was made a moment ago; only a shutdown can have closed it.
    entry.spawn("handshake", at, false, handshake).map_err(|_| Refused::ShuttingDown)
}

/// Runs `handler` on a WebSocket that was accepted by other means, in tasks that the connection
/// owns. Returns at once.
///
/// # Errors
/// [`Refused`] when there is no room; the socket is dropped then.
#[track_caller]
pub fn serve<S, H, Fut>(
    registry: &ConnectionRegistry,
    socket: WebSocketStream<S>,
    meta: ConnectionMeta,
    handler: H,
) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let connection = registry.connect(meta)?;
    wire::start(connection, socket, Location::caller(), handler).map_err(|_| Refused::ShuttingDown)
}

/// The configuration that goes with the limits.
pub fn config(limits: &SocketLimits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer_bytes)
        .write_buffer_size(limits.write_buffer_bytes)
        .max_write_buffer_size(limits.max_write_buffer_bytes)
        .max_message_size(Some(limits.max_message_bytes))
        .max_frame_size(Some(limits.max_frame_bytes))
}

impl Frame for TungsteniteMessage {
    fn decode(self) -> Incoming {
        match self {
            Self::Text(text) => Incoming::Message(Message::checked_text(text.into())),
            Self::Binary(payload) => Incoming::Message(Message::binary(payload)),
            Self::Ping(_) | Self::Pong(_) | Self::Frame(_) => Incoming::Control,
            Self::Close(_) => Incoming::Close,
        }
    }

    fn encode(message: Message) -> Self {
        if !message.is_text() {
            return Self::Binary(message.into_payload());
        }
        let payload = message.into_payload();
        // Text is made from strings only, so this never fails.
        Utf8Bytes::try_from(payload).map_or_else(|_| Self::Binary(Bytes::new()), Self::Text)
    }

    fn ping(payload: Bytes) -> Self {
        Self::Ping(payload)
    }

    fn close(code: u16, reason: &str) -> Self {
        Self::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
    }
}
