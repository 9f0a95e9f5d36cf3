//! Freed memory that glibc keeps comes back through a release, as the kernel counts it.
//!
//! Alone in its binary: the resident set is that of the process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::hint::black_box;

use plimsoll_core::MemorySource;
use plimsoll_sources::SystemSource;

const MIB: u64 = 1024 * 1024;
const BLOCK_BYTES: usize = 1024;
const BLOCKS: usize = 64 * 1024;

fn rss(source: &mut SystemSource) -> u64 {
    source.read().expect("procfs").rss_bytes.expect("statm")
}

#[test]
fn a_release_gives_back_what_freeing_left_resident() {
    let mut source = SystemSource::detect().expect("procfs");
    let idle = rss(&mut source);

    let mut blocks: Vec<Option<Box<[u8]>>> =
        (0..BLOCKS).map(|_| Some(black_box(vec![1_u8; BLOCK_BYTES].into_boxed_slice()))).collect();
    let full = rss(&mut source);
    assert!(full - idle > 60 * MIB, "{} bytes for 64 MiB", full - idle);

    // One survivor in 128, the last block among them, so that glibc cannot shrink its arena by itself.
    for (at, block) in blocks.iter_mut().enumerate() {
        if at % 128 != 127 {
            *block = None;
        }
    }
    let freed = rss(&mut source);
    assert!(
        full - freed < 16 * MIB,
        "glibc gave {} bytes back unasked",
        full.saturating_sub(freed)
    );

    let backends = plimsoll_alloc::system_backends();
    assert_eq!(backends.iter().map(|backend| backend.name()).collect::<Vec<_>>(), ["glibc"]);
    for backend in backends {
        backend.release();
    }
    let released = rss(&mut source);
    assert!(
        freed.saturating_sub(released) > 50 * MIB,
        "of 63 MiB freed, {} bytes came back",
        freed.saturating_sub(released)
    );

    // And the survivors are whole.
    let alive: Vec<_> = blocks.iter().flatten().collect();
    assert_eq!(alive.len(), BLOCKS / 128);
    assert!(alive.iter().all(|block| block.iter().all(|&byte| byte == 1)));
}
