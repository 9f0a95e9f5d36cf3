//! As little of a global allocator over jemalloc and mimalloc as tests and measurements need.
//!
//! Programs have the crates `tikv-jemallocator` and `mimalloc`, which sit on the same C code. Those would
//! be built with every test run, since a development dependency cannot be optional.
#![allow(dead_code, reason = "shared by programs that need one of them")]

use std::alloc::{GlobalAlloc, Layout};

#[cfg(feature = "jemalloc")]
#[derive(Default)]
pub(crate) struct OverJemalloc;

#[cfg(feature = "jemalloc")]
#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: jemalloc's own calls with the size and alignment that the layout demands; null when it has none.
unsafe impl GlobalAlloc for OverJemalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let flags = tikv_jemalloc_sys::MALLOCX_ALIGN(layout.align());
        // SAFETY: the size is not zero, by the caller's promise, and the alignment is a power of two.
        unsafe { tikv_jemalloc_sys::mallocx(layout.size(), flags).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let flags = tikv_jemalloc_sys::MALLOCX_ALIGN(layout.align());
        // SAFETY: came from `alloc` with the same layout, by the caller's promise.
        unsafe { tikv_jemalloc_sys::sdallocx(block.cast(), layout.size(), flags) }
    }
}

#[cfg(feature = "mimalloc")]
#[derive(Default)]
pub(crate) struct OverMimalloc;

#[cfg(feature = "mimalloc")]
#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: mimalloc's own calls with the size and alignment that the layout demands; null when it has none.
unsafe impl GlobalAlloc for OverMimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment is a power of two.
        unsafe { libmimalloc_sys::mi_malloc_aligned(layout.size(), layout.align()).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: came from `alloc`, by the caller's promise.
        unsafe { libmimalloc_sys::mi_free(block.cast()) }
    }
}
