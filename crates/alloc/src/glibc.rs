//! glibc's malloc: the allocator of a Rust program on most Linux systems that chooses no other.

use std::{
    ffi::{c_int, c_long},
    hint::black_box,
    mem,
};

use plimsoll_core::{HeapFigures, HeapSource, ReleaseBackend};

/// glibc's heap: its figures and the release of its free pages. A release backend and not an
/// allocator: that is `std::alloc::System`.
///
/// ```
/// use plimsoll_alloc::Glibc;
/// use plimsoll_core::{HeapSource, ReleaseBackend};
///
/// let before = Glibc.figures().expect("glibc 2.33 or later, linked dynamically");
/// let held = vec![1_u8; 1_000_000];
/// let after = Glibc.figures().expect("as before");
/// assert!(after.allocated_bytes >= before.allocated_bytes + 1_000_000);
/// drop(held);
/// Glibc.release();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Glibc;

/// What [`Glibc::serves_this_program`] allocates to see where it lands. Above 32 MiB, since freeing a
/// smaller mapped block would raise glibc's threshold for mapping; and more than other threads allocate
/// or free in the microseconds between the two looks.
const PROBE_BYTES: usize = 40 << 20;
/// Looks that have to miss the block before it is believed to be elsewhere.
const PROBES: usize = 3;

/// `DEFAULT_MMAP_THRESHOLD_MAX` of mallopt(3).
const MMAP_THRESHOLD_MAX_BYTES: usize = if cfg!(target_pointer_width = "32") {
    512 * 1024
} else {
    4 * 1024 * 1024 * mem::size_of::<c_long>()
};

impl Glibc {
    /// Says whether Rust code of this program allocates from glibc, by allocating 40 MiB (untouched,
    /// so nearly free) and looking for them. False too where [`HeapSource::figures`] tells nothing.
    pub fn serves_this_program(&self) -> bool {
        (0..PROBES).any(|_| self.sees_a_block().unwrap_or(false))
    }

    /// Says whether `malloc` is glibc's in this program, which its C libraries allocate from; in the
    /// same way. A program may have put another in its place (jemalloc without a prefix on its symbols,
    /// `LD_PRELOAD`), and then glibc's heap is empty and a release of it is none. True where the
    /// figures tell nothing: releasing an empty heap does no harm.
    pub fn serves_c_libraries(&self) -> bool {
        let probe = || self.sees(CBlock::new);
        (0..PROBES).map(|_| probe()).any(|seen| seen.unwrap_or(true))
    }

    fn sees_a_block(self) -> Option<bool> {
        self.sees(|| {
            let mut block: Vec<u8> = Vec::new();
            block.try_reserve_exact(PROBE_BYTES).ok()?;
            Some(block)
        })
    }

    /// Whether the heap grows by a block of the probe's size while `allocate`'s is there.
    fn sees<B>(self, allocate: impl FnOnce() -> Option<B>) -> Option<bool> {
        let before = self.figures()?.allocated_bytes;
        // Keeps the compiler from leaving out an allocation that nobody uses.
        let block = black_box(allocate()?);
        let after = self.figures()?.allocated_bytes;
        drop(block);
        let seen = usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX);
        Some(seen >= PROBE_BYTES / 2)
    }
}

/// A block of the probe's size from `malloc`, as a C library gets it.
struct CBlock(*mut libc::c_void);

impl CBlock {
    #[expect(unsafe_code, reason = "malloc is a C function")]
    fn new() -> Option<Self> {
        // SAFETY: may be called at any time, with any size.
        let block = unsafe { libc::malloc(PROBE_BYTES) };
        (!block.is_null()).then_some(Self(block))
    }
}

impl Drop for CBlock {
    #[expect(unsafe_code, reason = "free is a C function")]
    fn drop(&mut self) {
        // SAFETY: came from `malloc`, and is freed once.
        unsafe { libc::free(self.0) };
    }
}

impl HeapSource for Glibc {
    /// Reads `mallinfo2`, which sums all arenas: allocated = `uordblks + hblkhd`, resident =
    /// `arena + hblkhd` (mallinfo(3): bytes in use, in blocks mapped one by one, and taken from the
    /// system otherwise).
    ///
    /// Freed blocks that a thread keeps in its own cache count as allocated. The resident figure is
    /// an upper bound: pages never touched, or given back inside an arena, count.
    ///
    /// `None` before glibc 2.33, which has no such call (`mallinfo` wraps at 4 GiB), and in a program
    /// that links glibc statically, where it cannot be looked up.
    fn figures(&self) -> Option<HeapFigures> {
        let info = mallinfo2()?;
        let sum = |one: usize, other: usize| u64::try_from(one.saturating_add(other)).ok();
        Some(HeapFigures::new(sum(info.uordblks, info.hblkhd)?, sum(info.arena, info.hblkhd)?))
    }
}

