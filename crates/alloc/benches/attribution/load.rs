//! Rounds of allocations and frees through an allocator, with and without the counting one over it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    ptr,
};

use plimsoll_alloc::Attributing;

#[cfg(feature = "jemalloc")]
use crate::allocators::OverJemalloc;
#[cfg(feature = "mimalloc")]
use crate::allocators::OverMimalloc;

/// Blocks held at once: more than a thread's cache of glibc keeps, fewer than jemalloc's.
pub(crate) const BLOCKS: usize = 16;

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Alloc,
    Free,
}

impl Operation {
    pub(crate) const ALL: [Self; 2] = [Self::Alloc, Self::Free];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alloc => "alloc",
            Self::Free => "free",
        }
    }

    /// The function whose instructions are its.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Alloc => "allocate_round",
            Self::Free => "free_round",
        }
    }
}

/// An allocator, with the counting one over it or not.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    name: &'static str,
    run: fn(usize, u64),
}

impl Variant {
    pub(crate) fn all() -> Vec<Self> {
        Self::pairs().into_iter().flat_map(|(counted, bare)| [counted, bare]).collect()
    }

    /// Each allocator counted, and bare.
    pub(crate) fn pairs() -> Vec<(Self, Self)> {
        fn pair<A: GlobalAlloc + Default>(
            name: &'static str,
            bare: &'static str,
        ) -> (Variant, Variant) {
            let counted = Variant { name, run: rounds::<Attributing<A>> };
            (counted, Variant { name: bare, run: rounds::<A> })
        }
        vec![
            pair::<System>("system", "bare system"),
            #[cfg(feature = "jemalloc")]
            pair::<OverJemalloc>("jemalloc", "bare jemalloc"),
            #[cfg(feature = "mimalloc")]
            pair::<OverMimalloc>("mimalloc", "bare mimalloc"),
        ]
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|variant| variant.name == name)
    }

    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    pub(crate) fn run(self, size: usize, rounds: u64) {
        (self.run)(size, rounds);
    }
}

fn rounds<A: GlobalAlloc + Default>(size: usize, rounds: u64) {
    let layout = Layout::from_size_align(size, 8).expect("a power of two");
    // The most that is ever held, outside what is counted: a new peak costs more, once.
    let all = [(); BLOCKS].map(|()| allocate::<A>(layout.size(), layout.align()));
    for block in all {
        free::<A>(block, layout.size(), layout.align());
    }
    let mut blocks = [ptr::null_mut(); BLOCKS];
    for _ in 0..rounds {
        allocate_round(black_box(allocate::<A>), layout, &mut blocks);
        free_round(black_box(free::<A>), layout, &mut blocks);
    }
}

// Called by pointer, so that both allocators get all arguments, as they do in a program, and the
// instructions around them are the same.
#[inline(never)]
fn allocate_round(call: Allocate, layout: Layout, blocks: &mut [*mut u8; BLOCKS]) {
    for block in blocks {
        *block = call(layout.size(), layout.align());
    }
}

#[inline(never)]
fn free_round(call: Free, layout: Layout, blocks: &mut [*mut u8; BLOCKS]) {
    for block in blocks {
        call(*block, layout.size(), layout.align());
    }
}

type Allocate = fn(usize, usize) -> *mut u8;
type Free = fn(*mut u8, usize, usize);

/// As the `__rust_alloc` that the compiler makes of a global allocator.
#[expect(unsafe_code, reason = "an allocator is called")]
fn allocate<A: GlobalAlloc + Default>(size: usize, align: usize) -> *mut u8 {
    // SAFETY: taken apart from a layout a moment ago, of a size above zero.
    unsafe { A::default().alloc(Layout::from_size_align_unchecked(size, align)) }
}

/// As `__rust_dealloc`.
#[expect(unsafe_code, reason = "an allocator is called")]
fn free<A: GlobalAlloc + Default>(block: *mut u8, size: usize, align: usize) {
    // SAFETY: as above; and the block is of that layout and of this allocator.
    unsafe { A::default().dealloc(block, Layout::from_size_align_unchecked(size, align)) }
}
