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

/// mimalloc's heap: the release of its free pages. A release backend and not an allocator: that is
/// `mimalloc::MiMalloc`.
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
    /// ended, and on all that threads have handed back to the process.
    ///
    /// On version 3 a thread hands back every page (64 KiB or more) that is wholly free, and so a release
    /// on any thread does all that can be done: of 256 MiB freed by two other threads 7 to 13 MiB were left
    /// 1 to 3 ms later, whichever had allocated them and whether they were idle or not. On version 2
    /// a thread keeps what is free within its segments of 32 MiB and gives it back only while it
    /// allocates and frees, or in a release on that thread: of 128 MiB that an idle thread had freed 30 were
    /// left by a release on another, none by its own. There, call this from a runtime's hook for
    /// threads that go to sleep as well, such as tokio's `on_thread_park`.
    ///
    /// Neither version gives back a page with one survivor: with a tenth of the blocks kept at random
    /// 188 of 262 MiB stay for blocks of 1 to 64 KiB, and all for 1 KiB (`examples/release.rs`).
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

/// Keeps the kernel from backing this process with huge pages, and says whether it took that.
///
/// mimalloc asks for huge pages (`madvise`) wherever the system leaves the choice to programs,
/// which is the setting of most. A block that only begins or ends inside one makes all of its 2 MiB resident:
/// of requests that hold 4 MB each, 43 showed as 212 MB, and a guard that keeps to a line served 0.83
/// of what fits. With this call they were 53, and 0.98. In a container with a tight limit it is worth it;
/// what is paid is page faults, one for each 4 KiB in place of one for each 2 MiB.
///
/// It acts at once, on memory that mimalloc has already reserved too, which is why it is not the
/// option `allow_thp`: mimalloc reads that one when it reserves memory, and has done so before
/// `main`. (`MIMALLOC_ALLOW_THP=0` in the environment and the feature `no_thp` of `libmimalloc-sys` are in time; the
/// former makes the same system call.) Pages that are huge by then stay so.
///
/// It acts on the whole process, whichever allocator the memory is from, and is inherited by the
/// programs that it starts (`PR_SET_THP_DISABLE` of prctl(2)). So it is for the application to call,
/// first thing in `main`. False on systems other than Linux, and where it is not allowed.
///
/// ```
/// # #[cfg(target_os = "linux")]
/// assert!(plimsoll_alloc::mimalloc::forbid_huge_pages());
/// ```
#[cfg_attr(target_os = "linux", expect(unsafe_code, reason = "prctl is a C function"))]
pub fn forbid_huge_pages() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ON: libc::c_ulong = 1;
        // The kernel insists on zeros in the rest, which are words.
        const NONE: libc::c_ulong = 0;
        // SAFETY: takes no pointer; it sets a flag of the process that changes which pages the kernel
        // gives it, not what is in them.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, ON, NONE, NONE, NONE) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}
