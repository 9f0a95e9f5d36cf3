//! What a thread frees at the end of its arena stays through a release, unless the threshold is fixed.
//!
//! Alone in its binary: the setting is that of the process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::{hint::black_box, sync::mpsc, thread};

use plimsoll_alloc::{Glibc, glibc::fix_mmap_threshold};
use plimsoll_core::{MemorySource, ReleaseBackend};
use plimsoll_sources::SystemSource;

const MIB: u64 = 1024 * 1024;
const BLOCKS: usize = 3;
const BLOCK_BYTES: usize = 2 << 20;

fn rss(source: &mut SystemSource) -> u64 {
    source.read().expect("procfs").rss_bytes.expect("statm")
}

/// Bytes still resident after this thread, which has an arena of its own, has freed all that it had,
/// and a release.
fn left_by_this_thread() -> u64 {
    let mut source = SystemSource::detect().expect("procfs");
    // Freeing one such block raises both thresholds, where they are not fixed.
    drop(black_box(vec![1_u8; 4 << 20]));
    let before = rss(&mut source);
    let blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| black_box(vec![1_u8; BLOCK_BYTES])).collect();
    assert!(rss(&mut source) - before > 5 * MIB);
    drop(blocks);
    Glibc.release();
    rss(&mut source).saturating_sub(before)
}

#[test]
fn the_end_of_a_threads_arena_stays_through_a_release_and_goes_at_once_when_fixed() {
    let (tell, told) = mpsc::channel();
    let (stay, go) = mpsc::channel::<()>();
    let control = thread::spawn(move || {
        let _ = tell.send(left_by_this_thread());
        // Stays until the other is done, which would take over its arena and what is in it.
        let _ = go.recv();
    });
    let left = told.recv().expect("no panic");
    assert!(left > 5 * MIB, "control: only {left} bytes stayed resident");

    assert!(fix_mmap_threshold(1 << 20));
    let left = thread::spawn(left_by_this_thread).join().expect("no panic");
    assert!(left < MIB, "{left} bytes stayed resident");
    drop(stay);
    control.join().expect("no panic");
}
