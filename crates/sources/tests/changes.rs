//! Limits that change, processes that move, cgroups that go away: found on the source's clock.
#![cfg(target_os = "linux")]

use std::time::Duration;

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;

const OWN: &str = "sys/fs/cgroup/kubepods.slice/pod7/chat";
const POD: &str = "sys/fs/cgroup/kubepods.slice/pod7";
const SECOND: Duration = Duration::from_secs(1);

fn nested() -> (FixtureTree, SystemSource, Clock) {
    let tree = FixtureTree::new().archive(include_str!("fixtures/v2-nested.txtar"));
    let clock = Clock::manual(Duration::ZERO);
    let source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());
    (tree, source, clock)
}

fn limit(source: &mut SystemSource) -> Option<u64> {
    source.read().expect("readable").limit_bytes
}

#[test]
fn usage_is_fresh_at_every_reading() {
    let (tree, mut source, _clock) = nested();
    assert_eq!(source.read().unwrap().working_set_bytes, Some(180_000_000));
    tree.write(format!("{OWN}/memory.current"), "250000000\n");
    tree.write("proc/self/statm", "9 7 5 1 0 1 0\n");
    let reading = source.read().unwrap();
    assert_eq!(reading.working_set_bytes, Some(210_000_000));
    assert_eq!(reading.rss_bytes, Some(7 * procfs::page_size()));
}

#[test]
fn a_changed_limit_counts_within_a_second() {
    let (tree, mut source, clock) = nested();
    tree.write(format!("{POD}/memory.max"), "max\n");
    tree.write(format!("{OWN}/memory.max"), "64000000\n");
    assert_eq!(limit(&mut source), Some(300_000_000), "not due yet");
    clock.advance(SECOND);
    assert_eq!(limit(&mut source), Some(64_000_000));
    tree.write(format!("{OWN}/memory.max"), "max\n");
    clock.advance(SECOND);
    assert_eq!(limit(&mut source), Some(4_000_000_000), "the slice's is left");
}

#[test]
fn the_hidden_limit_of_version_1_counts_when_the_cache_is_read_again() {
    let tree = FixtureTree::new().archive(include_str!("fixtures/v1-container.txtar"));
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).unwrap().clock(clock.clone());
    assert_eq!(limit(&mut source), Some(300_000_000));
    tree.write(
        "sys/fs/cgroup/memory/memory.stat",
        "hierarchical_memory_limit 200000000\ntotal_inactive_file 40000000\n",
    );
    clock.advance(Duration::from_millis(20));
    assert_eq!(limit(&mut source), Some(200_000_000));
}

#[test]
fn a_limit_that_cannot_be_read_for_a_while_stays_in_force() {
    let (tree, mut source, clock) = nested();
    for broken in ["", "many\n", "-1\n", "0\n", "99999999999999999999\n"] {
        tree.write(format!("{POD}/memory.max"), broken);
        clock.advance(SECOND);
        assert_eq!(limit(&mut source), Some(300_000_000), "{broken:?}");
    }
    tree.write(format!("{POD}/memory.max"), "200000000\n");
    clock.advance(SECOND);
    assert_eq!(limit(&mut source), Some(200_000_000));
}

#[test]
fn a_limit_above_the_machines_memory_is_none() {
    let (tree, mut source, clock) = nested();
    tree.write("proc/meminfo", "MemTotal: 200000 kB\n");
    clock.advance(SECOND);
    assert_eq!(limit(&mut source), None);
    assert_eq!(source.describe(), "cgroup v2 /kubepods.slice/pod7/chat (no limit), procfs");
    // Where the machine's memory is not known any more, the last figure holds.
    tree.write("proc/meminfo", "");
    clock.advance(SECOND);
    assert_eq!(limit(&mut source), None);
    // As much as the machine has is a limit still.
    tree.write("proc/meminfo", "MemTotal: 300000 kB\n");
    tree.write(format!("{POD}/memory.max"), "307200000\n");
    clock.advance(SECOND);
    assert_eq!(limit(&mut source), Some(307_200_000));
}

#[test]
fn a_process_that_is_moved_is_found_within_ten_seconds() {
    let (tree, mut source, clock) = nested();
    tree.write("proc/self/cgroup", "0::/kubepods.slice\n");
    clock.advance(9 * SECOND);
    assert_eq!(source.read().unwrap().working_set_bytes, Some(180_000_000), "not due yet");
    clock.advance(SECOND);
    let reading = source.read().unwrap();
    assert_eq!(reading.working_set_bytes, Some(2_700_000_000));
    assert_eq!(reading.limit_bytes, Some(4_000_000_000));
    assert_eq!(source.describe(), "cgroup v2 /kubepods.slice (limit 4000MB), procfs");
}

#[test]
fn a_cgroup_whose_directory_went_leaves_the_resident_set() {
    let (tree, mut source, clock) = nested();
    tree.write("proc/self/cgroup", "0::/gone\n");
    clock.advance(10 * SECOND);
    let reading = source.read().unwrap();
    assert!(reading.rss_bytes.is_some());
    assert_eq!((reading.working_set_bytes, reading.limit_bytes), (None, None));
    assert_eq!(source.describe(), "procfs");
    // And it is looked for again, though the membership reads the same.
    tree.write("sys/fs/cgroup/gone/memory.current", "5000000\n");
    tree.write("sys/fs/cgroup/gone/memory.stat", "inactive_file 1000000\n");
    clock.advance(10 * SECOND);
    assert_eq!(source.read().unwrap().working_set_bytes, Some(4_000_000));
}

#[test]
fn a_usage_that_fails_brings_the_next_look_forward() {
    let (tree, mut source, clock) = nested();
    tree.write(format!("{OWN}/memory.current"), "gone\n");
    tree.write("proc/self/cgroup", "0::/kubepods.slice/pod7\n");
    assert_eq!(source.read().unwrap().working_set_bytes, None);
    clock.advance(SECOND);
    assert_eq!(source.read().unwrap().working_set_bytes, Some(180_000_000));
    assert_eq!(source.describe(), "cgroup v2 /kubepods.slice/pod7 (limit 300MB), procfs");
}

#[test]
fn a_membership_that_appears_later_is_found() {
    let tree = FixtureTree::new().archive(include_str!("fixtures/v2-nested.txtar"));
    tree.remove("proc/self/cgroup");
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());
    assert_eq!(source.read().unwrap().working_set_bytes, None);
    tree.write("proc/self/cgroup", "0::/kubepods.slice/pod7/chat\n");
    clock.advance(10 * SECOND);
    assert_eq!(source.read().unwrap().working_set_bytes, Some(180_000_000));
}
