//! mimalloc, where the application has made it the program's allocator.
//!
//! Called through `libmimalloc-sys`, of which a program has one copy: that of the crate `mimalloc`,
//! version 3 of mimalloc unless that crate's feature `v2` is on.
//!
//! There are no heap figures: in a release build mimalloc does not count what the program holds,
//! and what its `mi_process_info` calls current resident memory on Linux is what it has committed.

use std::{ffi::c_long, hint::black_box, time::Duration};

use libmimalloc_sys::{
    mi_collect, mi_is_in_heap_region, mi_option_set, mi_option_t, mi_thread_init,
};
use plimsoll_core::ReleaseBackend;

/// mimalloc's heap: the release of its free pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mimalloc;

/// What [`Mimalloc::serves_this_program`] allocates to see whose it is.
const PROBE_BYTES: usize = 4096;

impl Mimalloc {
    /// Says whether Rust code of this program allocates from mimalloc, by allocating a block and asking
    /// mimalloc whether it is one of its own.
    #[expect(unsafe_code, reason = "mi_is_in_heap_region is a C function")]
    pub fn serves_this_program(&self) -> bool {
        // Seen from outside, so the compiler cannot leave it out.
        let block = black_box(Vec::<u8>::with_capacity(black_box(PROBE_BYTES)));
        // SAFETY: looks the address up in mimalloc's own map, whoever's it is, and does not follow it.
        unsafe { mi_is_in_heap_region(block.as_ptr().cast()) }
    }
}

impl ReleaseBackend for Mimalloc {
    fn name(&self) -> &'static str {
        "mimalloc"
    }

    /// Calls `mi_collect(true)`, which works on the heap of the calling thread, on pages whose thread has
    /// ended, and on whole free pages of all threads.
    ///
    /// On version 3 that is what other threads have freed as well, idle or not: of 256 MiB that two
    /// of them had freed 7 to 13 MiB were left, 1 to 3 ms later. On version 2 a thread keeps free pages in
    /// segments of its own, and gives them back only while it allocates and frees, or in a release that runs
    /// on it: call this from a runtime's hook for threads that go to sleep, such as tokio's
    /// `on_thread_park`. Neither gives back a page of 64 KiB or more that holds one survivor: with a tenth of
    /// the blocks kept at random, 188 of 262 MiB stay for blocks of 1 to 64 KiB, and all for 1 KiB.
    #[expect(unsafe_code, reason = "mi_thread_init and mi_collect are C functions")]
    fn release(&self) {
        // SAFETY: takes no pointer and may be called at any time, again as well. A thread that has not
        // allocated yet has no heap, and collecting none does nothing at all.
        unsafe { mi_thread_init() };
        // SAFETY: takes no pointer; works on the calling thread's heap and, under mimalloc's own guards,
        // on what no heap owns.
        unsafe { mi_collect(true) };
    }
}

/// `mi_option_purge_delay` of mimalloc.h, versions 2 and 3; libmimalloc-sys does not name it.
const PURGE_DELAY: mi_option_t = 15;

/// Makes mimalloc give pages back that were free for `delay`, rather than for a second (version 3) or
/// 10 ms (version 2). Zero gives them back as they are freed, by whichever thread.
///
/// A delay above zero is looked at by threads that allocate and free; when all are idle, it is for a
/// release. Zero needs neither, and is dear: a block of 1 MiB that is allocated, touched page by page
/// and freed takes 0.75 ms in place of 1 µs, sixteen of 64 KiB each 18 µs in place of 0.1, all of it
/// page faults. It suits a program on version 2 that cannot release on its own threads; with version 3,
/// releases do the same for less.
///
/// It acts on the whole process, so it is for the application to call, first thing in `main`: with
/// zero mimalloc no longer looks for what was freed before, and neither does a release.
#[expect(unsafe_code, reason = "mi_option_set is a C function")]
pub fn purge_after(delay: Duration) {
    let millis = c_long::try_from(delay.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: takes no pointer, and the option exists. It stores one number, which other threads read
    // unlocked: they see the old one or the new one, and both are valid.
    unsafe { mi_option_set(PURGE_DELAY, millis) }
}
