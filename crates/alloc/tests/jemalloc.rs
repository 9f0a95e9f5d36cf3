//! Figures, release and attribution in a program that has jemalloc as its allocator.
//!
//! Alone in its binary, and one test: the heap and the resident set are those of the process.

use std::{hint::black_box, time::Duration};

use plimsoll_alloc::{Attributing, Jemalloc, jemalloc};
use plimsoll_core::MemorySource;
use plimsoll_sources::SystemSource;

use self::allocators::OverJemalloc;

mod allocators;

const MIB: u64 = 1024 * 1024;

#[global_allocator]
static ALLOCATOR: Attributing<OverJemalloc> = Attributing::new(OverJemalloc);

fn rss(source: &mut SystemSource) -> u64 {
    source.read().expect("procfs").rss_bytes.expect("statm")
}

#[test]
fn jemalloc_tells_its_figures_gives_back_what_another_thread_freed_and_is_counted() {
    assert!(Jemalloc.serves_this_program());
    let backends = plimsoll_alloc::program_backends();
    let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
    assert_eq!(names, ["jemalloc", "glibc"], "its C libraries use the C library's heap");

    let mut source = SystemSource::detect().expect("procfs");
    let heap = plimsoll_alloc::program_heap().expect("jemalloc's");
    let allocated = || heap.figures().expect("counted").allocated_bytes;
    let (idle, idle_allocated) = (rss(&mut source), allocated());
    let blocks: Vec<Vec<u8>> = (0..64 * 1024).map(|_| black_box(vec![1; 1024])).collect();
    let full = rss(&mut source);
    assert!(full - idle > 60 * MIB, "{} bytes for 64 MiB", full - idle);
    let grown = allocated() - idle_allocated;
    assert!((64 * MIB..70 * MIB).contains(&grown), "{grown}");
    let resident = heap.figures().expect("counted").resident_bytes;
    assert!(resident.abs_diff(full) < 16 * MIB, "{resident} of {full}");

    // Freed by this thread and released by another, as in a server.
    let (meter, freed) = (plimsoll_alloc::attribution().expect("installed above"), 64 * MIB);
    let mark = meter.enter();
    drop(blocks);
    assert!(meter.leave(mark).freed_bytes >= freed);
    let left = rss(&mut source);
    assert!(full - left < 32 * MIB, "control: {} bytes came back unasked", full - left);
    std::thread::scope(|scope| {
        scope.spawn(|| backends.iter().for_each(|backend| backend.release()));
    });
    let released = rss(&mut source);
    assert!(released < idle + 8 * MIB, "{} of 64 MiB are still there", released - idle);

    // And with no delay nothing has to be asked for; jemalloc's own threads do it.
    assert!(jemalloc::give_back_after(Duration::ZERO));
    let blocks: Vec<Vec<u8>> = (0..64).map(|_| black_box(vec![1; 1 << 20])).collect();
    assert!(rss(&mut source) > idle + 60 * MIB);
    drop(blocks);
    let released = rss(&mut source);
    assert!(released < idle + 8 * MIB, "{} of 64 MiB are still there", released - idle);
}
