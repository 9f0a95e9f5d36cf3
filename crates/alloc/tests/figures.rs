//! The figures of glibc's heap follow what the program holds.
//!
//! Alone in its binary: the heap is that of the process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::hint::black_box;

use plimsoll_alloc::Glibc;
use plimsoll_core::{HeapFigures, HeapSource};

const MIB: u64 = 1024 * 1024;

#[test]
fn figures_follow_small_and_large_blocks() {
    // Rust code allocates from glibc unless told otherwise.
    assert_eq!(Glibc.serves_this_program(), Glibc.figures().is_some());
    let Some(heap) = plimsoll_alloc::system_heap() else {
        return eprintln!("skipped: no mallinfo2 (glibc before 2.33, or linked statically)");
    };
    let figures = || -> HeapFigures { heap.figures().expect("told a moment ago") };

    let idle = figures();
    assert!(idle.resident_bytes < 4 * MIB, "finding out left its traces: {idle:?}");
    let small: Vec<Box<[u8]>> = (0..32 * 1024).map(|_| vec![1; 1024].into_boxed_slice()).collect();
    let small = black_box(small);
    let with_small = figures();
    assert_grown(idle.allocated_bytes, with_small.allocated_bytes, 32);
    assert_grown(idle.resident_bytes, with_small.resident_bytes, 32);

    // Large enough for a mapping of its own.
    let large = black_box(vec![1_u8; 64 << 20]);
    let with_both = figures();
    assert_grown(with_small.allocated_bytes, with_both.allocated_bytes, 64);
    assert_grown(with_small.resident_bytes, with_both.resident_bytes, 64);

    drop((small, large));
    let freed = figures();
    assert!(freed.allocated_bytes < idle.allocated_bytes + MIB, "{freed:?}, idle {idle:?}");
    assert!(freed.allocated_bytes <= freed.resident_bytes, "{freed:?}");
}

#[track_caller]
fn assert_grown(before: u64, after: u64, mib: u64) {
    let grown = after.saturating_sub(before);
    // Headers take 16 of 1040 bytes, and an arena grows by 132 KiB or more at a time.
    assert!((mib * MIB..(mib + 3) * MIB).contains(&grown), "{mib} MiB held, {grown} bytes more");
}
