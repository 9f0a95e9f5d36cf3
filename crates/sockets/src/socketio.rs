//! Socket.IO by socketioxide: every socket of every namespace is a connection.
//!
//! ```
//! use plimsoll_sockets::{ConnectionRegistry, SocketAdmissionLayer, socketio};
//! use socketioxide::{SocketIo, extract::{Data, SocketRef}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sockets = ConnectionRegistry::builder().max_connections(50_000).build()?;
//! let (layer, io) = socketio::configured(SocketIo::builder(), sockets.limits()).build_layer();
//! let registry = sockets.clone();
//! io.ns("/", async move |socket: SocketRef| {
//!     let Ok(connection) = socketio::track(&registry, &socket) else { return };
//!     let _ = connection.join("lobby");
//!     socket.on("say", async move |Data(text): Data<String>| {
//!         connection.touch();
//!         if let Ok(said) = socketio::event("said", &text) {
//!             registry.broadcast("lobby", said);
//!         }
//!     });
//! });
//! // Outside of the Socket.IO layer: `Router::layer(layer).layer(admission)`.
//! let admission = SocketAdmissionLayer::new(&sockets, "/socket.io");
//! # drop((layer, admission));
//! # Ok(())
//! # }
//! ```

use std::{
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Serialize, Serializer};
use serde_json::Value;
use socketioxide::{
    SendError as IoError, SocketError, SocketIoBuilder, TransportType, adapter::Adapter,
    extract::SocketRef, socket::DisconnectReason,
};

use crate::{
    admission::Handshake,
    cause::CloseCause,
    connection::{Connection, WeakConnection, next_queued},
    entry::Entry,
    limits::SocketLimits,
    message::Message,
    meta::{ConnectionMeta, Transport},
    refused::Refused,
    registry::ConnectionRegistry,
};

/// Packets that Socket.IO buffers by itself: the queue of the connection is the one that
/// counts, so this only has to keep the transport busy.
const PACKETS_BUFFERED: usize = 16;
/// A full buffer is tried again after so long, twice as long each time ...
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// ... up to this.
const LAST_RETRY: Duration = Duration::from_millis(320);
/// A client that polls changes to a WebSocket soon or never: looked for after so long, and then
/// twice as long each time ...
const TRANSPORT_LOOK: Duration = Duration::from_millis(500);
/// ... so many times, a minute in all.
const TRANSPORT_LOOKS: u32 = 7;
/// The event of a message that names none.
const DEFAULT_EVENT: &str = "message";

/// Sets buffers, largest sizes and pings by the limits.
pub fn configured<A: Adapter>(
    builder: SocketIoBuilder<A>,
    limits: &SocketLimits,
) -> SocketIoBuilder<A> {
    builder
        .max_buffer_size(PACKETS_BUFFERED)
        .max_payload(limits.max_message_bytes as u64)
        .ws_read_buffer_size(limits.read_buffer_bytes)
        .ws_max_message_size(limits.max_message_bytes)
        .ws_max_frame_size(limits.max_frame_bytes)
        .ping_interval(limits.ping_interval)
        .ping_timeout(limits.pong_deadline)
}

/// A message that emits an event. It goes through queues and rooms as any other; a plain
/// WebSocket in the same room gets the JSON text `["event", data]`.
///
/// # Errors
/// When `data` cannot be written as JSON.
pub fn event<T: Serialize + ?Sized>(name: &str, data: &T) -> Result<Message, serde_json::Error> {
    serde_json::to_string(&(name, data)).map(Message::text)
}

/// Opens a connection for a socket; to be called in the connect handler of a namespace. It
/// takes the place that [`SocketAdmissionLayer`](crate::SocketAdmissionLayer) kept, or asks for
/// one.
///
/// What is sent to the connection is emitted: messages of [`event`] under their name, others as
/// `message`. It waits in the bounded queue of the connection, charged, while the buffer of
/// Socket.IO is full. When the connection closes, the socket is disconnected; when the socket is
/// disconnected, the connection closes.
///
/// The disconnect handler of the socket is taken: use [`WeakConnection::on_disconnect`] for one's
/// own. Setting another afterwards closes the connection, since nobody would notice its end.
///
/// # Errors
/// [`Refused`] when there is no room; the socket is disconnected then.
#[track_caller]
pub fn track<A: Adapter>(
    registry: &ConnectionRegistry,
    socket: &SocketRef<A>,
) -> Result<WeakConnection, Refused> {
    let at = Location::caller();
    let connection = connect(registry, socket).inspect_err(|_| {
        let _ = socket.clone().disconnect();
    })?;
    let weak = connection.downgrade();
    let entry = Arc::clone(connection.entry());
    // The guard is in the handler: it goes with the socket, however that ends.
    let guard = Guard(Arc::new(Mutex::new(Some(connection))));
    let handlers = guard.clone();
    socket.on_disconnect(async move |reason: DisconnectReason| {
        if let Some(connection) = handlers.take() {
            connection.ended(cause(reason));
        }
    });
    let pump = pump(Arc::clone(&entry), socket.clone(), guard);
    if !socket.connected() || entry.spawn("transport", at, true, pump).is_err() {
        // It was disconnected before its handler was set, or the registry shuts down.
        entry.begin_close(CloseCause::Lost);
        let _ = socket.clone().disconnect();
    }
    Ok(weak)
}

