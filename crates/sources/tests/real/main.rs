//! The machine that the tests run on.
#![cfg(target_os = "linux")]

mod group;
mod pressure;

use std::{fs, time::Duration};

use group::{Holder, version_1};

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;

const MIB: u64 = 1024 * 1024;

#[test]
fn the_resident_set_follows_what_is_touched() {
    let mut source = SystemSource::detect().expect("this machine has procfs");
    let before = source.read().unwrap().rss_bytes.expect("statm");
    assert!(before > MIB && before < 1024 * MIB, "{before} bytes for a small test");
    let held = std::hint::black_box(vec![1_u8; 64 << 20]);
    let after = source.read().unwrap().rss_bytes.expect("statm");
    drop(held);
    let grown = after.saturating_sub(before);
    assert!((60 * MIB..80 * MIB).contains(&grown), "64 MiB touched, {grown} bytes more");
}

#[test]
fn the_resident_set_is_what_the_kernel_says_elsewhere() {
    let mut source = SystemSource::detect().unwrap();
    let rss = source.read().unwrap().rss_bytes.unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    // Other tests of this binary allocate meanwhile.
    assert!(rss.abs_diff(kib * 1024) < 80 * MIB, "{rss} against {kib} KiB");
}

#[test]
fn a_real_cgroup_tells_its_limit_and_its_working_set() {
    let cgroup = match version_1(64 * MIB) {
        Ok(cgroup) => cgroup,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    // Declared after the cgroup: a cgroup can be removed only once it is empty.
    let mut holder = match Holder::new() {
        Ok(holder) => holder,
        Err(error) => return eprintln!("skipped: cannot start tail: {error}"),
    };
    holder.join(&cgroup).expect("root may move its child");
    let tree = holder.tree();
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());

    let before = source.read().unwrap();
    assert_eq!(before.limit_bytes, Some(64 * MIB));
    let before = before.working_set_bytes.expect("usage of a real cgroup");
    holder.hold(16 * MIB);
    let after = source.read().unwrap().working_set_bytes.expect("usage of a real cgroup");
    let grown = after.saturating_sub(before);
    assert!((14 * MIB..40 * MIB).contains(&grown), "16 MiB held, {grown} bytes more");

    cgroup.set_limit(48 * MIB).expect("more than is used");
    clock.advance(Duration::from_secs(1));
    assert_eq!(source.read().unwrap().limit_bytes, Some(48 * MIB));
    let described = source.describe();
    assert!(described.contains("plimsoll-test-"), "{described}");
    assert!(described.ends_with("(limit 50MB), procfs"), "{described}");

    // A process that has ended leaves its files open and unreadable: no news is no move.
    drop(holder);
    clock.advance(Duration::from_secs(10));
    let last = source.read().unwrap();
    assert_eq!(last.rss_bytes, None);
    assert!(last.working_set_bytes.is_some());
    assert_eq!(last.limit_bytes, Some(48 * MIB));

    // A cgroup that is removed while it is open has no figures any more.
    drop(cgroup);
    assert!(source.read().is_err());
}
