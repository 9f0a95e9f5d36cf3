//! WebSockets of axum.
//!
//! ```no_run
//! use axum::{Router, extract::{State, WebSocketUpgrade}, response::Response, routing::get};
//! use plimsoll_sockets::{ConnectionMeta, ConnectionRegistry, Transport};
//!
//! async fn chat(State(sockets): State<ConnectionRegistry>, ws: WebSocketUpgrade) -> Response {
//!     let meta = ConnectionMeta::new(Transport::WebSocket);
//!     plimsoll_sockets::axum::upgrade(&sockets, ws, meta, |mut session| async move {
//!         while let Some(message) = session.recv().await {
//!             if session.send(message).is_err() {
//!                 break;
//!             }
//!         }
//!     })
//! }
//!
//! # fn app(sockets: ConnectionRegistry) -> Router {
//! Router::new().route("/ws", get(chat)).with_state(sockets)
//! # }
//! ```

use std::{future::Future, panic::Location};

use ::axum::{
    Error,
    body::Body,
    extract::ws::{
        CloseFrame, Message as AxumMessage, OnFailedUpgrade, Utf8Bytes, WebSocketUpgrade,
    },
    response::Response,
};
use bytes::Bytes;
use tokio_tungstenite::tungstenite;

use crate::{
    cause::CloseCause,
    limits::SocketLimits,
    message::Message,
    meta::ConnectionMeta,
    registry::ConnectionRegistry,
    wire::{self, Failure, Frame, Incoming, Session},
};

/// Answers a request for a WebSocket: with the upgrade, after which `handler` runs in a task that
/// the connection owns, or with 503 when there is no room for another connection.
///
/// Buffers and largest sizes are those of the registry; callbacks and protocols that were set
/// on `upgrade` stay.
#[track_caller]
pub fn upgrade<C, H, Fut>(
    registry: &ConnectionRegistry,
    upgrade: WebSocketUpgrade<C>,
    meta: ConnectionMeta,
    handler: H,
) -> Response
where
    C: OnFailedUpgrade,
    H: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let at = Location::caller();
    let connection = match registry.connect(meta) {
        Ok(connection) => connection,
        Err(refused) => return refused.response().map(Body::from),
    };
    // If the upgrade fails the guard is dropped with this closure.
    configured(upgrade, registry.limits()).on_upgrade(move |socket| async move {
        if wire::start(connection, socket, at, handler).is_err() {
            tracing::debug!("a connection was closed before its upgrade was done");
        }
    })
}

/// Sets buffers and largest sizes, for a program that upgrades by itself.
pub fn configured<C>(upgrade: WebSocketUpgrade<C>, limits: &SocketLimits) -> WebSocketUpgrade<C> {
    upgrade
        .read_buffer_size(limits.read_buffer_bytes)
        .write_buffer_size(limits.write_buffer_bytes)
        .max_write_buffer_size(limits.max_write_buffer_bytes)
        .max_message_size(limits.max_message_bytes)
        .max_frame_size(limits.max_frame_bytes)
}

impl Frame for AxumMessage {
    fn decode(self) -> Incoming {
        match self {
            Self::Text(text) => Incoming::Message(Message::checked_text(text.into())),
            Self::Binary(payload) => Incoming::Message(Message::binary(payload)),
            Self::Ping(_) | Self::Pong(_) => Incoming::Control,
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
        Self::Close(Some(CloseFrame { code, reason: reason.into() }))
    }
}

impl Failure for Error {
    fn cause(&self) -> CloseCause {
        let source = std::error::Error::source(self);
        let inner = source.and_then(|error| error.downcast_ref::<tungstenite::Error>());
        inner.map_or(CloseCause::Lost, Failure::cause)
    }
}
