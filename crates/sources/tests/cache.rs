//! The file cache is read only when it matters, and the working set is right all the same.
#![cfg(target_os = "linux")]

use std::time::Duration;

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;

const OWN: &str = "sys/fs/cgroup/system.slice/chat.service";
const MIB: u64 = 1024 * 1024;
const LIMIT: u64 = 1024 * MIB;
/// What the figure may be wrong by.
const SLACK: u64 = MIB;

/// A cgroup of which a test sets the memory and the cache.
struct Scripted {
    tree: FixtureTree,
    source: SystemSource,
    clock: Clock,
}

impl Scripted {
    fn new(anonymous: u64, cache: u64) -> Self {
        let tree = FixtureTree::new()
            .archive(include_str!("fixtures/v2.txtar"))
            .file(format!("{OWN}/memory.max"), format!("{LIMIT}\n"));
        let clock = Clock::manual(Duration::ZERO);
        write(&tree, anonymous, anonymous, cache);
        let source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());
        Self { tree, source, clock }
    }

    /// Lets `own` of the anonymous memory be this process's and looks a millisecond later.
    fn look(&mut self, own: u64, anonymous: u64, cache: u64) -> u64 {
        write(&self.tree, own, anonymous, cache);
        self.clock.advance(Duration::from_millis(1));
        self.source.read().expect("readable").working_set_bytes.expect("known")
    }
}

fn write(tree: &FixtureTree, own: u64, anonymous: u64, cache: u64) {
    let pages = own / procfs::page_size();
    tree.write("proc/self/statm", format!("900000 {pages} 5 1 0 1 0\n"));
    tree.write(format!("{OWN}/memory.current"), format!("{}\n", anonymous + cache));
    tree.write(format!("{OWN}/memory.stat"), format!("anon {anonymous}\ninactive_file {cache}\n"));
}

#[test]
fn a_cache_that_fills_the_limit_is_no_memory_in_use() {
    let mut cgroup = Scripted::new(100 * MIB, 0);
    for cache in (0..=924).step_by(4) {
        let working_set = cgroup.look(100 * MIB, 100 * MIB, cache * MIB);
        assert!(working_set.abs_diff(100 * MIB) <= SLACK, "{working_set} at {cache} MiB of cache");
    }
}

#[test]
fn memory_of_another_process_that_takes_the_place_of_cache_at_the_limit_is_seen_at_once() {
    let mut cgroup = Scripted::new(100 * MIB, 924 * MIB);
    // Usage stands still, and so does the resident set of this process.
    for grown in (1..900).step_by(3) {
        let anonymous = (100 + grown) * MIB;
        assert_eq!(cgroup.look(100 * MIB, anonymous, LIMIT - anonymous), anonymous);
    }
}

#[test]
fn memory_of_another_process_that_takes_the_place_of_cache_at_memory_high_is_seen_at_once() {
    let mut cgroup = Scripted::new(100 * MIB, 400 * MIB);
    cgroup.tree.write(format!("{OWN}/memory.high"), format!("{}\n", 500 * MIB));
    cgroup.clock.advance(Duration::from_secs(1));
    for grown in 1..400 {
        let anonymous = (100 + grown) * MIB;
        assert_eq!(cgroup.look(100 * MIB, anonymous, 500 * MIB - anonymous), anonymous);
    }
}

#[test]
fn memory_of_this_process_that_takes_the_place_of_cache_anywhere_is_seen_within_the_slack() {
    let mut cgroup = Scripted::new(100 * MIB, 400 * MIB);
    for grown in 1..600 {
        let anonymous = 100 * MIB + grown * MIB * 3 / 10;
        let working_set = cgroup.look(anonymous, anonymous, 500 * MIB - anonymous);
        assert!(working_set.abs_diff(anonymous) <= SLACK, "{working_set} for {anonymous}");
    }
}

#[test]
fn a_cache_that_is_dropped_leaves_the_working_set() {
    let mut cgroup = Scripted::new(100 * MIB, 800 * MIB);
    assert_eq!(cgroup.look(100 * MIB, 100 * MIB, 0), 100 * MIB);
    assert_eq!(cgroup.look(100 * MIB, 150 * MIB, 0), 150 * MIB, "and what grows after it counts");
}

#[test]
fn pages_that_only_change_lists_count_within_twenty_milliseconds() {
    let mut cgroup = Scripted::new(100 * MIB, 400 * MIB);
    // Active cache is counted as in use; usage and resident set do not move.
    write(&cgroup.tree, 100 * MIB, 100 * MIB, 400 * MIB);
    cgroup.tree.write(format!("{OWN}/memory.stat"), format!("inactive_file {}\n", 50 * MIB));
    cgroup.clock.advance(Duration::from_millis(20));
    let reading = cgroup.source.read().expect("readable");
    assert_eq!(reading.working_set_bytes, Some(450 * MIB));
}

#[test]
fn the_cache_is_not_read_while_nothing_moves() {
    let mut cgroup = Scripted::new(100 * MIB, 400 * MIB);
    assert_eq!(cgroup.look(100 * MIB, 100 * MIB, 400 * MIB), 100 * MIB);
    cgroup.tree.write(format!("{OWN}/memory.stat"), "nothing to be read\n");
    for _ in 0..15 {
        cgroup.clock.advance(Duration::from_millis(1));
        assert_eq!(cgroup.source.read().unwrap().working_set_bytes, Some(100 * MIB));
    }
}
