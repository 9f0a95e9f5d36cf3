//! One connection, as the registry knows it.

use std::{
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{SocketFigures, SocketState, Surcharge};
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use crate::{
    cause::CloseCause,
    hook::Hook,
    inner::Inner,
    message::Message,
    meta::{ConnectionMeta, Transport},
    outbox::{Charge, Outbox, OutboxLimits, SendError, Sent},
    slots::Slot,
};

const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const CLOSED: u8 = 2;

/// The connection is closing or closed, so it takes nothing more on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
#[non_exhaustive]
pub struct Closed;

/// Shared by the guard, the weak handles, the tasks and the registry. Its memory, its place under
/// the caps and its bytes in the ledger are given back when the last strong one is gone.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) meta: ConnectionMeta,
    pub(crate) inner: Arc<Inner>,
    pub(crate) outbox: Outbox,
    opened: Instant,
    opened_at: &'static Location<'static>,
    /// Milliseconds from `opened` to the last message in either direction.
    active_ms: AtomicU64,
    /// How it is carried now: Socket.IO changes that.
    transport: AtomicU8,
    /// What the application holds for it, as it has said.
    held_bytes: AtomicU64,
    /// The phase of `body`, to be read without its lock.
    phase: AtomicU8,
    body: Mutex<Body>,
    /// Rung for all when the closing begins.
    closing: Notify,
    /// Rung for the closer when the last holder has gone.
    drained: Notify,
    _surcharge: Option<Surcharge>,
    _slot: Slot,
}

#[derive(Default)]
struct Body {
    phase: u8,
    cause: Option<CloseCause>,
    hooks: Vec<Hook>,
    rooms: Vec<Arc<str>>,
    tasks: Vec<TaskSlot>,
    holds: Vec<Named>,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    id: u32,
    name: &'static str,
    at: &'static Location<'static>,
}

struct TaskSlot {
    named: Named,
    /// Not known until the task was spawned.
    abort: Option<AbortHandle>,
    /// Whether it is to be aborted.
    aborted: bool,
    /// Whether it is a hook that was not polled yet: that happens once, however late.
    owed: bool,
}

/// A hook whose task is in the books already.
pub(crate) struct BookedHook {
    pub(crate) task: u32,
    pub(crate) hook: Hook,
}

/// What a closing has to do.
pub(crate) struct Leaving {
    pub(crate) hooks: Vec<BookedHook>,
    pub(crate) rooms: Vec<Arc<str>>,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}:{})", self.name, self.at.file(), self.at.line())
    }
}

impl Entry {
    pub(crate) fn new(
        id: u64,
        meta: ConnectionMeta,
        inner: &Arc<Inner>,
        opened_at: &'static Location<'static>,
        surcharge: Option<Surcharge>,
        slot: Slot,
    ) -> Arc<Self> {
        let transport = AtomicU8::new(meta.transport.number());
        Arc::new(Self {
            id,
            meta,
            transport,
            inner: Arc::clone(inner),
            outbox: Outbox::new(),
            opened: Instant::now(),
            opened_at,
            active_ms: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            phase: AtomicU8::new(OPEN),
            body: Mutex::default(),
            closing: Notify::new(),
            drained: Notify::new(),
            _surcharge: surcharge,
            _slot: slot,
        })
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase.load(Ordering::Acquire) == OPEN
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::of_number(self.transport.load(Ordering::Relaxed))
    }

    /// Notes another transport, also among those that are counted.
    #[cfg_attr(not(feature = "socketioxide"), expect(dead_code))]
    pub(crate) fn set_transport(&self, transport: Transport) {
        // Under the lock: a closing takes the connection out of the counts.
        let body = self.body();
        if body.phase != OPEN {
            return;
        }
        let before = self.transport.swap(transport.number(), Ordering::Relaxed);
        let counts = &self.inner.counts.transports;
        counts[transport.index()].fetch_add(1, Ordering::Relaxed);
        counts[Transport::of_number(before).index()].fetch_sub(1, Ordering::Relaxed);
        drop(body);
    }

    pub(crate) fn cause(&self) -> Option<CloseCause> {
        self.body().cause.clone()
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    pub(crate) fn opened_at(&self) -> &'static Location<'static> {
        self.opened_at
    }

    /// Notes that something was sent or received.
    pub(crate) fn touch(&self) {
        let passed = self.opened.elapsed();
        self.active_ms.fetch_max(millis(passed), Ordering::Relaxed);
    }

    pub(crate) fn idle(&self, now: Instant) -> Duration {
        let active = Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.opened).saturating_sub(active)
    }

