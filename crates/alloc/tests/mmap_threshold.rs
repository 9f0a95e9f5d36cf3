//! A fixed mmap threshold sends large blocks straight back to the system.
//!
//! Alone in its binary: the setting is that of the process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::hint::black_box;

use plimsoll_alloc::glibc::fix_mmap_threshold;
use plimsoll_core::MemorySource;
use plimsoll_sources::SystemSource;

const MIB: u64 = 1024 * 1024;

fn rss(source: &mut SystemSource) -> u64 {
    source.read().expect("procfs").rss_bytes.expect("statm")
}

/// Bytes still resident after 32 blocks of 2 MiB, one small block above each, lost the large ones.
fn left_resident(source: &mut SystemSource) -> u64 {
    let before = rss(source);
    let (large, small): (Vec<_>, Vec<_>) =
        (0..32).map(|_| (black_box(vec![1_u8; 2 << 20]), black_box(vec![1_u8; 4096]))).unzip();
    assert!(rss(source) - before > 60 * MIB);
    drop(large);
    let left = rss(source).saturating_sub(before);
    drop(small);
    left
}

#[test]
fn large_blocks_stay_resident_by_default_and_go_at_once_when_fixed() {
    let mut source = SystemSource::detect().expect("procfs");
    // Freeing one such block teaches glibc to take the next ones from the heap.
    drop(black_box(vec![1_u8; 4 << 20]));
    let left = left_resident(&mut source);
    assert!(left > 32 * MIB, "control: only {left} bytes stayed resident");

    assert!(!fix_mmap_threshold(1 << 30), "glibc takes 32 MiB at most");
    assert!(!fix_mmap_threshold(usize::MAX));
    let left = left_resident(&mut source);
    assert!(left > 32 * MIB, "a refusal changed something: {left} bytes stayed resident");

    assert!(fix_mmap_threshold(1 << 20));
    drop(black_box(vec![1_u8; 4 << 20]));
    let left = left_resident(&mut source);
    assert!(left < 4 * MIB, "{left} bytes stayed resident");
}
