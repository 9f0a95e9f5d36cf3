//! What the handles, the connections and their tasks share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use plimsoll_core::{
    Admission, BoundedRing, Clock, GuardMode, Plimsoll, Priority, Registration, SocketEvent,
};
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle, time::Instant};

use crate::{
    entry::{Entry, millis},
    limits::SocketLimits,
    meta::Transport,
    outbox::QueueTotals,
    rooms::Rooms,
    slots::Slots,
    wave::Wave,
};

pub(crate) struct Inner {
    pub(crate) runtime: Handle,
    pub(crate) limits: SocketLimits,
    pub(crate) cleanup_timeout: Duration,
    pub(crate) slots: Arc<Slots>,
    pub(crate) priority: Option<Priority>,
    pub(crate) plimsoll: Option<Plimsoll>,
    pub(crate) admission: Option<Admission>,
    pub(crate) clock: Clock,
    pub(crate) events: BoundedRing<SocketEvent>,
    /// Keeps the ring's pruner registered.
    pub(crate) registration: Mutex<Option<Registration>>,
    pub(crate) queued: Arc<QueueTotals>,
    /// What the application holds for its connections.
    pub(crate) held_bytes: AtomicU64,
    pub(crate) rooms: Rooms,
    pub(crate) counts: Counts,
    /// Rung for all when a connection is removed, and when one no longer lingers.
    pub(crate) gone: Arc<Notify>,
    pub(crate) started: Instant,
    table: Mutex<Table>,
    wave: Mutex<WaveState>,
}

/// Gauges and totals, so that a report counts nothing.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) open: AtomicU64,
    pub(crate) closing: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) forced: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) transports: [AtomicU64; Transport::COUNT],
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) live: HashMap<u64, Arc<Entry>>,
    /// Removed, and still held by somebody.
    pub(crate) lingering: HashMap<u64, Arc<Entry>>,
    pub(crate) next_id: u64,
    /// Nothing is opened any more.
    pub(crate) shut: bool,
}

/// The wave that is counted, and the release that follows one.
#[derive(Default)]
struct WaveState {
    wave: Wave,
    /// Whether the task that releases is there.
    releasing: bool,
    /// Whether another wave came meanwhile.
    again: bool,
    task: Option<AbortHandle>,
}

/// What [`Inner`] is made of.
pub(crate) struct Parts {
    pub(crate) runtime: Handle,
    pub(crate) limits: SocketLimits,
    pub(crate) cleanup_timeout: Duration,
    pub(crate) slots: Arc<Slots>,
    pub(crate) priority: Option<Priority>,
    pub(crate) plimsoll: Option<Plimsoll>,
    pub(crate) clock: Clock,
}

impl Inner {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let events = BoundedRing::socket_events()
            .with_clock(parts.clock.clone())
            .with_weigher(|event: &SocketEvent| event.detail.as_ref().map_or(0, String::capacity));
        // It only counts and asks; no guard layer is made by that.
        let admission = parts.plimsoll.as_ref().map(|plimsoll| plimsoll.admission(GuardMode::Off));
        Arc::new(Self {
            runtime: parts.runtime,
            limits: parts.limits,
            cleanup_timeout: parts.cleanup_timeout,
            slots: parts.slots,
            priority: parts.priority,
            plimsoll: parts.plimsoll,
            admission,
            clock: parts.clock,
            events,
            registration: Mutex::default(),
            queued: Arc::default(),
            held_bytes: AtomicU64::new(0),
            rooms: Rooms::default(),
            counts: Counts::default(),
            gone: Arc::default(),
            started: Instant::now(),
            table: Mutex::default(),
            wave: Mutex::default(),
        })
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Entry>> {
        self.table().live.get(&id).map(Arc::clone)
    }

    /// All that are open or closing.
    pub(crate) fn live(&self) -> Vec<Arc<Entry>> {
        self.table().live.values().map(Arc::clone).collect()
    }

    pub(crate) fn note_event(&self, kind: &'static str, id: u64, detail: Option<String>) {
        let timestamp = millis(self.clock.wall());
        self.events.push(SocketEvent::new(timestamp, kind, id, detail));
    }

    /// Takes a connection off the table; if it is held still, it lingers.
    pub(crate) fn remove(&self, entry: &Arc<Entry>) {
        let mut table = self.table();
        let removed = table.live.remove(&entry.id);
        // The last holder may leave between the look and the insertion; it looks for itself here
        // afterwards, so looking once more after the insertion is enough.
        if !entry.is_unheld() {
            table.lingering.insert(entry.id, Arc::clone(entry));
        }
        let mut left = None;
        if entry.is_unheld() {
            left = table.lingering.remove(&entry.id);
        }
        if table.live.is_empty() {
            // The table of a crowd is not kept for the few that come after it.
            table.live = HashMap::new();
        }
        drop(table);
        // The last reference may go here, and with it what the connection held.
        drop((removed, left));
        self.gone.notify_waiters();
    }

    pub(crate) fn no_longer_lingers(&self, id: u64) {
        let left = self.table().lingering.remove(&id);
        drop(left);
        self.gone.notify_waiters();
    }

    fn wave(&self) -> MutexGuard<'_, WaveState> {
        self.wave.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a disconnect. If it completes a wave, a reading and a release follow once the
    /// memory is free.
    pub(crate) fn note_disconnect(self: &Arc<Self>) {
        let Some(plimsoll) = &self.plimsoll else { return };
        let open = self.counts.open.load(Relaxed);
        let mut state = self.wave();
        if !state.wave.note(self.started.elapsed(), open) {
            return;
        }
        if state.releasing {
            state.again = true;
            return;
        }
        state.releasing = true;
        drop(state);
        let releases = crate::closing::release_after_waves(Arc::downgrade(self), plimsoll.clone());
        let task = self.runtime.spawn(releases);
        self.wave().task = Some(task.abort_handle());
    }

    /// Whether another wave is to be released for; if not, the next one starts a new task.
    pub(crate) fn waves_go_on(&self) -> bool {
        let mut state = self.wave();
        state.releasing = std::mem::take(&mut state.again);
        state.releasing
    }

    pub(crate) fn abort_wave(&self) {
        let task = self.wave().task.take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// The task that releases after waves is the registry's, and ends with it.
impl Drop for Inner {
    fn drop(&mut self) {
        self.abort_wave();
    }
}
