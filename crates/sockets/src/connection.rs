//! The guard of a connection, and the handles that may be kept.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};

use plimsoll_core::Surcharge;
use tokio::time::Instant;

use crate::{
    cause::CloseCause,
    entry::{Closed, Entry},
    hook::Hook,
    message::Message,
    meta::Transport,
    outbox::{SendError, Sent},
};

/// The guard of an open connection: everything that the connection owns hangs on it, and
/// dropping it begins the closing. Not clonable; [`Connection::downgrade`] is for all others.
#[must_use = "dropping the guard closes the connection"]
pub struct Connection {
    entry: Arc<Entry>,
    hold: u32,
}

/// Refers to a connection without keeping it, so it may be kept anywhere, for any time.
#[derive(Clone)]
pub struct WeakConnection {
    id: u64,
    entry: Weak<Entry>,
}

/// Keeps a connection's memory for a while, under a name: whoever still has one after the
/// deadline is named as lingering.
pub struct Hold {
    entry: Arc<Entry>,
    hold: u32,
}

/// Bytes that the application holds for a connection, counted in the reports and against the
/// room for requests until this is dropped; see [`Connection::charge`].
#[must_use = "the bytes are given back when this is dropped"]
pub struct HeldBytes {
    entry: Weak<Entry>,
    bytes: u64,
    _surcharge: Option<Surcharge>,
}

impl Connection {
    /// Of an entry that was just put on the table.
    pub(crate) fn new(entry: Arc<Entry>, at: &'static Location<'static>) -> Self {
        // Fails for a connection that was removed already; then there is nothing to hold.
        let hold = entry.add_hold("guard", at).unwrap_or_default();
        Self { entry, hold }
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Its number, unique in this process.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// The peer, as it was named.
    pub fn peer(&self) -> Option<&str> {
        self.entry.meta.peer.as_deref()
    }

    /// How it is carried.
    pub fn transport(&self) -> Transport {
        self.entry.transport()
    }

    /// Whether the closing has not begun.
    pub fn is_open(&self) -> bool {
        self.entry.is_open()
    }

    /// Why it ends; `None` while it is open.
    pub fn cause(&self) -> Option<CloseCause> {
        self.entry.cause()
    }

    /// A handle that keeps nothing alive.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection { id: self.entry.id, entry: Arc::downgrade(&self.entry) }
    }

