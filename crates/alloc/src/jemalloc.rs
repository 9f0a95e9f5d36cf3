//! jemalloc, where the application has made it the program's allocator.
//!
//! Called through `tikv-jemalloc-sys`, of which a program has one copy: that of
//! `tikv-jemallocator`, with or without the prefix on its symbols. `tikv-jemalloc-ctl` is not used: a
//! purge is a control without a value, which it cannot call.

use std::{
    ffi::{CStr, c_char, c_uint, c_void},
    hint::black_box,
    mem, ptr,
    time::Duration,
};

use plimsoll_core::{HeapFigures, HeapSource, ReleaseBackend};
use tikv_jemalloc_sys::mallctl;

/// jemalloc's heap: its figures and the release of its free pages. A release backend and not an
/// allocator: that is `tikv_jemallocator::Jemalloc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jemalloc;

/// Gives back all free pages of all arenas: 4096 is `MALLCTL_ARENAS_ALL` of jemalloc.h.
const PURGE_ALL: &CStr = c"arena.4096.purge";
/// What [`Jemalloc::serves_this_program`] allocates to see whether it is counted.
const PROBE_BYTES: usize = 4096;

impl Jemalloc {
    /// Says whether Rust code of this program allocates from jemalloc, by allocating a block and
    /// looking whether jemalloc counted it for this thread.
    pub fn serves_this_program(&self) -> bool {
        let Some(before) = read::<u64>(c"thread.allocated") else {
            return false;
        };
        // Seen from outside, so the compiler cannot leave it out.
        let block = black_box(Vec::<u8>::with_capacity(black_box(PROBE_BYTES)));
        let after = read::<u64>(c"thread.allocated");
        drop(block);
        after.is_some_and(|after| after.wrapping_sub(before) >= PROBE_BYTES as u64)
    }
}

impl HeapSource for Jemalloc {
    /// Reads `stats.allocated` and `stats.resident` as of now (jemalloc(3)); resident is the most that
    /// may be, in pages that hold data, are free and not given back, or serve jemalloc itself.
    ///
    /// Asking for figures as of now (`epoch`) adds up all arenas. Blocks that a thread keeps in its own
    /// cache count as allocated.
    fn figures(&self) -> Option<HeapFigures> {
        write(c"epoch", 1_u64).then_some(())?;
        let figure = |name| read::<usize>(name).and_then(|bytes| u64::try_from(bytes).ok());
        Some(HeapFigures::new(figure(c"stats.allocated")?, figure(c"stats.resident")?))
    }
}

impl ReleaseBackend for Jemalloc {
    fn name(&self) -> &'static str {
        "jemalloc"
    }

    /// Purges all arenas, of whichever thread. What threads keep in their own caches stays.
    #[expect(unsafe_code, reason = "mallctl is a C function")]
    fn release(&self) {
        // SAFETY: the name is a C string and the control takes no value and returns none, which null
        // stands for. It takes the locks that it needs; its pages hold no allocation.
        let failed = unsafe {
            mallctl(PURGE_ALL.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0)
        };
        debug_assert_eq!(failed, 0, "jemalloc does not know {PURGE_ALL:?}");
    }

    fn heap(&self) -> Option<HeapFigures> {
        self.figures()
    }
}

/// Makes jemalloc give free pages back by itself once they were free for `decay`, on threads of its
/// own, and says whether it took it.
///
/// Without it a thread gives pages back only while it allocates and frees: the resident set of one
/// that has become idle stays up. Zero gives pages back as soon as they are free, for the page faults of
/// the next allocation. It acts on the whole process, so it is for the application to call, best
/// first thing in `main`. False, and the decay is as it was, where jemalloc was built without background
/// threads (musl).
pub fn give_back_after(decay: Duration) -> bool {
    let Ok(decay) = isize::try_from(decay.as_millis()) else {
        return false;
    };
    if !write(c"background_thread", true) {
        return false;
    }
    let Some(arenas) = read::<c_uint>(c"arenas.narenas") else {
        return false;
    };
    // For those to come, and then for those that are; an arena that nobody has used yet is not.
    let mut taken = true;
    for kind in ["dirty", "muzzy"] {
        taken &= write_named(&format!("arenas.{kind}_decay_ms\0"), decay);
        for arena in 0..arenas {
            write_named(&format!("arena.{arena}.{kind}_decay_ms\0"), decay);
        }
    }
    taken
}

fn write_named(name: &str, value: isize) -> bool {
    CStr::from_bytes_with_nul(name.as_bytes()).is_ok_and(|name| write(name, value))
}

/// Numbers of jemalloc's controls: valid whatever bytes are in them.
trait Number: Copy + Default {}
impl Number for c_uint {}
impl Number for u64 {}
impl Number for usize {}

/// Reads a control; `None` where jemalloc has none of that name and size.
#[expect(unsafe_code, reason = "mallctl is a C function")]
fn read<T: Number>(name: &CStr) -> Option<T> {
    let mut value = T::default();
    let mut size = mem::size_of::<T>();
    let name: *const c_char = name.as_ptr();
    // SAFETY: the name is a C string. jemalloc writes at most `size` bytes to `value`, which has as many,
    // and refuses where the control has another size; nothing is written to the control.
    let failed = unsafe {
        mallctl(name, ptr::from_mut(&mut value).cast::<c_void>(), &mut size, ptr::null_mut(), 0)
    };
    (failed == 0 && size == mem::size_of::<T>()).then_some(value)
}

/// Writes a control; false where jemalloc has none of that name and size, or refuses.
#[expect(unsafe_code, reason = "mallctl is a C function")]
fn write<T: Copy>(name: &CStr, mut value: T) -> bool {
    let new = ptr::from_mut(&mut value).cast::<c_void>();
    let size = mem::size_of::<T>();
    // SAFETY: the name is a C string. jemalloc reads `size` bytes from `value`, which has as many, and
    // refuses where the control has another size; it reports nothing back.
    unsafe { mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), new, size) == 0 }
}
