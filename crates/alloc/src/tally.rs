//! What each thread allocates: three numbers, and the arithmetic over them.

use std::{
    cell::Cell,
    sync::atomic::{Ordering, compiler_fence},
};

use plimsoll_core::{MeterMark, MeterUsage};

#[cfg(any(target_os = "linux", target_os = "macos", all(windows, target_env = "msvc")))]
thread_local! {
    // Const and without Drop: such a value needs no registration and no allocation at its first use,
    // and is there until the thread's memory goes, after every destructor that may still free.
    static THREAD: Tally = const { Tally::new() };
}

/// The counters of one thread.
///
/// Arranged so that the common path is short: an allocation lowers `room` and looks at the sign, and
/// only one that makes a new peak does more. What the thread holds is then `peak - room`, and what it
/// has allocated is what it holds and what it has freed. Live bytes are signed, since a thread may
/// free what others allocated. Everything wraps, which takes centuries of allocating.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Tally {
    /// Peak less live; never below zero between two calls.
    room: Cell<i64>,
    /// The highest live since the innermost scope began. Stands between the two that a free changes:
    /// side by side the compiler joins them into one vector, which takes twice the instructions.
    peak: Cell<i64>,
    freed: Cell<i64>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { room: Cell::new(0), peak: Cell::new(0), freed: Cell::new(0) }
    }

    #[inline]
    pub(crate) fn allocated(&self, size: usize) {
        let room = self.room.get().wrapping_sub(signed(size));
        self.room.set(room);
        if room < 0 {
            // Makes the compiler read `room` again, so that above it need not be kept in a register: one
            // subtraction in memory sets the flag that is looked at.
            compiler_fence(Ordering::SeqCst);
            self.peak.set(self.peak.get().wrapping_sub(self.room.get()));
            self.room.set(0);
        }
    }

    #[inline]
    pub(crate) fn freed(&self, size: usize) {
        self.room.set(self.room.get().wrapping_add(signed(size)));
        self.freed.set(self.freed.get().wrapping_add(signed(size)));
    }

    fn live(&self) -> i64 {
        self.peak.get().wrapping_sub(self.room.get())
    }

    pub(crate) fn enter(&self) -> MeterMark {
        let live = self.live();
        let mark = MeterMark::new(live, self.freed.get().cast_unsigned(), self.peak.get());
        self.peak.set(live);
        self.room.set(0);
        mark
    }

    pub(crate) fn leave(&self, mark: MeterMark) -> MeterUsage {
        let live = self.live();
        let reached = self.peak.get();
        let freed = self.freed.get().wrapping_sub(mark.freed_bytes().cast_signed());
        let held = live.wrapping_sub(mark.live_bytes());
        // The scope outside saw this one's peak as well.
        let peak = reached.max(mark.peak_bytes());
        self.peak.set(peak);
        self.room.set(peak.wrapping_sub(live));
        MeterUsage {
            allocated_bytes: at_least_zero(held.wrapping_add(freed)),
            freed_bytes: at_least_zero(freed),
            peak_bytes: at_least_zero(reached.wrapping_sub(mark.live_bytes())),
        }
    }
}

/// Counts for the current thread.
#[cfg(any(target_os = "linux", target_os = "macos", all(windows, target_env = "msvc")))]
#[inline]
pub(crate) fn with<R>(count: impl FnOnce(&Tally) -> R) -> R {
    THREAD.with(count)
}

/// Counts nothing: where the linker has no thread-locals, the standard library allocates them, and an
/// allocator that does so at its first use calls itself. There is then no attribution.
#[cfg(not(any(target_os = "linux", target_os = "macos", all(windows, target_env = "msvc"))))]
pub(crate) fn with<R>(count: impl FnOnce(&Tally) -> R) -> R {
    count(&Tally::new())
}

/// No layout is larger than `isize::MAX`, and what is in use fits the address space.
#[expect(clippy::cast_possible_wrap, reason = "a size is at most isize::MAX")]
fn signed(size: usize) -> i64 {
    size as i64
}

/// Below zero only for scopes that were left out of order.
fn at_least_zero(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests;
