//! Requests that are watched one by one: what each of them takes, and how to end it.
//!
//! Only where an allocation meter is installed or requests may be cancelled; all others cost
//! nothing here. A watch is an entry of a fixed list, taken when a request is admitted and put
//! back when its last part has gone, so that nothing is allocated per request.

mod turn;

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;

use self::turn::Turn;
use crate::{
    ledger::Ledger,
    lines::Priority,
    meter::{AllocationMeter, MeterMark},
    routes::Route,
};

/// Requests watched at the same time; further ones are admitted without a watch.
const MOST_WATCHED: usize = 16_384;

/// What is known of one request.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Entry {
    /// Which request this is: an entry serves one after the other.
    turn: Turn,
    /// Bytes held now, as far as the request's own code allocated and freed them: an estimate,
    /// since what it hands to others is freed by them.
    live: AtomicI64,
    peak: AtomicU64,
    allocated: AtomicU64,
    reserved: AtomicU64,
    /// Bytes of its body, which are charged beside what its route is learned to take.
    body: AtomicU64,
    /// What was declared for it beyond its body, plus 1; 0 where nothing was.
    declared: AtomicU64,
    /// What of its body was charged as it arrived, beside what is reserved.
    surcharged: AtomicU64,
    buffered: AtomicU64,
    /// The place of its route in the table of routes.
    route: AtomicUsize,
    note: AtomicU8,
    answered: AtomicBool,
    waker: AtomicWaker,
}

/// Entries made at once, when there is none left.
const CHUNK: usize = 256;

/// All entries, in use and free.
pub(crate) struct Watchlist {
    free: ArrayQueue<usize>,
    chunks: Box<[OnceLock<Box<[Entry]>>]>,
    used: Mutex<usize>,
}

impl std::fmt::Debug for Watchlist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchlist").field("free", &self.free.len()).finish_non_exhaustive()
    }
}

impl Default for Watchlist {
    fn default() -> Self {
        Self {
            free: ArrayQueue::new(MOST_WATCHED),
            chunks: std::iter::repeat_with(OnceLock::new).take(MOST_WATCHED / CHUNK).collect(),
            used: Mutex::default(),
        }
    }
}

impl Watchlist {
    fn take(&self) -> Option<usize> {
        self.free.pop().or_else(|| self.add())
    }

    #[cold]
    fn add(&self) -> Option<usize> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added some meanwhile.
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let chunk = self.chunks.get(*used)?;
        chunk.get_or_init(|| std::iter::repeat_with(Entry::default).take(CHUNK).collect());
        let first = *used * CHUNK;
        *used += 1;
        for index in first + 1..first + CHUNK {
            // As many places as entries.
            let _ = self.free.push(index);
        }
        Some(first)
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().map_while(OnceLock::get).flatten()
    }

    /// Cancels one request: of those that may be cancelled and have the lowest priority, the one
    /// that takes or was promised the most. Returns those bytes.
    pub(crate) fn cancel_largest(&self) -> Option<u64> {
        let (_, bytes, entry, number) = self
            .entries()
            .filter_map(|entry| {
                let (rank, number) = entry.turn.candidate()?;
                let live = u64::try_from(entry.live.load(Relaxed)).unwrap_or(0);
                let charged = entry.reserved.load(Relaxed);
                let bytes = live.max(charged.saturating_add(entry.surcharged.load(Relaxed)));
                Some((rank, bytes, entry, number))
            })
            .min_by_key(|(rank, bytes, ..)| (*rank, u64::MAX - bytes))?;
        entry.turn.cancel(number);
        entry.waker.wake();
        Some(bytes)
    }

    /// Takes back what has been cancelled and has not ended: pressure is over. A server asks a body
    /// for nothing while its client does not read, so that it may hear of it much later.
    pub(crate) fn forgive(&self) {
        for entry in self.entries() {
            entry.turn.forgive();
        }
    }

    /// Bytes that the list itself takes.
    pub(crate) fn bytes(&self) -> u64 {
        let entries = self.entries().count() * size_of::<Entry>();
        (entries + self.free.capacity() * size_of::<usize>() * 2) as u64
    }
}

/// Why and how a request is watched.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WatchTerms {
    /// Bytes of its body, which are charged beside what the route is learned to take.
    pub body_bytes: u64,
    /// Bytes reserved for it.
    pub reserved_bytes: u64,
    /// Bytes that were declared for it beyond its body, if any were.
    pub declared_bytes: Option<u64>,
    /// Its priority, if it may be cancelled when memory stays critical.
    pub cancel: Option<Priority>,
    /// What the caller wants to know again when the request is cancelled.
    pub note: u8,
}

impl WatchTerms {
    /// Watches a request with a body of `body_bytes` and `reserved_bytes` promised; it is not to be
    /// cancelled.
    pub fn new(body_bytes: u64, reserved_bytes: u64) -> Self {
        Self { body_bytes, reserved_bytes, declared_bytes: None, cancel: None, note: 0 }
    }

