//! What a scope tells where the counting allocator serves the program, over the system's.
//!
//! Alone in its binary: it installs an allocator.

use std::{alloc::System, hint::black_box, thread};

use plimsoll_alloc::{Attributing, attribution};
use plimsoll_core::MeterUsage;

#[global_allocator]
static ALLOCATOR: Attributing<System> = Attributing::new(System);

const KIB: usize = 1024;

/// A thread's counters know nothing of what the other tests do meanwhile.
fn usage_of(work: impl FnOnce()) -> MeterUsage {
    let meter = attribution().expect("installed above");
    let mark = meter.enter();
    work();
    meter.leave(mark)
}

fn bytes(usage: MeterUsage) -> (u64, u64, u64) {
    (usage.allocated_bytes, usage.freed_bytes, usage.peak_bytes)
}

#[test]
fn a_scope_sees_every_size_to_the_byte() {
    for size in [1, 64, 4 * KIB - 1, 4 * KIB, 64 * KIB, 300_001, 1024 * KIB, 4096 * KIB] {
        let mut held = Vec::new();
        let usage = usage_of(|| held = black_box(vec![1_u8; size]));
        assert_eq!(bytes(usage), (size as u64, 0, size as u64));
        let zeroed = usage_of(|| drop(black_box(vec![0_u8; size])));
        assert_eq!(bytes(zeroed), (size as u64, size as u64, size as u64));
        let usage = usage_of(|| drop(held));
        assert_eq!(bytes(usage), (0, size as u64, 0));
    }
}

#[test]
fn the_peak_counts_what_was_freed_before_the_end() {
    let usage = usage_of(|| {
        for _ in 0..10 {
            let large = black_box(vec![1_u8; 1024 * KIB]);
            let small = black_box(vec![1_u8; 64 * KIB]);
            drop(large);
            drop(small);
        }
    });
    let round = (1024 + 64) * KIB as u64;
    assert_eq!(bytes(usage), (10 * round, 10 * round, round));
}

#[test]
fn an_inner_scope_counts_for_the_outer_one_and_not_the_other_way_round() {
    let mut inner = MeterUsage::default();
    let outer = usage_of(|| {
        let held = black_box(vec![1_u8; 300 * KIB]);
        inner = usage_of(|| drop(black_box(vec![1_u8; 200 * KIB])));
        drop(held);
        drop(black_box(vec![1_u8; 400 * KIB]));
    });
    // `usage_of` allocates a few bytes inside the outer scope, to look whether it can.
    let looking = outer.allocated_bytes - 900 * KIB as u64;
    assert!(looking < 256, "{looking}");
    assert_eq!(bytes(inner), (200 * KIB as u64, 200 * KIB as u64, 200 * KIB as u64));
    assert!((500 * KIB as u64..500 * KIB as u64 + 256).contains(&outer.peak_bytes), "{outer:?}");
}

#[test]
fn a_growing_block_counts_by_what_it_grew() {
    let usage = usage_of(|| {
        let mut block: Vec<u8> = Vec::with_capacity(100 * KIB);
        black_box(&mut block).reserve_exact(700 * KIB);
        black_box(&mut block).shrink_to(10 * KIB);
        drop(black_box(block));
    });
    assert_eq!(bytes(usage), (700 * KIB as u64, 700 * KIB as u64, 700 * KIB as u64));
}

#[test]
fn a_block_that_could_not_be_had_is_not_counted() {
    let usage = usage_of(|| {
        let mut block: Vec<u8> = black_box(Vec::new());
        assert!(block.try_reserve_exact(isize::MAX as usize / 2).is_err());
        let mut block: Vec<u8> = black_box(Vec::with_capacity(10));
        assert!(block.try_reserve_exact(isize::MAX as usize / 2).is_err());
    });
    assert_eq!(bytes(usage), (10, 10, 10));
}

#[test]
fn a_thread_that_only_frees_has_freed_and_held_nothing() {
    let blocks: Vec<Vec<u8>> = (0..32).map(|_| black_box(vec![1_u8; 64 * KIB])).collect();
    let freeing = thread::spawn(move || usage_of(|| blocks.into_iter().for_each(drop)));
    let usage = freeing.join().expect("no panic");
    let all = 32 * (64 * KIB + size_of::<Vec<u8>>()) as u64;
    assert_eq!(bytes(usage), (0, all, 0));
}

#[test]
fn what_another_thread_allocates_is_not_in_the_scope() {
    let mut threads = Vec::with_capacity(1);
    let usage = usage_of(|| {
        threads.push(thread::spawn(|| drop(black_box(vec![1_u8; 4096 * KIB]))));
        threads.drain(..).for_each(|thread| thread.join().expect("no panic"));
    });
    // The thread's own handle is.
    assert!(usage.allocated_bytes < 16 * KIB as u64, "{usage:?}");
}

#[test]
fn a_thread_that_frees_while_it_ends_does_no_harm() {
    struct FreesAtTheEnd(Vec<u8>);
    impl Drop for FreesAtTheEnd {
        fn drop(&mut self) {
            let meter = attribution().expect("installed above");
            let mark = meter.enter();
            self.0 = black_box(vec![1_u8; 64 * KIB]);
            assert_eq!(meter.leave(mark).allocated_bytes, 64 * KIB as u64);
        }
    }
    thread_local! {
        static HELD: FreesAtTheEnd = FreesAtTheEnd(vec![1; 64]);
    }
    thread::spawn(|| HELD.with(|held| assert_eq!(held.0.len(), 64))).join().expect("no panic");
}
