//! Without huge pages, blocks of mimalloc are as large in memory as they were asked for.
//!
//! Alone in its binary: the setting is that of the process.
#![cfg(target_os = "linux")]

use std::{fs, hint::black_box};

use plimsoll_alloc::mimalloc::forbid_huge_pages;

use self::allocators::OverMimalloc;

mod allocators;

const MIB: usize = 1024 * 1024;

#[global_allocator]
static ALLOCATOR: OverMimalloc = OverMimalloc;

/// `AnonHugePages` of the process, in bytes; `None` on kernels without it.
fn huge_bytes() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

#[test]
fn mimalloc_takes_huge_pages_by_default_and_none_when_they_are_forbidden() {
    let blocks = || (0..16).map(|_| black_box(vec![1_u8; 4 * MIB])).collect::<Vec<_>>();
    let held = blocks();
    let Some(huge) = huge_bytes().filter(|huge| *huge >= 32 * MIB) else {
        eprintln!("skipped: this system gives no huge pages");
        return;
    };
    assert!(forbid_huge_pages());
    let more = blocks();
    let now = huge_bytes().expect("as before");
    // khugepaged may have joined pages of the first blocks before the call.
    assert!(now <= huge + 4 * MIB, "{} bytes of huge pages came after", now - huge);
    drop((held, more));
}
