//! An allocator over another that counts what each thread allocates.

use std::{
    alloc::{GlobalAlloc, Layout},
    hint::black_box,
    sync::Arc,
};

use plimsoll_core::{AllocationMeter, MeterMark, MeterUsage};

use crate::tally;

/// Counts, thread by thread, what passes through to the allocator `A`.
///
/// The application installs it over the allocator that it would use anyway; no library does. Then
/// [`attribution`] is there, and a request's memory can be told without a word in its handler.
///
/// ```
/// use std::alloc::System;
///
/// use plimsoll_alloc::Attributing;
///
/// #[global_allocator]
/// static ALLOCATOR: Attributing<System> = Attributing::new(System);
///
/// let meter = plimsoll_alloc::attribution().expect("installed above");
/// let mark = meter.enter();
/// drop(std::hint::black_box(vec![1_u8; 1_000_000]));
/// let usage = meter.leave(mark);
/// assert_eq!((usage.allocated_bytes, usage.freed_bytes), (1_000_000, 1_000_000));
/// assert_eq!(usage.peak_bytes, 1_000_000);
/// ```
///
/// Each block costs a few instructions on the thread's own memory: no atomic, no lock, no header
/// in front of the block, no allocation. Sizes are those that the program asked for. A block that
/// is grown counts by the difference; while the allocator copies it, both copies may be there, which
/// the peak does not show. A failed allocation is not counted, unless it is smaller than 4 KiB: those
/// are counted before they are made, which is what keeps the path short, and when one of them fails a
/// program has other worries.
///
/// What it cannot see: who allocated a block that is freed (the thread that frees it has freed it),
/// memory that C libraries allocate, and work that a request hands to another thread or task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributing<A> {
    inner: A,
}

/// From this size on a block is counted once it is there. Smaller ones are counted before: the call
/// into the allocator is then the last thing, with nothing to keep for afterwards. What a failure
/// leaves wrong is less than this.
const COUNTED_AFTERWARDS_BYTES: usize = 4096;

impl<A> Attributing<A> {
    /// Counts over `inner`.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call goes to `inner` with the arguments unchanged and its answer comes back unchanged, so
// what `inner` promises holds. Counting touches a thread-local without destructor, so it neither
// allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Attributing<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        counted(layout.size(), || unsafe { self.inner.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above. The inner allocator's own: it may know that fresh pages are zero.
        counted(layout.size(), || unsafe { self.inner.alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        tally::with(|tally| tally.freed(layout.size()));
        // SAFETY: as above.
        unsafe { self.inner.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above. The inner allocator's own: it may grow a block where it is.
        let moved = unsafe { self.inner.realloc(block, layout, size) };
        if !moved.is_null() {
            let before = layout.size();
            tally::with(|tally| match size.checked_sub(before) {
                Some(more) => tally.allocated(more),
                None => tally.freed(before - size),
            });
        }
        moved
    }
}

#[inline]
fn counted(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    if size >= COUNTED_AFTERWARDS_BYTES {
        return counted_afterwards(size, allocate);
    }
    tally::with(|tally| tally.allocated(size));
    allocate()
}

/// Apart, so that the path of small blocks keeps no stack frame for it.
#[inline(never)]
fn counted_afterwards(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    let block = allocate();
    if !block.is_null() {
        tally::with(|tally| tally.allocated(size));
    }
    block
}

/// Reads what [`Attributing`] counted for the current thread; see [`attribution`].
#[derive(Clone, Debug)]
pub struct Attribution {
    // Made by `attribution` alone, so that one that exists has something to read.
    _installed: (),
}

impl AllocationMeter for Attribution {
    fn enter(&self) -> MeterMark {
        tally::with(tally::Tally::enter)
    }

    fn leave(&self, mark: MeterMark) -> MeterUsage {
        tally::with(|tally| tally.leave(mark))
    }
}

/// The meter of this program, where [`Attributing`] is its global allocator.
///
/// `None` where it is not: what nobody counts is unknown, not zero. Found out by allocating a
/// block and looking whether it was counted.
pub fn attribution() -> Option<Arc<dyn AllocationMeter>> {
    const PROBE_BYTES: usize = 64;
    let mark = tally::with(tally::Tally::enter);
    // Seen from outside, so the compiler cannot leave it out.
    drop(black_box(Vec::<u8>::with_capacity(black_box(PROBE_BYTES))));
    let seen = tally::with(|tally| tally.leave(mark));
    (seen.allocated_bytes >= PROBE_BYTES as u64)
        .then(|| Arc::new(Attribution { _installed: () }) as Arc<dyn AllocationMeter>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_not_installed_there_is_no_attribution() {
        assert!(attribution().is_none());
    }
}
