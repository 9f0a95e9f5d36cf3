//! What a registry of connections tells about itself. The registry itself is the crate
//! `plimsoll-sockets`; core only asks it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::Serialize;

/// Tells the figures of long-lived connections: WebSockets, Socket.IO, event streams.
///
/// Asked once a second and for each report, on any thread, so it must be cheap and never block.
pub trait SocketSource: Send + Sync + 'static {
    /// The sums; `data.sockets` of the report.
    fn report(&self) -> SocketsReport;
    /// The connections that hold most bytes, largest first, at most `most` of them.
    fn connections(&self, most: usize) -> Vec<SocketFigures>;
    /// The newest events, newest first, at most `most` of them.
    fn recent(&self, most: usize) -> Vec<SocketEvent>;
}

/// Sums over all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SocketsReport {
    /// Connections that are open.
    pub open: u64,
    /// Connections that ended and are being cleaned up after.
    pub closing: u64,
    /// Connections that were removed while something still held them.
    pub lingering: u64,
    /// Connections opened since the start.
    pub opened: u64,
    /// Connections removed since the start.
    pub closed: u64,
    /// Of those, removed at the deadline since they had not ended by themselves.
    pub forced: u64,
    /// Connections refused since the start.
    pub refused: u64,
    /// Bytes held: buffers and queues.
    pub bytes: u64,
    /// Messages in outgoing queues.
    pub queued_messages: u64,
    /// Bytes of those messages.
    pub queued_bytes: u64,
    /// Most connections at a time; `None` without a cap.
    pub cap: Option<u64>,
    /// Age of the oldest open connection in seconds; `None` when none is open.
    pub oldest_seconds: Option<u64>,
    /// Events kept.
    pub events: u64,
    /// Open connections by transport.
    pub transports: SocketTransports,
}

/// Open connections by transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SocketTransports {
    /// Plain WebSockets.
    pub websocket: u64,
    /// Socket.IO over a WebSocket.
    pub socketio: u64,
    /// Socket.IO over long polling.
    pub polling: u64,
    /// Server-Sent Events.
    pub sse: u64,
    /// What is none of these.
    pub other: u64,
}

/// Whether a connection is in use, being cleaned up after, or held by somebody after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SocketState {
    /// In use.
    Open,
    /// It ended, and what it owns is being ended.
    Closing,
    /// It was removed, and something still holds it.
    Lingering,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SocketFigures {
    /// Its number, unique in this process.
    pub id: u64,
    /// Who is at the other end, if known.
    pub peer: Option<String>,
    /// Its transport: `websocket`, `socketio`, `polling`, `sse` or `other`.
    pub transport: &'static str,
    /// Its state.
    pub state: SocketState,
    /// The rooms it is in.
    pub rooms: Vec<String>,
    /// Tasks that it owns and that have not ended.
    pub tasks: u64,
    /// Who still holds it beside its tasks, by name; for a lingering one, the reason.
    pub held_by: Vec<String>,
    /// Messages in its outgoing queue.
    pub queued_messages: u64,
    /// Bytes of those messages.
    pub queued_bytes: u64,
    /// Bytes held: buffers and queues.
    pub bytes: u64,
    /// Seconds since it was opened.
    pub age_seconds: u64,
    /// Seconds since anything was sent or received.
    pub idle_seconds: u64,
}

/// Something that happened to a connection. No payload is ever kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SocketEvent {
    /// When, in milliseconds since 1970.
    pub timestamp: u64,
    /// What, such as `open`, `closing`, `closed`, `forced` or `refused`.
    pub kind: &'static str,
    /// The connection's number; 0 for one that was refused.
    pub connection: u64,
    /// A word for people.
    pub detail: Option<String>,
}

impl SocketFigures {
    /// Starts an open connection with nothing known but its number and transport.
    pub fn new(id: u64, transport: &'static str) -> Self {
        Self {
            id,
            peer: None,
            transport,
            state: SocketState::Open,
            rooms: Vec::new(),
            tasks: 0,
            held_by: Vec::new(),
            queued_messages: 0,
            queued_bytes: 0,
            bytes: 0,
            age_seconds: 0,
            idle_seconds: 0,
        }
    }
}

impl SocketEvent {
    /// Notes that `kind` happened to a connection.
    pub fn new(
        timestamp: u64,
        kind: &'static str,
        connection: u64,
        detail: Option<String>,
    ) -> Self {
        Self { timestamp, kind, connection, detail }
    }
}

/// Where the registry is attached. Held weakly: it holds the `Plimsoll` that it is attached to.
#[derive(Default)]
pub(crate) struct SocketSlot(Mutex<Option<Weak<dyn SocketSource>>>);

impl SocketSlot {
    pub(crate) fn attach(&self, source: &Arc<dyn SocketSource>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(source));
    }

    pub(crate) fn get(&self) -> Option<Arc<dyn SocketSource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    pub(crate) fn report(&self) -> Option<SocketsReport> {
        self.get().map(|source| source.report())
    }
}