    /// Waits until the closing begins; at once when it has.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn closing(&self) {
        self.entry.closing().await;
    }

    /// Spawns a task that the connection owns. It may go on while the connection closes, for
    /// what has to be finished, and is aborted at the deadline if it has not ended by then.
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the future is dropped then.
    #[track_caller]
    pub fn spawn<F>(&self, name: &'static str, task: F) -> Result<(), Closed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.entry.spawn(name, Location::caller(), false, task)
    }

    /// The same for a task that has nothing to finish: it is dropped where it waits as soon as
    /// the closing begins.
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the future is dropped then.
    #[track_caller]
    pub fn spawn_while_open<F>(&self, name: &'static str, task: F) -> Result<(), Closed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        spawn_while_open(&self.entry, name, Location::caller(), task)
    }

    /// Runs `hook` when the connection ends, whatever the cause, at the same time as the other
    /// hooks. A panic in it is logged and harms nobody; it is aborted at the deadline, but begins
    /// also where its turn comes only then. It does not run when the Tokio runtime ends first.
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the hook is dropped then and does not run.
    #[track_caller]
    pub fn on_disconnect<F, Fut>(&self, name: &'static str, hook: F) -> Result<(), Closed>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.entry.add_hook(Hook::call(name, Location::caller(), hook))
    }

    /// Hands something over to be dropped when the connection ends: a subscription, a
    /// registration, a permit.
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the value is dropped then.
    #[track_caller]
    pub fn own(&self, value: impl Send + 'static) -> Result<(), Closed> {
        self.entry.add_hook(Hook::owned(Location::caller(), value))
    }

    /// Enters a room; `false` when it is in there already.
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun.
    pub fn join(&self, room: &str) -> Result<bool, Closed> {
        self.entry.inner.rooms.join(&self.entry, room)
    }

    /// Leaves a room; `false` when it was not in there.
    pub fn leave(&self, room: &str) -> bool {
        self.entry.inner.rooms.leave(&self.entry, room)
    }

    /// The rooms that it is in.
    pub fn rooms(&self) -> Vec<String> {
        self.entry.rooms().iter().map(|room| room.to_string()).collect()
    }

    /// Queues a message, as [`QueuePolicy`](crate::QueuePolicy) allows. Never waits.
    ///
    /// # Errors
    /// [`SendError`]; after [`SendError::SlowConsumer`] the connection closes.
    pub fn send(&self, message: impl Into<Message>) -> Result<Sent, SendError> {
        self.entry.send(message.into())
    }

    /// Waits for a queued message, for a transport that is no adapter of this crate. One task may
    /// wait at a time. `None` when the connection closes and nothing is left to be sent.
    ///
    /// # Cancel safety
    /// A message is taken out only when it is returned.
    pub async fn next_queued(&self) -> Option<Message> {
        next_queued(&self.entry).await
    }

    /// Bytes that wait in the queue.
    pub fn queued_bytes(&self) -> usize {
        self.entry.outbox.depth().1
    }

    /// Time since anything was sent or received.
    pub fn idle(&self) -> Duration {
        self.entry.idle(Instant::now())
    }

    /// Notes that something was sent or received, for transports that are no adapters of this
    /// crate; the idle time counts from the last of these.
    pub fn touch(&self) {
        self.entry.touch();
    }

    /// Counts bytes that the application holds for this connection: a draft, a cursor's window.
    /// They show in the report, and room for requests shrinks by them.
    pub fn charge(&self, bytes: u64) -> HeldBytes {
        HeldBytes::new(&self.entry, bytes)
    }

    /// Closes with a code and a word for the peer; what is queued is sent before.
    pub fn close(self, code: u16, reason: impl Into<Cow<'static, str>>) {
        self.entry.begin_close(CloseCause::Closed { code, reason: reason.into() });
    }

    /// Begins the closing for a cause that a transport has found out.
    pub fn ended(&self, cause: CloseCause) {
        self.entry.begin_close(cause);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let cause = match std::thread::panicking() {
            true => CloseCause::Panicked,
            false => CloseCause::Finished,
        };
        self.entry.begin_close(cause);
        self.entry.drop_hold(self.hold);
    }
}

impl WeakConnection {
    pub(crate) fn of(entry: &Arc<Entry>) -> Self {
        Self { id: entry.id, entry: Arc::downgrade(entry) }
    }

    fn open(&self) -> Result<Arc<Entry>, Closed> {
        self.entry.upgrade().filter(|entry| entry.is_open()).ok_or(Closed)
    }

    /// The connection's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Time since anything was sent or received; zero when the connection is gone.
    pub fn idle(&self) -> Duration {
        self.entry.upgrade().map_or(Duration::ZERO, |entry| entry.idle(Instant::now()))
    }

    /// Whether the connection is there and its closing has not begun.
    pub fn is_open(&self) -> bool {
        self.open().is_ok()
    }

    /// As [`Connection::send`].
    ///
    /// # Errors
    /// [`SendError`]; after [`SendError::SlowConsumer`] the connection closes.
    pub fn send(&self, message: impl Into<Message>) -> Result<Sent, SendError> {
        self.open().map_err(|Closed| SendError::Closed)?.send(message.into())
    }

    /// As [`Connection::join`].
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun.
    pub fn join(&self, room: &str) -> Result<bool, Closed> {
        let entry = self.open()?;
        entry.inner.rooms.join(&entry, room)
    }

    /// As [`Connection::leave`].
    pub fn leave(&self, room: &str) -> bool {
        self.open().is_ok_and(|entry| entry.inner.rooms.leave(&entry, room))
    }

    /// As [`Connection::spawn`].
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the future is dropped then.
    #[track_caller]
    pub fn spawn<F>(&self, name: &'static str, task: F) -> Result<(), Closed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.open()?.spawn(name, Location::caller(), false, task)
    }