    /// Tells what was declared, so that its route learns how far declarations can be trusted.
    #[must_use]
    pub fn declared(mut self, bytes: Option<u64>) -> Self {
        self.declared_bytes = bytes;
        self
    }

    /// Keeps a word of the caller's, see [`Reservation::watch_note`](crate::Reservation::watch_note).
    #[must_use]
    pub fn note(mut self, note: u8) -> Self {
        self.note = note;
        self
    }

    /// Lets the request be cancelled as one of this priority.
    #[must_use]
    pub fn cancel(mut self, priority: Option<Priority>) -> Self {
        self.cancel = priority;
        self
    }
}

/// A watched request: which entry of which ledger. Plain words, so that a reservation can hold
/// it in one of its own and a thread can note whose work it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    ledger: &'static Ledger,
    entry: &'static Entry,
    index: usize,
    number: u64,
}

thread_local! {
    static CURRENT: Cell<Option<Watch>> = const { Cell::new(None) };
}

impl Watch {
    /// Takes an entry; it is put back with [`Watch::release`]. `None` when all are taken.
    pub(crate) fn start(
        ledger: &'static Ledger,
        route: &'static Route,
        terms: WatchTerms,
    ) -> Option<Self> {
        let index = ledger.watchlist().take()?;
        let entry = ledger.watchlist().entry(index)?;
        // Nobody holds it, and the scan for the largest sees rank 0 until its turn begins.
        for counter in [&entry.peak, &entry.allocated, &entry.surcharged, &entry.buffered] {
            counter.store(0, Relaxed);
        }
        entry.live.store(0, Relaxed);
        entry.answered.store(false, Relaxed);
        entry.note.store(terms.note, Relaxed);
        entry.body.store(terms.body_bytes, Relaxed);
        let declared = terms.declared_bytes.map_or(0, |bytes| bytes.saturating_add(1));
        entry.declared.store(declared, Relaxed);
        entry.reserved.store(terms.reserved_bytes, Relaxed);
        entry.route.store(route.index(), Relaxed);
        let rank = match terms.cancel {
            None | Some(Priority::Critical) => 0,
            Some(Priority::Low) => 1,
            Some(Priority::Normal) => 2,
            Some(Priority::High) => 3,
        };
        let number = entry.turn.begin(rank);
        Some(Self { ledger, entry, index, number })
    }

    /// The watch that a reservation noted by its place.
    pub(crate) fn at(ledger: &'static Ledger, index: usize) -> Option<Self> {
        let entry = ledger.watchlist().entry(index)?;
        Some(Self { ledger, entry, index, number: entry.turn.number() })
    }

    pub(crate) fn index(self) -> usize {
        self.index
    }

    /// Runs a part of the request's work: what it allocates and frees is the request's.
    pub(crate) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        let _current = Current { outer: CURRENT.replace(Some(self)) };
        let Some(meter) = self.ledger.meter() else { return work() };
        let _scope = Scope { watch: self, meter, mark: meter.enter() };
        work()
    }

    /// The request of `ledger` whose code runs on this thread now.
    pub(crate) fn current(ledger: &'static Ledger) -> Option<Self> {
        CURRENT.get().filter(|watch| std::ptr::eq(watch.ledger, ledger))
    }

    /// Notes what of the request's body was charged as it arrived.
    pub(crate) fn surcharged(self, bytes: u64) {
        self.entry.surcharged.fetch_add(bytes, Relaxed);
    }

    /// Notes that the reservation, `reserved` bytes by now, holds what was charged beside it.
    pub(crate) fn absorbed(self, reserved: u64) {
        self.entry.reserved.store(reserved, Relaxed);
        let body = self.entry.surcharged.swap(0, Relaxed);
        self.entry.body.fetch_add(body, Relaxed);
    }

    /// The most that it held, as far as that is not charged beside what is reserved.
    pub(crate) fn peak_bytes(self) -> u64 {
        let peak = self.entry.peak.load(Relaxed);
        peak.saturating_sub(self.entry.surcharged.load(Relaxed))
    }

    /// What of `peak` is not its body.
    fn beyond_body(self, peak: u64) -> u64 {
        let body = self.entry.body.load(Relaxed);
        peak.saturating_sub(body.saturating_add(self.entry.surcharged.load(Relaxed)))
    }

    pub(crate) fn note(self) -> u8 {
        self.entry.note.load(Relaxed)
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.entry.turn.is_cancelled(self.number)
    }

    pub(crate) fn wake_on_cancel(self, waker: &Waker) {
        if self.entry.turn.is_open() {
            self.entry.waker.register(waker);
        }
    }

    /// Counts the cancellation as a refusal of the request's route.
    pub(crate) fn note_cancelled(self) {
        self.ledger.count_cancelled(self.route());
        self.entry.turn.spare();
    }

    /// The request is not to be chosen any more: to cancel it would free nothing.
    pub(crate) fn spare(self) {
        self.entry.turn.spare();
    }

    pub(crate) fn add_buffered(self, bytes: u64) {
        self.entry.buffered.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn raised(self, bytes: u64) {
        self.entry.reserved.store(bytes, Relaxed);
    }

    pub(crate) fn buffered_bytes(self) -> u64 {
        self.entry.buffered.load(Relaxed)
    }

    pub(crate) fn route(self) -> &'static Route {
        self.ledger.routes().at(self.entry.route.load(Relaxed))
    }

    pub(crate) fn answered(self) {
        self.entry.answered.store(true, Relaxed);
    }

    /// Ends the whole request: tells its route what it took at most. One that was given up before it
    /// had an answer says little about the others.
    pub(crate) fn finish(self) {
        self.entry.turn.spare();
        if self.ledger.meter().is_some() && self.entry.answered.load(Relaxed) {
            let declared = self.entry.declared.load(Relaxed).checked_sub(1);
            self.route().learn(self.beyond_body(self.entry.peak.load(Relaxed)), declared);
        }
        self.release();
    }

    /// Puts the entry back with the last part of the request. What the request still holds then is
    /// not its route's any more: it was handed on, or is freed where nobody counts.
    fn release(self) {
        if self.entry.turn.leave() {
            let left = self.entry.live.load(Relaxed);
            self.ledger.count_attributed(self.route(), 0, left.wrapping_neg());
            drop(self.entry.waker.take());
            // As many places as entries.
            let _ = self.ledger.watchlist().free.push(self.index);
        }
    }
}

