//! The documented call by which an application sets up its allocator, one for each.

use std::time::Duration;

/// Large buffers outside of the heap, and nothing kept at the end of a worker's arena, which no
/// release gives back.
pub fn glibc() {
    plimsoll::alloc::glibc::fix_mmap_threshold(1 << 20);
}

/// Free pages given back in the background.
pub fn jemalloc() {
    plimsoll::alloc::jemalloc::give_back_after(Duration::ZERO);
}

/// No huge pages: a block of a few MB would make up to 4 MB more resident than it has.
pub fn mimalloc() {
    plimsoll::alloc::mimalloc::forbid_huge_pages();
}
