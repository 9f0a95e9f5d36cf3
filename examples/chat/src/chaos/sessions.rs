//! `leak-sockets`: what belongs to a connection is kept after the connection is gone.
//!
//! **What is leaked:** a session for each connection, in a map of the whole server: a buffer of
//! 64 KiB and all that its person ever sent. Whoever wrote this takes a session out of the map
//! nowhere, and closes no connection that has fallen silent. So the map grows with everybody who
//! ever came, most of all with those who vanish without a goodbye, which nobody notices.
//!
//! **What ends it:** the registry notices who is gone, and knows for how long and with how many
//! bytes the others are there. In need of memory the pruner `leaked_sessions` drops the sessions
//! of connections that are gone; `sockets_idle` and `sockets_largest` close connections that hold
//! theirs for nothing, whose sessions the next pass takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plimsoll::{
    Holding,
    prelude::*,
    sockets::{CloseIdle, CloseLargest, HeldBytes},
};

/// Bytes of a session's buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// A connection that was silent for so long is idle.
const IDLE: Duration = Duration::from_secs(30);
/// Connections that a cleanup may close for what they hold.
const LARGEST: usize = 100;

/// The sessions of all connections that ever were. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    // By the connection's number, so the oldest come first.
    all: Arc<Mutex<BTreeMap<u64, Session>>>,
}

#[derive(Debug)]
struct Session {
    buffer: Vec<u8>,
    sent: Vec<String>,
    sent_bytes: u64,
    connection: WeakConnection,
    /// Counts the buffer as the connection's for as long as it is there.
    _held: Option<HeldBytes>,
}

impl Session {
    fn bytes(&self) -> u64 {
        let slots = self.sent.capacity() * size_of::<String>() + size_of::<Self>();
        (self.buffer.capacity() + slots) as u64 + self.sent_bytes
    }
}

impl Sessions {
    /// Makes the session of a connection.
    pub(super) fn open(&self, connection: &WeakConnection) {
        let session = Session {
            // Written and not only reserved: untouched memory is not resident.
            buffer: vec![0xA5; BUFFER_BYTES],
            sent: Vec::new(),
            sent_bytes: 0,
            connection: connection.clone(),
            _held: connection.charge(BUFFER_BYTES as u64),
        };
        self.lock().insert(connection.id(), session);
    }

    /// Keeps what was sent.
    pub(super) fn note(&self, id: u64, frame: &str) {
        if let Some(session) = self.lock().get_mut(&id) {
            session.sent.push(frame.to_owned());
            session.sent_bytes += frame.len() as u64;
        }
    }

    pub(super) fn register(
        &self,
        registry: &CleanupRegistry,
        sockets: &ConnectionRegistry,
    ) -> [Registration; 3] {
        [
            registry.register("leaked_sessions", self.clone()),
            registry.register("sockets_idle", CloseIdle::new(sockets, IDLE)),
            registry.register("sockets_largest", CloseLargest::new(sockets, LARGEST)),
        ]
    }

    /// Takes sessions of connections that are gone out, the oldest first, until they make up
    /// `target` bytes; all of them without a target.
    fn take_orphans(&self, target: Option<u64>) -> Vec<Session> {
        let mut all = self.lock();
        let mut bytes = 0;
        let mut orphans = Vec::new();
        for (id, session) in all.iter() {
            if target.is_some_and(|target| bytes >= target) {
                break;
            }
            if !session.connection.is_open() {
                bytes += session.bytes();
                orphans.push(*id);
            }
        }
        // Freed by the caller: those who connect meanwhile wait for the map only.
        orphans.iter().filter_map(|id| all.remove(id)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Session>> {
        // Nothing here panics between two writes, so what a panic elsewhere left is whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pruner for Sessions {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let orphans = self.take_orphans(request.target_bytes);
        let bytes = orphans.iter().map(Session::bytes).sum();
        Ok(Pruned::entries(orphans.len() as u64).bytes(bytes))
    }

    fn holding(&self) -> Holding {
        let all = self.lock();
        Holding::new(Some(all.len() as u64), Some(all.values().map(Session::bytes).sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_outlive_their_connections_and_only_those_are_pruned() {
        let sockets = ConnectionRegistry::builder().build().unwrap();
        let sessions = Sessions::default();
        let connect = || {
            let connection = sockets.connect(ConnectionMeta::new(Transport::Other)).unwrap();
            sessions.open(&connection.downgrade());
            sessions.note(connection.id(), "hello");
            connection
        };
        let (gone, stays) = (connect(), connect());
        let resting = sockets.limits().resting_bytes();
        assert_eq!(sockets.report().bytes, 2 * (resting + BUFFER_BYTES as u64));
        drop(gone);
        for _ in 0..3 {
            drop(connect());
        }
        assert_eq!(sessions.holding().entries, Some(5), "the leak");

        let mut some = PruneRequest::new(CleanupLevel::Moderate);
        some.target_bytes = Some(1);
        assert_eq!(sessions.prune(some).await.unwrap().entries, 1, "no more than was asked for");
        let all = PruneRequest::new(CleanupLevel::Aggressive);
        let pruned = sessions.prune(all).await.unwrap();
        assert_eq!(pruned.entries, 3);
        assert!(pruned.bytes.unwrap() > 3 * BUFFER_BYTES as u64);
        assert_eq!(sessions.lock().keys().copied().collect::<Vec<_>>(), [stays.id()]);
    }
}
