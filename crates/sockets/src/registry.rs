//! The registry: opens connections, knows them, ends them.

use std::{
    fmt,
    panic::Location,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use plimsoll_core::{SocketEvent, SocketSource, SocketsReport, Surcharge};
use tokio::time::{Instant, timeout};

use crate::{
    builder::ConnectionRegistryBuilder,
    cause::CloseCause,
    connection::{Connection, WeakConnection},
    entry::Entry,
    inner::Inner,
    limits::SocketLimits,
    message::Message,
    meta::ConnectionMeta,
    outbox::{Charge, Sent},
    refused::Refused,
    slots::Slot,
};

/// Knows every connection and sees to it that each one ends with everything it owns. Cheap to
/// clone; clones are the same registry. Dropping all of them closes nothing: what is open goes
/// on until [`ConnectionRegistry::shutdown`] or by itself.
#[derive(Clone)]
pub struct ConnectionRegistry {
    inner: Arc<Inner>,
}

/// A place that is kept for a connection until it is made; dropping it gives the place back.
///
/// For handshakes that take more than one request: admission is asked before the first.
#[must_use = "the place is given back when this is dropped"]
pub struct Admitted {
    inner: Arc<Inner>,
    slot: Slot,
    surcharge: Option<Surcharge>,
}

/// What became of a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broadcast {
    /// Connections that will send it.
    pub queued: usize,
    /// Connections whose full queue dropped it.
    pub dropped: usize,
    /// Connections that could not take it: closing, too slow, or the message is too large.
    pub failed: usize,
}

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that were there when it began.
    pub connections: usize,
    /// Of those, removed at the deadline.
    pub forced: usize,
    /// What is still held, by name.
    pub lingering: Vec<String>,
}

impl ConnectionRegistry {
    /// Starts with the defaults.
    pub fn builder() -> ConnectionRegistryBuilder {
        ConnectionRegistryBuilder::new()
    }

    /// Tells Plimsoll of the registry, if there is one.
    pub(crate) fn attached(inner: Arc<Inner>) -> Self {
        if let Some(plimsoll) = &inner.plimsoll {
            let source: Arc<dyn SocketSource> = Arc::clone(&inner) as _;
            plimsoll.attach_sockets(&source);
            let events = plimsoll.registry().register("socket_events", inner.events.clone());
            *inner.registration.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Some(events);
        }
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Keeps a place for a connection of `meta`'s peer: under the caps and, where memory is
    /// counted, under its load line.
    ///
    /// # Errors
    /// [`Refused`], of which [`Refused::response`] makes the answer.
    pub fn admit(&self, meta: &ConnectionMeta) -> Result<Admitted, Refused> {
        admit(&self.inner, meta).inspect_err(|refused| {
            self.inner.counts.refused.fetch_add(1, Relaxed);
            let peer = meta.peer.as_deref().unwrap_or("unknown peer");
            self.inner.note_event("refused", 0, Some(format!("{peer}: {}", refused.as_str())));
        })
    }

    /// Opens a connection. What it is refused for, it is refused for before anything is
    /// allocated for it.
    ///
    /// # Errors
    /// As [`ConnectionRegistry::admit`].
    #[track_caller]
    pub fn connect(&self, meta: ConnectionMeta) -> Result<Connection, Refused> {
        self.admit(&meta)?.connect(meta)
    }

    /// Finds an open or closing connection.
    pub fn find(&self, id: u64) -> Option<WeakConnection> {
        self.inner.find(id).map(|entry| WeakConnection::of(&entry))
    }

    /// All connections that are open or closing, in no order.
    pub fn connections(&self) -> Vec<WeakConnection> {
        self.inner.live().iter().map(WeakConnection::of).collect()
    }

    /// Begins to close a connection; `false` when it had begun or there is none of this number.
    pub fn close(&self, id: u64, cause: CloseCause) -> bool {
        self.inner.find(id).is_some_and(|entry| entry.begin_close(cause))
    }

    /// Queues a message for everybody in a room. The payload is in memory once.
    pub fn broadcast(&self, room: &str, message: impl Into<Message>) -> Broadcast {
        self.send_all(self.inner.rooms.members(room), message.into())
    }

    /// Queues a message for everybody.
    pub fn broadcast_all(&self, message: impl Into<Message>) -> Broadcast {
        self.send_all(self.inner.live(), message.into())
    }

    fn send_all(&self, entries: Vec<Arc<Entry>>, message: Message) -> Broadcast {
        let charge = Charge::of(self.inner.admission, &message);
        let mut sum = Broadcast::default();
        for entry in entries {
            match entry.send_charged(message.clone(), charge.clone()) {
                Ok(Sent::Queued | Sent::Displaced(_)) => sum.queued += 1,
                Ok(Sent::Dropped) => sum.dropped += 1,
                Err(_) => sum.failed += 1,
            }
        }
        sum
    }

    /// The rooms with their numbers of members, in no order.
    pub fn rooms(&self) -> Vec<(String, usize)> {
        self.inner.rooms.sizes()
    }

    /// The figures, as the report shows them.
    pub fn report(&self) -> SocketsReport {
        SocketSource::report(&*self.inner)
    }

    /// The newest events, newest first; 1000 are kept. No payload is among them.
    pub fn events(&self, most: usize) -> Vec<SocketEvent> {
        self.inner.events.snapshot(most)
    }

    /// The limits of each connection.
    pub fn limits(&self) -> &SocketLimits {
        &self.inner.limits
    }

    /// The time from a detected disconnect to forced removal.
    pub fn cleanup_timeout(&self) -> Duration {
        self.inner.cleanup_timeout
    }

    /// Whether [`ConnectionRegistry::shutdown`] was called.
    pub fn is_shutting_down(&self) -> bool {
        self.inner.table().shut
    }

    /// Waits until no connection is open or closing.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn empty(&self) {
        self.gone_until(|inner| inner.table().live.is_empty()).await;
    }

