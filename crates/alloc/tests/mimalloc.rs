//! Release and attribution in a program that has mimalloc as its allocator.
//!
//! Alone in its binary, and one test: the heap and the resident set are those of the process.

use std::{hint::black_box, time::Duration};

use plimsoll_alloc::{Attributing, Mimalloc, mimalloc};
use plimsoll_core::MemorySource;
use plimsoll_sources::SystemSource;

use self::allocators::OverMimalloc;

mod allocators;

const MIB: u64 = 1024 * 1024;

#[global_allocator]
static ALLOCATOR: Attributing<OverMimalloc> = Attributing::new(OverMimalloc);

fn rss(source: &mut SystemSource) -> u64 {
    source.read().expect("procfs").rss_bytes.expect("statm")
}

#[test]
fn mimalloc_gives_back_what_another_thread_freed_and_is_counted() {
    assert!(Mimalloc.serves_this_program());
    assert!(plimsoll_alloc::program_heap().is_none(), "it does not count what the program holds");
    let backends = plimsoll_alloc::program_backends();
    let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
    assert_eq!(names, ["mimalloc", "glibc"], "its C libraries use the C library's heap");

    let mut source = SystemSource::detect().expect("procfs");
    let idle = rss(&mut source);
    let blocks: Vec<Vec<u8>> = (0..32).map(|_| black_box(vec![1; 2 << 20])).collect();
    let full = rss(&mut source);
    assert!(full - idle > 60 * MIB, "{} bytes for 64 MiB", full - idle);
    let meter = plimsoll_alloc::attribution().expect("installed above");
    let mark = meter.enter();
    drop(blocks);
    assert!(meter.leave(mark).freed_bytes >= 64 * MIB);
    let left = rss(&mut source);
    assert!(full - left < 32 * MIB, "control: {} bytes came back unasked", full - left);
    // Released by another thread, as in a server; one that has allocated nothing so far.
    std::thread::scope(|scope| {
        scope.spawn(|| backends.iter().for_each(|backend| backend.release()));
    });
    let released = rss(&mut source);
    assert!(released < idle + 8 * MIB, "{} of 64 MiB are still there", released - idle);

    // And without delay nothing has to be asked for.
    mimalloc::purge_after(Duration::ZERO);
    let blocks: Vec<Vec<u8>> = (0..32).map(|_| black_box(vec![1; 2 << 20])).collect();
    assert!(rss(&mut source) > idle + 60 * MIB);
    drop(blocks);
    let left = rss(&mut source);
    assert!(left < idle + 8 * MIB, "{} of 64 MiB are still there", left - idle);
}