/// The guard of a connection, for whoever is the first to know that it has ended.
#[derive(Clone)]
struct Guard(Arc<Mutex<Option<Connection>>>);

impl Guard {
    fn take(&self) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[track_caller]
fn connect<A: Adapter>(
    registry: &ConnectionRegistry,
    socket: &SocketRef<A>,
) -> Result<Connection, Refused> {
    let handshake = socket.req_parts().extensions.get::<Handshake>();
    let mut meta =
        handshake.map_or_else(ConnectionMeta::default, |handshake| handshake.meta().clone());
    meta.transport = transport(socket);
    match handshake.and_then(Handshake::take) {
        Some(admitted) => admitted.connect(meta),
        None => registry.connect(meta),
    }
}

fn transport<A: Adapter>(socket: &SocketRef<A>) -> Transport {
    match socket.transport_type() {
        TransportType::Websocket => Transport::SocketIo,
        TransportType::Polling => Transport::Polling,
    }
}

fn cause(reason: DisconnectReason) -> CloseCause {
    match reason {
        DisconnectReason::TransportClose | DisconnectReason::ClientNSDisconnect => {
            CloseCause::PeerClosed
        }
        DisconnectReason::MultipleHttpPollingError | DisconnectReason::PacketParsingError => {
            CloseCause::Protocol
        }
        DisconnectReason::HeartbeatTimeout => CloseCause::PingTimeout,
        DisconnectReason::ClosingServer => CloseCause::Shutdown,
        DisconnectReason::TransportError => CloseCause::Lost,
        DisconnectReason::ServerNSDisconnect => CloseCause::Finished,
    }
}

/// Emits what is queued until the connection closes, then disconnects the socket.
async fn pump<A: Adapter>(entry: Arc<Entry>, socket: SocketRef<A>, guard: Guard) {
    let emit = async {
        while let Some(message) = next_queued(&entry).await {
            if emit(&socket, &message).await.is_err() {
                break;
            }
            entry.touch();
        }
    };
    tokio::select! {
        () = emit => {}
        () = watch_transport(&entry, &socket) => {}
        // What is flushed at the end has that long.
        () = async {
            entry.closing().await;
            tokio::time::sleep(entry.inner.limits.close_grace.min(entry.inner.cleanup_timeout / 2)).await;
        } => {}
    }
    if socket.connected() && socket.disconnect().is_err() {
        // The buffer is full since the client does not read, so it cannot even be told; its pings
        // end the session. What the connection owns need not wait for that.
        drop(guard.take());
    }
}

/// Notes the change from polling to a WebSocket, which socketioxide tells nobody of; never ends.
async fn watch_transport<A: Adapter>(entry: &Entry, socket: &SocketRef<A>) {
    for look in 0..TRANSPORT_LOOKS {
        if entry.transport() != Transport::Polling {
            break;
        }
        tokio::time::sleep(TRANSPORT_LOOK * 2_u32.pow(look)).await;
        entry.set_transport(transport(socket));
    }
    std::future::pending().await
}

/// Emits one message. While the buffer is full it tries again, ever more rarely: socketioxide tells
/// nobody when there is room.
async fn emit<A: Adapter>(socket: &SocketRef<A>, message: &Message) -> Result<(), ()> {
    let parsed = message.as_text().map(|text| {
        let named = serde_json::from_str::<(String, Value)>(text);
        named.unwrap_or_else(|_| (DEFAULT_EVENT.to_owned(), Value::from(text)))
    });
    let mut wait = FIRST_RETRY;
    loop {
        let emitted = match &parsed {
            Some((name, data)) => socket.emit(name, data),
            None => socket.emit(DEFAULT_EVENT, &Binary(message.payload())),
        };
        match emitted {
            Ok(()) => return Ok(()),
            Err(IoError::Socket(SocketError::InternalChannelFull)) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LAST_RETRY);
            }
            Err(IoError::Socket(SocketError::Closed)) => return Err(()),
            Err(error) => {
                tracing::debug!(%error, "a message could not be emitted");
                return Ok(());
            }
        }
    }
}

/// Bytes as Socket.IO sends them: an attachment, not an array of numbers.
struct Binary<'a>(&'a [u8]);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