impl ReleaseBackend for Glibc {
    fn name(&self) -> &'static str {
        "glibc"
    }

    /// Calls `malloc_trim(0)`: gives back every whole free page between the blocks of every arena
    /// (malloc_trim(3), glibc 2.8 and later), and what is free at the end of the main one.
    ///
    /// What is free at the end of another arena stays, and each thread but the first has another: `mtrim` in
    /// glibc's malloc.c goes over the bins, in which the last chunk of an arena is not, and `systrim` is for the main
    /// arena. Only a `free` shrinks the others (`heap_trim` in arena.c), and only from the trim
    /// threshold on, which glibc raises with the mmap threshold to twice the largest mapped block that
    /// was freed: after one of 4 MiB each such arena may keep 8 MiB for ever, after one of 32 MiB all of its 64.
    /// Three blocks of 2 MiB that a thread freed stayed resident through a release (6144 of 6144 KiB), as
    /// did fifteen of 512 KiB (7680 of 7680). [`fix_mmap_threshold`] is what helps.
    ///
    /// Holds the lock of one arena at a time meanwhile, and the threads of that arena wait as soon as
    /// they need more than their own caches hold. There is no way to have it do less: it always goes over
    /// every free block, and gives back again what it has given back before. So what a thread waits is
    /// bounded only by how often it is called and by what the heap looks like. Measured with glibc 2.36
    /// on two arenas, in time of the release on its processor (`examples/release.rs`; a busy machine
    /// doubles or triples it), after 90 % of the blocks were freed at random:
    ///
    /// | heap | first, blocks of 1 to 64 KiB | at once again | first, blocks of 1 KiB | at once again |
    /// |---|---|---|---|---|
    /// | 64 MiB | 3 ms | 0.2 ms | 11 to 25 ms | 1.7 ms |
    /// | 128 MiB | 6 ms | 0.4 ms | 23 to 25 ms | 3.8 ms |
    /// | 256 MiB | 12 ms | 0.7 ms | 38 to 44 ms | 7.8 ms |
    /// | 1 GiB | 50 to 64 ms | 3.6 ms | 133 to 138 ms | 36 ms |
    ///
    /// About 0.05 ms for each MiB of middling blocks and 0.13 of small ones, a half of it under each lock.
    /// Threads that must not wait 10 ms want a release for each 64 MiB or so that is freed in an arena, and
    /// no more than some 500 MiB of small blocks in use; beyond that, another allocator. Large
    /// buffers are best kept out of the heap: [`fix_mmap_threshold`].
    #[expect(unsafe_code, reason = "malloc_trim is a C function")]
    fn release(&self) {
        // SAFETY: MT-Safe by its manual page, takes no pointer, and touches only pages that hold no
        // block in use.
        unsafe { libc::malloc_trim(0) };
    }

    fn heap(&self) -> Option<HeapFigures> {
        self.figures()
    }
}

/// Makes every allocation of `bytes` or more a mapping of its own, which goes back to the system as
/// soon as it is freed, and says whether glibc took it.
///
/// glibc starts with 128 KiB and raises the threshold each time such a block is freed, to 32 MiB at
/// most; from then on large buffers come from the heap and stay resident when they are freed. Fixing
/// it keeps them out of the resident set, for a few microseconds and page faults at each allocation.
/// 1 MiB suits a server whose request bodies are a few MB.
///
/// It fixes the trim threshold as well, at 128 KiB: a thread's arena no longer keeps more than some 200 KiB
/// free at its end, which no release would give back. Of the 6144 and 7680 KiB in the documentation of
/// [`Glibc`]'s release 64 and 192 were left, without one. So this is what is best for a server
/// with a limit. Its price, measured with glibc 2.36: a block of 2 MiB that is allocated, touched page by page and freed
/// takes 1.2 ms in place of 3 µs, and one of 512 KiB at the end of an arena 0.3 ms in place of 0.4 µs, all of
/// it page faults. (`M_TRIM_THRESHOLD` or `M_TOP_PAD` alone do the same, since setting any of the three
/// stops glibc from adjusting the others, and leave the mmap threshold at 128 KiB: more blocks are dear.)
///
/// It acts on the whole process, so it is for the application to call, best first thing in `main`: a
/// trim threshold that was raised before stays.
/// False, and nothing changes, above glibc's upper limit of 32 MiB (512 KiB on 32-bit systems; see
/// mallopt(3)).
///
/// ```
/// assert!(plimsoll_alloc::glibc::fix_mmap_threshold(1 << 20));
/// ```
#[expect(unsafe_code, reason = "mallopt is a C function")]
pub fn fix_mmap_threshold(bytes: usize) -> bool {
    // Checked here as well: glibc has taken any value since it sizes its heaps by the page size.
    let bytes = match c_int::try_from(bytes) {
        Ok(value) if bytes <= MMAP_THRESHOLD_MAX_BYTES => value,
        _ => return false,
    };
    // SAFETY: takes no pointer. It stores two words of malloc's parameters under the lock of the main
    // arena; other threads read them unlocked, as they do when glibc itself stores the same words
    // from `free`, so a thread sees the old value or the new one and both are valid.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) == 1 }
}

/// Calls `mallinfo2` where the C library has it. Looked up by name: a direct call would not link
/// before glibc 2.33, which distributions in support still ship.
#[expect(unsafe_code, reason = "dlsym and mallinfo2 are C functions")]
fn mallinfo2() -> Option<libc::mallinfo2> {
    // SAFETY: the name is a C string, and the default scope needs no handle to be open.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
    if symbol.is_null() {
        return None;
    }
    // SAFETY: not null, so it is the function of that name, whose type malloc.h fixes as
    // `struct mallinfo2 mallinfo2(void)`; function pointers have the size of data pointers here.
    let call = unsafe {
        mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> libc::mallinfo2>(symbol)
    };
    // SAFETY: takes the locks that it needs and returns a plain struct by value. Its manual page
    // warns of concurrent `mallopt` only, which changes settings that it does not read.
    Some(unsafe { call() })
}