    /// As [`Connection::spawn_while_open`].
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the future is dropped then.
    #[track_caller]
    pub fn spawn_while_open<F>(&self, name: &'static str, task: F) -> Result<(), Closed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        spawn_while_open(&self.open()?, name, Location::caller(), task)
    }

    /// As [`Connection::on_disconnect`].
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the hook is dropped then and does not run.
    #[track_caller]
    pub fn on_disconnect<F, Fut>(&self, name: &'static str, hook: F) -> Result<(), Closed>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.open()?.add_hook(Hook::call(name, Location::caller(), hook))
    }

    /// As [`Connection::own`].
    ///
    /// # Errors
    /// [`Closed`] when the closing has begun; the value is dropped then.
    #[track_caller]
    pub fn own(&self, value: impl Send + 'static) -> Result<(), Closed> {
        self.open()?.add_hook(Hook::owned(Location::caller(), value))
    }

    /// As [`Connection::touch`].
    pub fn touch(&self) {
        if let Some(entry) = self.entry.upgrade() {
            entry.touch();
        }
    }

    /// As [`Connection::charge`]; `None` when the closing has begun.
    pub fn charge(&self, bytes: u64) -> Option<HeldBytes> {
        self.open().ok().map(|entry| HeldBytes::new(&entry, bytes))
    }

    /// Waits until the closing begins; at once when the connection is gone.
    ///
    /// # Cancel safety
    /// May be dropped at any time. It keeps the connection's memory while it waits, so it belongs
    /// into a task that the connection owns.
    pub async fn closing(&self) {
        if let Some(entry) = self.entry.upgrade() {
            entry.closing().await;
        }
    }

    /// Begins the closing; `false` when it had begun or the connection is gone.
    pub fn close(&self, cause: CloseCause) -> bool {
        self.entry.upgrade().is_some_and(|entry| entry.begin_close(cause))
    }

    /// Keeps the connection's memory under a name until the hold is dropped.
    #[track_caller]
    pub fn hold(&self, name: &'static str) -> Option<Hold> {
        let entry = self.entry.upgrade()?;
        let hold = entry.add_hold(name, Location::caller()).ok()?;
        Some(Hold { entry, hold })
    }
}

impl Hold {
    /// The connection's number.
    pub fn id(&self) -> u64 {
        self.entry.id
    }

    /// Whether the closing has not begun.
    pub fn is_open(&self) -> bool {
        self.entry.is_open()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.entry.drop_hold(self.hold);
    }
}

impl HeldBytes {
    fn new(entry: &Arc<Entry>, bytes: u64) -> Self {
        entry.hold_bytes(bytes);
        let surcharge = entry.inner.admission.map(|admission| {
            let surcharge = admission.surcharge(None).apart();
            surcharge.grow_unasked(bytes);
            surcharge
        });
        Self { entry: Arc::downgrade(entry), bytes, _surcharge: surcharge }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        // When the connection has gone it has taken its bytes out of the sum.
        if let Some(entry) = self.entry.upgrade() {
            entry.release_bytes(self.bytes);
        }
    }
}

pub(crate) async fn next_queued(entry: &Arc<Entry>) -> Option<Message> {
    loop {
        if let Some(queued) = entry.outbox.try_pop() {
            return Some(queued.message);
        }
        if !entry.is_open() {
            return None;
        }
        tokio::select! {
            queued = entry.outbox.pop() => return Some(queued.message),
            () = entry.closing() => {}
        }
    }
}

fn spawn_while_open<F>(
    entry: &Arc<Entry>,
    name: &'static str,
    at: &'static Location<'static>,
    task: F,
) -> Result<(), Closed>
where
    F: Future<Output = ()> + Send + 'static,
{
    let watched = Arc::clone(entry);
    entry.spawn(name, at, false, async move {
        tokio::select! {
            biased;
            () = watched.closing() => {}
            () = task => {}
        }
    })
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WeakConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakConnection").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("connection", &self.entry.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBytes").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
