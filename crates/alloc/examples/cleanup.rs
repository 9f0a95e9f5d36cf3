//! What a whole cleanup gives back: bytes that pruners claim, that the heap lost, and that left the resident set.
//!
//! `cargo run --release -p plimsoll-alloc --example cleanup -- MIB WAY`; `--features jemalloc` or `mimalloc` measures that
//! allocator. The ways:
//!
//! - `all`: an error log and a ring of MIB are pruned to nothing
//! - `tenth`: of blocks of 1 to 64 KiB every tenth survives, at random
//! - `tenth-small`: the same of blocks of 1 KiB
//! - `target`: an automatic cleanup prunes the ring towards its target
//!
//! "Gone" is how much smaller the resident set is one second after the cleanup. With mimalloc what is held by pages
//! in use in part is told as well.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::{
    hint::black_box,
    sync::{Arc, Mutex},
    time::Duration,
};

use plimsoll_core::{
    BoundedRing, CleanupLevel, CleanupRecord, CleanupRegistry, ErrorLog, Keep, MB, MemorySource,
    Plimsoll, PruneError, PruneRequest, Pruned, Pruner, Registration, RingPolicy, Thresholds,
    allocation_bytes,
};
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

/// An entry's text: 200 to 1,600 bytes, as log lines and events have them.
fn text(at: usize) -> String {
    "x".repeat(200 + at * 131 % 1_400)
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).cloned().unwrap_or(default.into());
    let bytes = argument(0, "256").parse::<usize>().expect("MiB") << 20;
    let way = argument(1, "all");
    let registry = CleanupRegistry::new();
    let ring = BoundedRing::new(usize::MAX)
        .with_weigher(|text: &String| allocation_bytes(text.capacity()))
        .with_policy(RingPolicy::new(Keep::Nothing, Keep::Nothing));
    let errors = ErrorLog::new();
    let wanted = Arc::new(Mutex::new(None));
    let blocks = Arc::new(Mutex::new(Vec::new()));
    let mut kept: Vec<Registration> = Vec::new();
    match way.as_str() {
        "tenth" | "tenth-small" => {
            fill_blocks(&blocks, bytes, way == "tenth-small");
            kept.push(registry.register_fn("blocks", {
                let blocks = Arc::clone(&blocks);
                move |_: PruneRequest| {
                    let pruned = thin_out(&mut blocks.lock().expect("no panic"));
                    async { Ok(pruned) }
                }
            }));
        }
        _ => {
            let mut at = 0;
            while ring.bytes() < bytes as u64 {
                ring.push(text(at));
                errors.record("example", &text(at));
                at += 1;
            }
            kept.push(registry.register("ring", Noted(ring.clone(), Arc::clone(&wanted))));
            kept.push(errors.register(&registry));
        }
    }
    let mut source = SystemSource::detect().expect("procfs");
    let mut rss = || source.read().expect("procfs").rss_bytes.expect("statm");
    let mut builder = Plimsoll::builder().registry(registry);
    for backend in plimsoll_alloc::program_backends() {
        builder = builder.release_backend(backend);
    }
    let full = rss();
    if way == "target" {
        // Just above warning: the way down is a seventh of what is held.
        let thresholds = Thresholds::new(full - full / 10, full * 2).expect("ordered");
        builder = builder.thresholds(thresholds);
    }
    let plimsoll = builder.start_with(SystemSource::detect().expect("procfs")).expect("starts");
    let record = if way == "target" {
        automatic(&plimsoll).await
    } else {
        plimsoll.cleanup(CleanupLevel::Aggressive).await.expect("ran")
    };
    told(&plimsoll, &record, &way, full);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let claimed = claimed(&record);
    let gone = full.saturating_sub(rss());
    println!(
        "  a second later {} MB are gone: {:.3} of the claim",
        gone / MB,
        share(gone, claimed)
    );
    if way == "target" {
        let target = wanted.lock().expect("no panic").flatten().expect("automatic");
        println!("  wanted {} MB, pruned {:.3} of it", target / MB, share(claimed, target));
    }
    #[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
    if let Some((committed, used)) = allocators::mimalloc_pages() {
        let held = committed.saturating_sub(used);
        println!(
            "  pages hold {} MB, blocks in use {} MB: {} MB in part-filled pages",
            committed / MB,
            used / MB,
            held / MB
        );
    }
    drop((kept, blocks));
    plimsoll.shutdown().await;
}

/// A ring that notes the first target.
struct Noted(BoundedRing<String>, Arc<Mutex<Option<Option<u64>>>>);

impl Pruner for Noted {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        self.1.lock().expect("no panic").get_or_insert(request.target_bytes);
        self.0.prune(request).await
    }
}

async fn automatic(plimsoll: &Plimsoll) -> CleanupRecord {
    let (_, mut listener) = plimsoll.listen(None);
    loop {
        if let Some(record) = plimsoll.cleanups(1).into_iter().next() {
            return record;
        }
        let _ = listener.next().await;
    }
}

fn claimed(record: &CleanupRecord) -> u64 {
    let pruners = record.results.iter().filter(|it| it.name != plimsoll_core::RELEASE_ACTION);
    pruners.filter_map(|result| result.freed_bytes).sum()
}

fn told(plimsoll: &Plimsoll, record: &CleanupRecord, way: &str, full: u64) {
    let claimed = claimed(record);
    let measured = record.freed_memory.unwrap_or(0);
    let backends = plimsoll.report().release.backends.join("+");
    println!("{backends} {way}: {} MB resident, cleanup of {} ms", full / MB, record.duration_ms);
    println!(
        "  claimed {} MB, measured {} MB: {:.3} of the claim",
        claimed / MB,
        measured / MB,
        share(measured, claimed)
    );
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn fill_blocks(blocks: &Mutex<Vec<Vec<u8>>>, bytes: usize, small: bool) {
    let mut random = Random(1);
    let (mut held, mut left) = (Vec::new(), bytes);
    while left > 0 {
        let size = if small { 1 << 10 } else { (1 << 10) << (random.next() % 7) };
        held.push(black_box(vec![1_u8; size]));
        left = left.saturating_sub(size);
    }
    *blocks.lock().expect("no panic") = held;
}

/// Drops all but every tenth, at random.
fn thin_out(blocks: &mut Vec<Vec<u8>>) -> Pruned {
    let mut random = Random(9);
    let (mut entries, mut bytes) = (0, 0);
    blocks.retain(|block| {
        let keep = random.next().is_multiple_of(10);
        if !keep {
            entries += 1;
            bytes += allocation_bytes(block.capacity()) as u64;
        }
        keep
    });
    Pruned::entries(entries).bytes(bytes)
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
