//! What a release of memory that lies unused does to requests: their p99 with it and without.
//!
//! `cargo run --release -p plimsoll-alloc --example pause -- MIB WAY [ROUNDS] [SHAPE]`; `--features jemalloc` or
//! `mimalloc` measures that allocator. MIB were allocated by the two workers of a Tokio runtime and 90 % freed,
//! at random; SHAPE is `mixed` (1 to 64 KiB) or `small` (1 KiB). The ways:
//!
//! - `whole`: one release of all of it, as a cleanup does
//! - `portions64`, `portions16`: the memory is freed in portions of so many MiB with a release after each, and a rest
//!   of four times as long, as Plimsoll does under load
//! - `workers8`: as `whole`, on eight workers, each of which has an arena of its own (glibc)
//! - `spin`: no release, and a thread that is busy for 150 ms in its place: what the loss of a core does
//! - `mmap64`: as `whole`, blocks from 64 KiB on mapped one by one (glibc)
//! - `mmap`: the same from 1 MiB on
//!
//! Meanwhile 64 tasks on the two workers serve "requests" open-loop, 1,000 a second: each allocates 8 blocks of 1
//! to 64 KiB, writes to them, yields in between, and frees them. A request's time begins when it is due. Windows of
//! 250 ms with a release at their beginning alternate with such without.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;
use tokio::{runtime::Builder, task::JoinSet};

#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[path = "../tests/allocators/mod.rs"]
mod allocators;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: allocators::OverJemalloc = allocators::OverJemalloc;
#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: allocators::OverMimalloc = allocators::OverMimalloc;

const TASKS: u64 = 64;
const EVERY: Duration = Duration::from_millis(64);
const WINDOW: Duration = Duration::from_millis(250);
const SETTLE: Duration = Duration::from_millis(150);
const BLOCKS: u64 = 8;
/// As long as releases take here beside other programs.
const BURN: Duration = Duration::from_millis(150);
/// The rest after a release, for the time that it took.
const REST_PER_WORK: u32 = 4;

/// Times of requests in the window that is open, by what it is for.
#[derive(Default)]
struct Times {
    quiet: Mutex<Vec<Duration>>,
    releasing: Mutex<Vec<Duration>>,
}

struct Shared {
    clock: Clock,
    stop: AtomicBool,
    /// 0 closed, 1 quiet, 2 with a release.
    window: AtomicU64,
    times: Times,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).cloned().unwrap_or(default.into());
    let bytes = argument(0, "1024").parse::<usize>().expect("MiB") << 20;
    let way = argument(1, "whole");
    let rounds = argument(2, "5").parse::<usize>().expect("rounds");
    let shape = argument(3, "mixed");
    set(&way);
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("made");
    let shared = Arc::new(Shared {
        clock: Clock::system(),
        stop: AtomicBool::new(false),
        window: AtomicU64::new(0),
        times: Times::default(),
    });
    let backends = plimsoll_alloc::program_backends();
    let mut source = SystemSource::detect().expect("procfs");
    let mut rss = || source.read().expect("procfs").rss_bytes.expect("statm") >> 20;
    for task in 0..TASKS {
        let shared = Arc::clone(&shared);
        runtime.spawn(async move { serve(&shared, task).await });
    }
    let (mut took, mut freed) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let held = fill(&runtime, bytes, &shape, round as u64);
        let spin = way == "spin";
        let release = || match spin {
            true => burn(&shared.clock),
            false => backends.iter().for_each(|backend| backend.release()),
        };
        let portion =
            way.strip_prefix("portions").map(|mib| mib.parse::<usize>().expect("MiB") << 20);
        let (mut held, mut survivors) = (held, Vec::new());
        if portion.is_none() {
            free(&mut held, &mut survivors, usize::MAX);
        }
        wait(&shared, SETTLE);
        let before = rss();
        open(&shared, 1);
        wait(&shared, WINDOW);
        open(&shared, 2);
        let begin = shared.clock.now();
        let mut busy = Duration::ZERO;
        loop {
            free(&mut held, &mut survivors, portion.unwrap_or(usize::MAX));
            let from = shared.clock.now();
            release();
            let spent = shared.clock.now() - from;
            busy += spent;
            if held.is_empty() {
                break;
            }
            wait(&shared, spent * REST_PER_WORK);
        }
        took.push(busy);
        wait(&shared, WINDOW.saturating_sub(shared.clock.now() - begin));
        open(&shared, 0);
        freed.push(before.saturating_sub(rss()));
        drop(survivors);
    }
    shared.stop.store(true, Ordering::SeqCst);
    let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
    let [quiet, releasing] = [&shared.times.quiet, &shared.times.releasing].map(summary);
    println!(
        "{} {} MiB {shape} {way}: releases {took:.1?}, MiB gone {freed:?}",
        names.join("+"),
        bytes >> 20
    );
    println!("  without: {quiet}\n  with:    {releasing}");
}