    /// Waits until the closing begins.
    pub(crate) async fn closing(&self) {
        let mut notified = std::pin::pin!(self.closing.notified());
        loop {
            // Listens before it looks, else a ring in between would be missed.
            notified.as_mut().enable();
            if !self.is_open() {
                return;
            }
            notified.as_mut().await;
            notified.set(self.closing.notified());
        }
    }

    pub(crate) fn send(self: &Arc<Self>, message: Message) -> Result<Sent, SendError> {
        let charge = Charge::of(self.inner.admission, &message);
        self.send_charged(message, charge)
    }

    pub(crate) fn send_charged(
        self: &Arc<Self>,
        message: Message,
        charge: Charge,
    ) -> Result<Sent, SendError> {
        let limits = &self.inner.limits;
        let limits = OutboxLimits {
            messages: limits.queue_messages,
            bytes: limits.queue_bytes,
            policy: limits.queue_policy,
        };
        let sent = self.outbox.push(message, charge, limits, &self.inner.queued);
        if let Err(SendError::SlowConsumer { .. }) = sent {
            self.begin_close(CloseCause::SlowConsumer);
        }
        sent
    }

    pub(crate) fn hold_bytes(&self, bytes: u64) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.inner.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn release_bytes(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.inner.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes held: buffers, queue, and what the application said.
    pub(crate) fn bytes(&self) -> u64 {
        let queued = self.outbox.depth().1 as u64;
        let held = self.held_bytes.load(Ordering::Relaxed);
        self.inner.limits.resting_bytes().saturating_add(queued).saturating_add(held)
    }

    /// Takes the hook, or drops it when the closing has begun.
    pub(crate) fn add_hook(&self, hook: Hook) -> Result<(), Closed> {
        let mut body = self.body();
        if body.phase == OPEN {
            body.hooks.push(hook);
            return Ok(());
        }
        // The hook is the program's: what it does on drop must not find the lock taken.
        drop(body);
        drop(hook);
        Err(Closed)
    }

    /// Notes a room, unless the closing has begun. The caller holds the lock of the rooms.
    pub(crate) fn note_room(&self, room: &Arc<str>) -> Result<bool, Closed> {
        let mut body = self.body();
        if body.phase != OPEN {
            return Err(Closed);
        }
        if body.rooms.contains(room) {
            return Ok(false);
        }
        body.rooms.push(Arc::clone(room));
        Ok(true)
    }

    pub(crate) fn forget_room(&self, room: &str) {
        self.body().rooms.retain(|known| &**known != room);
    }

    pub(crate) fn rooms(&self) -> Vec<Arc<str>> {
        self.body().rooms.clone()
    }

    // Holders: tasks, and named strong handles. The guard is one of the latter.

    pub(crate) fn add_hold(
        &self,
        name: &'static str,
        at: &'static Location<'static>,
    ) -> Result<u32, Closed> {
        let mut body = self.body();
        if body.phase == CLOSED {
            return Err(Closed);
        }
        let id = body.next();
        body.holds.push(Named { id, name, at });
        Ok(id)
    }

    pub(crate) fn drop_hold(&self, id: u32) {
        let mut body = self.body();
        body.holds.retain(|hold| hold.id != id);
        let (empty, phase) = (body.is_unheld(), body.phase);
        drop(body);
        self.note_released(empty, phase);
    }

    /// Notes a task; one that is part of the closing may be added while that runs.
    pub(crate) fn add_task(
        &self,
        name: &'static str,
        at: &'static Location<'static>,
        while_closing: bool,
    ) -> Result<u32, Closed> {
        let mut body = self.body();
        if body.phase == CLOSED || body.phase == CLOSING && !while_closing {
            return Err(Closed);
        }
        Ok(body.book(name, at, false))
    }

    pub(crate) fn task_spawned(&self, id: u32, abort: AbortHandle) {
        let mut body = self.body();
        // It may have ended already.
        let Some(slot) = body.tasks.iter_mut().find(|slot| slot.named.id == id) else { return };
        if !slot.aborted || slot.owed {
            slot.abort = Some(abort);
            return;
        }
        drop(body);
        abort.abort();
    }

    /// A hook was polled for the first time and goes on; whether it is to end here, since its
    /// deadline passed before.
    pub(crate) fn hook_began(&self, id: u32) -> bool {
        let mut body = self.body();
        let Some(slot) = body.tasks.iter_mut().find(|slot| slot.named.id == id) else {
            return false;
        };
        slot.owed = false;
        slot.aborted
    }

    pub(crate) fn task_ended(&self, id: u32) {
        let mut body = self.body();
        body.tasks.retain(|slot| slot.named.id != id);
        let (empty, phase) = (body.is_unheld(), body.phase);
        drop(body);
        self.note_released(empty, phase);
    }

    fn note_released(&self, empty: bool, phase: u8) {
        if !empty {
            return;
        }
        if phase >= CLOSING {
            self.drained.notify_one();
        }
        if phase == CLOSED {
            self.inner.no_longer_lingers(self.id);
        }
    }

    /// Waits until no task and no named holder is left.
    pub(crate) async fn drained(&self) {
        while !self.body().is_unheld() {
            self.drained.notified().await;
        }
    }

    pub(crate) fn is_unheld(&self) -> bool {
        self.body().is_unheld()
    }

    /// Who holds it still, by name and place.
    pub(crate) fn holders(&self) -> Vec<String> {
        let body = self.body();
        let tasks = body.tasks.iter().map(|slot| format!("task {}", slot.named));
        tasks.chain(body.holds.iter().map(ToString::to_string)).collect()
    }

    /// Begins the closing: `None` when it has begun already, by whatever cause.
    pub(crate) fn enter_closing(&self, cause: &CloseCause) -> Option<Leaving> {
        let mut body = self.body();
        if body.phase != OPEN {
            return None;
        }
        body.phase = CLOSING;
        body.cause = Some(cause.clone());
        self.phase.store(CLOSING, Ordering::Release);
        let hooks = std::mem::take(&mut body.hooks);
        // In the books at once: nobody may end the closing as if there were none.
        let book = |hook: Hook| BookedHook { task: body.book(hook.name, hook.at, true), hook };
        let hooks = hooks.into_iter().map(book).collect();
        let rooms = std::mem::take(&mut body.rooms);
        drop(body);
        self.outbox.close(cause.flushes());
        self.closing.notify_waiters();
        Some(Leaving { hooks, rooms })
    }

    /// Ends the closing: aborts what remains, hooks that have not begun as soon as they have.
    /// `None` when that was done already, else whether anything remained.
    pub(crate) fn enter_closed(&self) -> Option<bool> {
        let mut body = self.body();
        if body.phase == CLOSED {
            return None;
        }
        body.phase = CLOSED;
        self.phase.store(CLOSED, Ordering::Release);
        let held = !body.is_unheld();
        let mut aborts = Vec::new();
        for slot in &mut body.tasks {
            slot.aborted = true;
            if !slot.owed {
                aborts.extend(slot.abort.take());
            }
        }
        drop(body);
        self.outbox.close(false);
        aborts.iter().for_each(AbortHandle::abort);
        Some(held)
    }

    pub(crate) fn figures(&self, now: Instant) -> SocketFigures {
        let mut figures = SocketFigures::new(self.id, self.transport().as_str());
        figures.peer = self.meta.peer.as_deref().map(str::to_owned);
        let (messages, bytes) = self.outbox.depth();
        figures.queued_messages = messages as u64;
        figures.queued_bytes = bytes as u64;
        figures.bytes = self.bytes();
        figures.age_seconds = now.saturating_duration_since(self.opened).as_secs();
        figures.idle_seconds = self.idle(now).as_secs();
        let body = self.body();
        figures.rooms = body.rooms.iter().map(|room| room.to_string()).collect();
        figures.tasks = body.tasks.len() as u64;
        figures.state = match body.phase {
            OPEN => SocketState::Open,
            CLOSING => SocketState::Closing,
            _ => SocketState::Lingering,
        };
        drop(body);
        if figures.state != SocketState::Open {
            figures.held_by = self.holders();
        }
        figures
    }
}

impl Body {
    fn next(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    fn book(&mut self, name: &'static str, at: &'static Location<'static>, owed: bool) -> u32 {
        let id = self.next();
        let named = Named { id, name, at };
        self.tasks.push(TaskSlot { named, abort: None, aborted: false, owed });
        id
    }

    fn is_unheld(&self) -> bool {
        self.tasks.is_empty() && self.holds.is_empty()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let held = *self.held_bytes.get_mut();
        self.inner.held_bytes.fetch_sub(held, Ordering::Relaxed);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
