//! What a release gives back of what other threads freed, how long it takes, and for how long it stops them.
//!
//! `cargo run --release -p plimsoll-alloc --example release -- SHAPE MIB FREED%`, where the shape is
//! `small` (1 KiB), `mixed` (1 to 64 KiB) or `large` (4 MiB); blocks to free are picked at random.
//! `--features jemalloc` or `mimalloc` measures that allocator. A fourth argument changes a setting
//! first: `mmap` fixes glibc's mmap threshold at 1 MiB, `decay` has jemalloc give back by itself,
//! `purge` has mimalloc purge at once. `moved` changes none: each block is freed by the thread that did
//! not allocate it, as on a runtime that moves tasks.
//!
//! Two threads allocate and free, and stay: the release runs on a third, as in a server. "Worst" is the
//! longest single allocation of 16 KiB on the two, first for a while without a release, and shows what
//! else runs on the machine as well; "on cpu" is the release's own time.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{
    hint::black_box,
    mem,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;

#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[path = "../tests/allocators/mod.rs"]
mod allocators;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: allocators::OverJemalloc = allocators::OverJemalloc;
#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: allocators::OverMimalloc = allocators::OverMimalloc;

const THREADS: usize = 2;
const CONTROL: Duration = Duration::from_millis(300);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| -> String {
        arguments.get(at).cloned().unwrap_or_else(|| default.to_owned())
    };
    let (shape, setting) = (argument(0, "mixed"), argument(3, ""));
    let bytes = argument(1, "256").parse::<usize>().expect("MiB") << 20;
    let freed = argument(2, "90").parse::<u64>().expect("percent");
    set(&setting);

    let clock = Clock::system();
    let mut source = SystemSource::detect().expect("procfs");
    let mut rss = || source.read().expect("procfs").rss_bytes.expect("statm") >> 20;
    let (step, stop) = (Barrier::new(THREADS + 1), AtomicBool::new(false));
    let backends = plimsoll_alloc::program_backends();
    let idle = rss();
    let exchange: [Mutex<Vec<Vec<u8>>>; THREADS] = Default::default();
    let moved = setting == "moved";
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (shape, clock) = (shape.as_str(), clock.clone());
                let (step, stop, backends, exchange) = (&step, &stop, &backends, &exchange);
                scope.spawn(move || {
                    let mut random = Random(seed as u64 + 1);
                    let held = allocate(shape, bytes / THREADS, &mut random);
                    let post = |at: usize| exchange[at].lock().expect("no panic");
                    *post((seed + usize::from(moved)) % THREADS) = held;
                    step.wait();
                    step.wait();
                    let mut held = mem::take(&mut *post(seed));
                    held.retain(|_| random.next() % 100 >= freed);
                    step.wait();
                    step.wait();
                    let control = worst(stop, &clock);
                    step.wait();
                    step.wait();
                    let releasing = worst(stop, &clock);
                    step.wait();
                    step.wait();
                    backends.iter().for_each(|backend| backend.release());
                    step.wait();
                    (control, releasing)
                })
            })
            .collect();
        step.wait();
        let full = rss();
        step.wait();
        step.wait();
        let after_free = rss();
        step.wait();
        thread::park_timeout(CONTROL);
        stop.store(true, Ordering::SeqCst);
        step.wait();
        stop.store(false, Ordering::SeqCst);
        let waited = rss();
        step.wait();
        let release = || {
            let (begin, busy) = (clock.now(), on_cpu());
            backends.iter().for_each(|backend| backend.release());
            (clock.now() - begin, on_cpu().saturating_sub(busy))
        };
        let (took, busy) = scope.spawn(release).join().expect("no panic");
        stop.store(true, Ordering::SeqCst);
        step.wait();
        let released = rss();
        let (again, _) = scope.spawn(release).join().expect("no panic");
        step.wait();
        step.wait();
        let by_all = rss();
        let worst: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("ok")).collect();
        let control = worst.iter().map(|worst| worst.0).max().unwrap_or_default();
        let releasing = worst.iter().map(|worst| worst.1).max().unwrap_or_default();
        let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
        println!("{} {shape} {freed}% {setting}", names.join("+"));
        println!(
            "  MiB over idle: full {} freed {} waited {} released {} by all {}",
            full - idle,
            after_free.saturating_sub(idle),
            waited.saturating_sub(idle),
            released.saturating_sub(idle),
            by_all.saturating_sub(idle),
        );
        println!(
            "  release {took:.1?} ({busy:.1?} on cpu), again {again:.1?}; worst allocation {control:.2?} without, \
             {releasing:.2?} during"
        );
    });
}

fn allocate(shape: &str, bytes: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut held = Vec::new();
    let mut left = bytes;
    while left > 0 {
        let size = match shape {
            "small" => 1 << 10,
            "large" => 4 << 20,
            // As many of each power of two.
            _ => (1 << 10) << (random.next() % 7),
        };
        held.push(black_box(vec![1_u8; size]));
        left = left.saturating_sub(size);
    }
    held
}

/// The longest that an allocation took until `stop`.
fn worst(stop: &AtomicBool, clock: &Clock) -> Duration {
    let mut worst = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let begin = clock.now();
        let block = black_box(Vec::<u8>::with_capacity(16 << 10));
        worst = worst.max(clock.now() - begin);
        drop(block);
    }
    worst
}

/// Time that this thread has run.
fn on_cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(ran.unwrap_or(0))
}

fn set(setting: &str) {
    match setting {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        "mmap" => assert!(plimsoll_alloc::glibc::fix_mmap_threshold(1 << 20)),
        #[cfg(feature = "jemalloc")]
        "decay" => assert!(plimsoll_alloc::jemalloc::give_back_after(Duration::ZERO)),
        #[cfg(feature = "mimalloc")]
        "purge" => plimsoll_alloc::mimalloc::purge_after(Duration::ZERO),
        _ => {}
    }
}

/// xorshift64: the same blocks in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
