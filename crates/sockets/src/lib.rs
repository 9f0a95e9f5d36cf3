//! Connections that leave nothing behind.
//!
//! A server's memory is lost to sockets in many small ways: a task that goes on after its client
//! has left, a queue that nobody reads, a listener that was never removed, a buffer of 128 KiB
//! for a chat of ten words. Here everything that a connection owns hangs on one guard, and is
//! gone a fixed time after a detected disconnect, by force and by name if need be.
//!
//! ```
//! use plimsoll_sockets::{ConnectionMeta, ConnectionRegistry, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sockets = ConnectionRegistry::builder().max_connections(50_000).build()?;
//!
//! let connection = sockets.connect(ConnectionMeta::new(Transport::WebSocket).peer("10.0.0.7"))?;
//! connection.join("lobby")?;
//! connection.on_disconnect("say goodbye", || async { /* tell the others */ })?;
//! assert_eq!(sockets.broadcast("lobby", "hello").queued, 1);
//!
//! drop(connection); // the closing begins: hooks run, rooms are left, the queue is dropped
//! sockets.empty().await;
//! assert_eq!(sockets.report().forced, 0);
//! # Ok(())
//! # }
//! ```
//!
//! **What it protects:** the process, from connections: their tasks, hooks, queues, rooms and
//! buffers, which count in the ledger of [`Plimsoll`](plimsoll_core::Plimsoll) also after the
//! upgrade, where no layer sees them any more.
//!
//! **What it cannot see:** what a handler keeps in memory of its own, unless it is told with
//! [`Connection::charge`]; and a task that blocks its thread, which it names but cannot end.
//!
//! # How a connection ends
//! Whatever the cause, there is one deadline, 15 s from when the end was detected (see
//! [`ConnectionRegistryBuilder::cleanup_timeout`]):
//!
//! 1. It takes no more messages, rooms, hooks and tasks. It leaves its rooms; its queue is
//!    dropped, or flushed where the peer is still there to read it.
//! 2. The peer is told with a close frame. All hooks run at the same time, each in a task of its
//!    own. [`Connection::closing`] resolves in every task.
//! 3. When the last task has ended it is removed. At the deadline what has not ended is aborted,
//!    the connection is removed and counted as `forced`, and the log names the tasks and where
//!    they were spawned. A hook whose turn comes only then still runs to its first await.
//! 4. What still holds it after that, a task that blocks its thread or a kept [`Hold`], is
//!    named as `lingering` for as long as that is so.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `axum` | no | `axum::upgrade`: WebSockets of axum |
//! | `tungstenite` | no | `tungstenite::accept`: WebSockets of tokio-tungstenite |
//! | `socketioxide` | no | `socketio::track`: Socket.IO, over polling and WebSockets, in all namespaces |
//!
//! The minimum supported Rust version is the workspace's `rust-version`; with the feature
//! `socketioxide` it is that crate's, 1.94.
#![forbid(unsafe_code)]

mod admission;
#[cfg(feature = "axum")]
pub mod axum;
mod builder;
mod cause;
mod closing;
mod connection;
mod entry;
mod hook;
mod inner;
mod limits;
mod message;
mod meta;
mod outbox;
mod pruners;
mod refused;
mod registry;
mod report;
mod rooms;
mod slots;
#[cfg(feature = "socketioxide")]
pub mod socketio;
mod sse;
mod task;
#[cfg(feature = "tungstenite")]
pub mod tungstenite;
mod wave;
#[cfg(any(feature = "axum", feature = "tungstenite"))]
mod wire;

#[cfg(any(feature = "axum", feature = "tungstenite"))]
pub use self::wire::Session;
pub use self::{
    admission::{AdmissionBody, AdmissionFuture, Handshake, SocketAdmission, SocketAdmissionLayer},
    builder::{BuildError, ConnectionRegistryBuilder},
    cause::CloseCause,
    connection::{Connection, HeldBytes, Hold, WeakConnection},
    entry::Closed,
    limits::{QueuePolicy, SocketLimits},
    message::Message,
    meta::{ConnectionMeta, Transport},
    outbox::{SendError, Sent},
    pruners::{CloseIdle, CloseLargest},
    refused::Refused,
    registry::{Admitted, Broadcast, ConnectionRegistry, ShutdownReport},
    sse::ConnectionBody,
};
