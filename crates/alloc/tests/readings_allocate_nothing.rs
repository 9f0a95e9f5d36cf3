//! A reading of the system source allocates nothing, limits and membership included.
//!
//! Lives here because counting needs an allocator, and this is the crate that may hold one.
#![cfg(target_os = "linux")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread, since the test harness has threads of its own.
struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: hands every call to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn a_reading_allocates_nothing() {
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::detect().expect("procfs").clock(clock.clone());
    let before = allocations();
    for _ in 0..100 {
        // Far enough for the limits and the membership to be due each time.
        clock.advance(Duration::from_secs(10));
        source.read().expect("readable");
    }
    assert_eq!(allocations() - before, 0);

    // The count works.
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1);
}