/// Whose work a thread does, until this is dropped.
struct Current {
    outer: Option<Watch>,
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// A stretch of work on one thread; ends also when that panics.
struct Scope {
    watch: Watch,
    meter: &'static dyn AllocationMeter,
    mark: MeterMark,
}

impl Drop for Scope {
    fn drop(&mut self) {
        let usage = self.meter.leave(self.mark);
        let Watch { entry, ledger, .. } = self.watch;
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let change = signed(usage.allocated_bytes) - signed(usage.freed_bytes);
        // Added, not stored: a spawned task may run at the same time.
        let before = entry.live.fetch_add(change, Relaxed);
        entry.allocated.fetch_add(usage.allocated_bytes, Relaxed);
        let peak = u64::try_from(before.saturating_add(signed(usage.peak_bytes))).unwrap_or(0);
        let route = self.watch.route();
        if peak > entry.peak.fetch_max(peak, Relaxed) {
            // At once, for those who ask while the first of a burst are still at work.
            route.note_peak(self.watch.beyond_body(peak));
        }
        ledger.count_attributed(route, usage.allocated_bytes, change);
    }
}

/// A spawned task's part in a request.
#[derive(Debug)]
struct Part(Watch);

impl Part {
    /// In the request whose code runs on this thread now, where it is attributed.
    fn of_current() -> Option<Self> {
        let watch = CURRENT.get().filter(|watch| watch.ledger.meter().is_some())?;
        watch.entry.turn.join();
        Some(Self(watch))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.release();
    }
}

pin_project! {
    /// Future of [`Attribute::attributed`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Attributed<F> {
        #[pin]
        inner: F,
        part: Option<Part>,
    }
}

/// Counts what a spawned task allocates for the request that spawned it.
pub trait Attribute: Future + Sized {
    /// Attributes this future to the request whose code runs on this thread now; outside any, or
    /// where nothing is attributed, it is only passed on. To be called where the task is spawned:
    /// inside the task there is no request any more. For `spawn_blocking` and threads there is
    /// [`attributed_fn`].
    ///
    /// ```
    /// use plimsoll_core::Attribute;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let task = tokio::spawn(async { vec![0_u8; 1 << 20].len() }.attributed());
    /// assert_eq!(task.await.unwrap(), 1 << 20);
    /// # }
    /// ```
    fn attributed(self) -> Attributed<Self> {
        Attributed { inner: self, part: Part::of_current() }
    }
}

/// Counts what a closure allocates, on whatever thread it runs, for the request whose code runs on
/// this thread now: for `spawn_blocking`, thread pools and threads. Outside any request, or where
/// nothing is attributed, it is only passed on.
///
/// ```
/// use plimsoll_core::attributed_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let work = attributed_fn(|| vec![0_u8; 1 << 20].len());
/// assert_eq!(tokio::task::spawn_blocking(work).await.unwrap(), 1 << 20);
/// # }
/// ```
pub fn attributed_fn<R>(work: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let part = Part::of_current();
    move || match &part {
        Some(part) => part.0.run(work),
        None => work(),
    }
}

impl<F: Future> Attribute for F {}

impl<F: Future> Future for Attributed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.part {
            Some(part) => part.0.run(|| this.inner.poll(cx)),
            None => this.inner.poll(cx),
        }
    }
}
