//! A place for each thread, so that threads do not write each other's lines.

use std::{
    cell::Cell,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use super::account::Credit;
use crate::routes::{ROUTE_COUNTERS, RouteCounts};

/// Threads with a place of their own; those beyond share one, at the cost of locked steps. With the
/// place of nobody as many as a byte can tell apart, so that no index is out of bounds.
const MOST_THREADS: u8 = u8::MAX;
/// The place of a thread that has none: it has not looked yet, there are too many, or it is about to
/// end. No step on its credit succeeds.
const NOBODY: u8 = MOST_THREADS;

/// What one thread counts. Its counters are written by that thread alone, whichever thread
/// admitted the request, so that no step on them need be locked; only their sums mean anything.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) credit: Credit,
    pub(super) admitted: Count,
    pub(super) finished: Count,
    pub(super) given_back: Count,
    pub(super) buffered: Count,
    routes: OnceLock<Box<[RouteCounts]>>,
}

/// A sum that wraps, so that one thread may add what another takes away.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// By the owning thread alone.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// By any thread.
    pub(crate) fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    #[inline]
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Slot {
    /// The counters of a route on this thread.
    #[inline]
    pub(super) fn route(&self, index: usize) -> &RouteCounts {
        let routes = self.routes.get_or_init(|| {
            std::iter::repeat_with(Default::default).take(ROUTE_COUNTERS).collect()
        });
        &routes[index]
    }

    /// The same where this thread has counted for any route.
    pub(super) fn counted_route(&self, index: usize) -> Option<&RouteCounts> {
        self.routes.get()?.get(index)
    }
}

/// The slots of one ledger.
#[derive(Debug)]
pub(super) struct Slots {
    own: [Slot; MOST_THREADS as usize + 1],
    /// Of all threads without one: counted with locked steps, and without credit.
    pub(super) shared: Slot,
}

impl Default for Slots {
    fn default() -> Self {
        let mut own: [Slot; MOST_THREADS as usize + 1] = std::array::from_fn(|_| Slot::default());
        own[usize::from(NOBODY)].credit = Credit::of_nobody();
        Self { own, shared: Slot::default() }
    }
}

impl Slots {
    /// The slot of this thread where it has looked for one before, else nobody's.
    #[inline]
    pub(super) fn known(&self) -> &Slot {
        &self.own[usize::from(NUMBER.get())]
    }

    /// The slot of this thread, if it has one of its own.
    pub(super) fn mine(&self) -> Option<&Slot> {
        let number = match NUMBER.get() {
            NOBODY => take_number()?,
            number => number,
        };
        self.own.get(usize::from(number))
    }

    /// All that may have been written, the shared one included.
    pub(super) fn used(&self) -> impl Iterator<Item = &Slot> {
        self.own[..threads_seen()].iter().chain([&self.shared])
    }

    /// Sums a counter over all threads.
    pub(super) fn sum(&self, of: impl Fn(&Slot) -> u64) -> u64 {
        self.used().map(of).fold(0, u64::wrapping_add)
    }
}

thread_local! {
    /// Without a destructor, so that it can be read while a thread ends.
    static NUMBER: Cell<u8> = const { Cell::new(NOBODY) };
    /// There was none for this thread: it does not ask again.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
    static LEASE: Lease = const { Lease };
}

/// The numbers of threads that have ended, and how many were ever in use. A number says which
/// slot of every ledger is a thread's, as an operating system's thread number would if those
/// were small; nothing else is shared between ledgers. The lock orders what one thread wrote to
/// its slots before what the next one with its number reads.
static FREE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SEEN: AtomicU8 = AtomicU8::new(0);

/// How many threads had a number at the same time, at most.
pub(super) fn threads_seen() -> usize {
    usize::from(SEEN.load(Relaxed))
}

/// Returns the number when its thread ends.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        REFUSED.set(true);
        let number = NUMBER.replace(NOBODY);
        if number != NOBODY {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        }
    }
}

#[cold]
fn take_number() -> Option<u8> {
    // Without a lease a number would never come back: this thread is about to end.
    if REFUSED.get() || LEASE.try_with(|_| ()).is_err() {
        return None;
    }
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = SEEN.load(Relaxed);
    let number = free.pop().or_else(|| {
        let next = (seen < MOST_THREADS).then_some(seen)?;
        SEEN.store(next + 1, Relaxed);
        Some(next)
    });
    match number {
        Some(number) => NUMBER.set(number),
        None => REFUSED.set(true),
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> &'static Slots {
        Box::leak(Box::default())
    }

    fn address(slots: &'static Slots) -> Option<usize> {
        slots.mine().map(|slot| std::ptr::from_ref(slot) as usize)
    }

    #[test]
    fn a_number_is_used_by_one_thread_at_a_time_and_comes_back() {
        let slots = slots();
        let mine = address(slots).expect("few threads");
        let elsewhere = || std::thread::spawn(|| address(slots)).join().expect("no panic");
        assert_ne!(elsewhere(), Some(mine));
        assert_eq!(address(slots), Some(mine));
        // Far more threads than numbers, one after the other.
        for _ in 0..usize::from(MOST_THREADS) + 10 {
            assert!(elsewhere().is_some(), "numbers of ended threads are used again");
        }
    }

    #[test]
    fn each_ledger_has_a_slot_of_its_own_for_a_thread() {
        let (one, other) = (slots(), slots());
        one.mine().expect("few threads").admitted.add(1);
        other.mine().expect("few threads").admitted.add(2);
        let sum = |slots: &Slots| slots.sum(|slot| slot.admitted.value());
        assert_eq!((sum(one), sum(other)), (1, 2));
    }

    #[test]
    fn what_threads_add_and_take_away_is_summed() {
        let slots = slots();
        slots.mine().expect("few threads").buffered.add(5);
        let less = || slots.mine().expect("few threads").buffered.add(0_u64.wrapping_sub(3));
        std::thread::spawn(less).join().expect("no panic");
        assert_eq!(slots.sum(|slot| slot.buffered.value()), 2);
    }
}
