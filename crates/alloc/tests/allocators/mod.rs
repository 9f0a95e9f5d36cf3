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

/// Bytes that mimalloc's pages have, and bytes of the blocks in use in them; for version 3, while no
/// other thread allocates. It tells of all pages of the process' first heap.
#[cfg(feature = "mimalloc")]
#[expect(unsafe_code, reason = "mi_heap_visit_blocks is a C function")]
pub(crate) fn mimalloc_pages() -> Option<(u64, u64)> {
    use std::ffi::c_void;

    /// `mi_heap_area_t` of mimalloc.h.
    #[repr(C)]
    struct Area {
        blocks: *mut c_void,
        reserved: usize,
        committed: usize,
        used: usize,
        block_size: usize,
        full_block_size: usize,
        reserved1: *mut c_void,
    }
    type Visitor =
        extern "C" fn(*const c_void, *const Area, *mut c_void, usize, *mut c_void) -> bool;
    unsafe extern "C" {
        fn mi_heap_main() -> *mut c_void;
        fn mi_heap_visit_blocks(
            heap: *mut c_void,
            visit_blocks: bool,
            visitor: Visitor,
            sum: *mut c_void,
        ) -> bool;
    }
    extern "C" fn add(
        _: *const c_void,
        area: *const Area,
        _: *mut c_void,
        _: usize,
        sum: *mut c_void,
    ) -> bool {
        // SAFETY: mimalloc passes a page's area that lives for this call, and the pointer that was
        // passed to it below.
        let (area, sum) = unsafe { (&*area, &mut *sum.cast::<(u64, u64)>()) };
        sum.0 += area.committed as u64;
        sum.1 += (area.used * area.full_block_size) as u64;
        true
    }
    let mut sum = (0_u64, 0_u64);
    // SAFETY: the main heap is there as soon as anything was allocated; the visitor allocates nothing and
    // outlives the call, as does the sum.
    let visited = unsafe {
        mi_heap_visit_blocks(mi_heap_main(), false, add, std::ptr::from_mut(&mut sum).cast())
    };
    visited.then_some(sum)
}