async fn serve(shared: &Shared, seed: u64) {
    let mut random = Random(seed + 1);
    let mut due = shared.clock.now() + EVERY * u32::try_from(seed).unwrap_or(0) / 64;
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(due.saturating_sub(shared.clock.now())).await;
        let window = shared.window.load(Ordering::Relaxed);
        let mut blocks = Vec::new();
        for block in 0..BLOCKS {
            blocks.push(black_box(vec![1_u8; (1 << 10) << (random.next() % 7)]));
            if block % 4 == 3 {
                tokio::task::yield_now().await;
            }
        }
        drop(blocks);
        let took = shared.clock.now().saturating_sub(due);
        let times = match window {
            1 => Some(&shared.times.quiet),
            2 => Some(&shared.times.releasing),
            // What is late because the heap is being filled is nobody's figure.
            _ => {
                due = due.max(shared.clock.now());
                None
            }
        };
        if let Some(times) = times {
            times.lock().expect("no panic").push(took);
        }
        due += EVERY;
    }
}

/// Blocks of both workers' heaps.
fn fill(runtime: &tokio::runtime::Runtime, bytes: usize, shape: &str, seed: u64) -> Vec<Vec<u8>> {
    let mut parts = JoinSet::new();
    let pieces = 32;
    for piece in 0..pieces {
        let small = shape == "small";
        let mut random = Random(seed * 100 + piece + 7);
        parts.spawn_on(
            async move {
                let (mut held, mut left) = (Vec::new(), bytes / 32);
                while left > 0 {
                    let size = if small { 1 << 10 } else { (1 << 10) << (random.next() % 7) };
                    held.push(black_box(vec![1_u8; size]));
                    left = left.saturating_sub(size);
                }
                held
            },
            runtime.handle(),
        );
    }
    runtime.block_on(parts.join_all()).into_iter().flatten().collect()
}

/// Frees all but a tenth at random of the last blocks, until `most` bytes are free.
fn free(held: &mut Vec<Vec<u8>>, survivors: &mut Vec<Vec<u8>>, most: usize) {
    let mut random = Random(held.len() as u64 + 1);
    let mut freed = 0;
    while let Some(block) = held.pop() {
        if random.next().is_multiple_of(10) {
            survivors.push(block);
            continue;
        }
        freed += block.len();
        if freed >= most {
            break;
        }
    }
}

/// Takes as much of a processor as a release does, and no lock.
fn burn(clock: &Clock) {
    let until = clock.now() + BURN;
    while clock.now() < until {
        black_box(until);
    }
}

fn open(shared: &Shared, window: u64) {
    shared.window.store(window, Ordering::SeqCst);
}

fn wait(shared: &Shared, time: Duration) {
    let until = shared.clock.now() + time;
    while shared.clock.now() < until {
        std::thread::park_timeout(until.saturating_sub(shared.clock.now()));
    }
}

fn summary(times: &Mutex<Vec<Duration>>) -> String {
    let mut times = std::mem::take(&mut *times.lock().expect("no panic"));
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part).div_ceil(1_000).saturating_sub(1));
    let [p50, p99, p999] = [500, 990, 999].map(|part| at(part).copied().unwrap_or_default());
    let worst = times.last().copied().unwrap_or_default();
    format!(
        "{} requests, p50 {p50:.2?} p99 {p99:.2?} p99.9 {p999:.2?} worst {worst:.2?}",
        times.len()
    )
}

fn set(way: &str) {
    match way {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        "mmap64" => assert!(plimsoll_alloc::glibc::fix_mmap_threshold(64 << 10)),
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        "mmap" => assert!(plimsoll_alloc::glibc::fix_mmap_threshold(1 << 20)),
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