    async fn without_lingering(&self) {
        self.gone_until(|inner| inner.table().lingering.is_empty()).await;
    }

    /// Looks again each time that a connection has gone.
    async fn gone_until(&self, done: impl Fn(&Inner) -> bool) {
        loop {
            let mut gone = std::pin::pin!(self.inner.gone.notified());
            gone.as_mut().enable();
            if done(&self.inner) {
                return;
            }
            gone.await;
        }
    }

    /// Refuses new connections, closes all with 1001 (going away) and waits for their end; what
    /// is left at the deadline is removed. To be called before the server and Plimsoll are shut
    /// down: a server's own shutdown knows nothing of sockets. The deadline of each connection's own cleanup stays in
    /// force beside it. Further calls wait as well.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connections closing, each within its own deadline.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let began = Instant::now();
        // Under the lock that opens take: no connection slips in behind it.
        let entries: Vec<_> = {
            let mut table = self.inner.table();
            table.shut = true;
            table.live.values().map(Arc::clone).collect()
        };
        let forced = self.inner.counts.forced.load(Relaxed);
        for entry in &entries {
            entry.begin_close(CloseCause::Shutdown);
        }
        let connections = entries.len();
        // Held here they would linger.
        drop(entries);
        if timeout(deadline.saturating_sub(began.elapsed()), self.empty()).await.is_err() {
            for entry in self.inner.live() {
                entry.finish();
            }
        }
        // Aborted tasks end when they are polled next.
        let _ = timeout(ABORT_PATIENCE, self.without_lingering()).await;
        self.inner.abort_wave();
        let lingering: Vec<_> = self.inner.table().lingering.values().map(Arc::clone).collect();
        ShutdownReport {
            connections,
            forced: usize::try_from(self.inner.counts.forced.load(Relaxed) - forced)
                .unwrap_or(usize::MAX),
            lingering: lingering.iter().flat_map(|entry| entry.holders()).collect(),
        }
    }
}

/// An aborted task is waited for so long; one that has not ended by then blocks its thread.
const ABORT_PATIENCE: Duration = Duration::from_millis(200);

fn admit(inner: &Arc<Inner>, meta: &ConnectionMeta) -> Result<Admitted, Refused> {
    if inner.table().shut {
        return Err(Refused::ShuttingDown);
    }
    let slot = inner.slots.take(meta.peer.as_ref())?;
    let mut charged = None;
    if let Some(admission) = inner.admission {
        let surcharge = admission.surcharge(None).apart();
        let bytes = inner.limits.resting_bytes();
        match inner.priority {
            Some(priority) => {
                surcharge.grow(bytes, 0, Some(priority), false).map_err(|refusal| {
                    Refused::Memory { level: refusal.level, retry_after: refusal.retry_after }
                })?;
            }
            // It holds them, so they count, asked or not.
            None => surcharge.grow_unasked(bytes),
        }
        charged = Some(surcharge);
    }
    Ok(Admitted { inner: Arc::clone(inner), slot, surcharge: charged })
}

impl Admitted {
    /// Opens the connection that the place was kept for.
    ///
    /// # Errors
    /// [`Refused::ShuttingDown`] when the registry was shut down meanwhile.
    #[track_caller]
    pub fn connect(self, meta: ConnectionMeta) -> Result<Connection, Refused> {
        let Self { inner, slot, surcharge } = self;
        let at = Location::caller();
        let mut table = inner.table();
        if table.shut {
            drop(table);
            inner.counts.refused.fetch_add(1, Relaxed);
            return Err(Refused::ShuttingDown);
        }
        table.next_id += 1;
        let id = table.next_id;
        let transport = meta.transport;
        let peer = meta.peer.as_deref().map(str::to_owned);
        let entry = Entry::new(id, meta, &inner, at, surcharge, slot);
        table.live.insert(id, Arc::clone(&entry));
        // Before anybody can find it, else its closing would be counted first.
        inner.counts.open.fetch_add(1, Relaxed);
        inner.counts.transports[transport.index()].fetch_add(1, Relaxed);
        inner.counts.opened.fetch_add(1, Relaxed);
        // The same for the guard: a closing that starts now waits for it.
        let connection = Connection::new(entry, at);
        drop(table);
        inner.note_event("open", id, peer);
        Ok(connection)
    }
}

impl fmt::Debug for ConnectionRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRegistry")
            .field("open", &self.inner.counts.open.load(Relaxed))
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").finish_non_exhaustive()
    }
}
