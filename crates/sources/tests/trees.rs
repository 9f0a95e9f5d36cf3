//! Whole machines on fixture trees: which figures each kind of host gives.
#![cfg(target_os = "linux")]

use plimsoll_core::{MemoryReading, MemorySource};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;

const RSS_PAGES: u64 = 51_200;

#[track_caller]
fn read(archive: &str) -> (MemoryReading, String) {
    let tree = FixtureTree::new().archive(archive);
    let mut source = SystemSource::at(tree.path()).expect("readable");
    let reading = source.read().expect("readable");
    assert_eq!(reading.rss_bytes, Some(RSS_PAGES * procfs::page_size()));
    (reading, source.describe())
}

#[track_caller]
fn assert_reads(archive: &str, working_set: Option<u64>, limit: Option<u64>, description: &str) {
    let (reading, described) = read(archive);
    assert_eq!(reading.working_set_bytes, working_set);
    assert_eq!(reading.limit_bytes, limit);
    assert_eq!(described, description);
}

#[test]
fn a_service_on_version_2() {
    assert_reads(
        include_str!("fixtures/v2.txtar"),
        Some(180_000_000),
        Some(256_000_000),
        "cgroup v2 /system.slice/chat.service (limit 256MB), procfs",
    );
}

#[test]
fn the_tightest_ancestor_sets_the_limit() {
    assert_reads(
        include_str!("fixtures/v2-nested.txtar"),
        Some(180_000_000),
        Some(300_000_000),
        "cgroup v2 /kubepods.slice/pod7/chat (limit 300MB of /kubepods.slice/pod7), procfs",
    );
}

#[test]
fn without_the_controller_the_nearest_ancestor_is_charged() {
    assert_reads(
        include_str!("fixtures/v2-undelegated.txtar"),
        Some(150_000_000),
        Some(400_000_000),
        "cgroup v2 /user.slice/app (limit 400MB), procfs",
    );
}

#[test]
fn a_container_with_a_namespace_reads_its_mount() {
    assert_reads(
        include_str!("fixtures/v2-container.txtar"),
        Some(180_000_000),
        Some(256_000_000),
        "cgroup v2 / (limit 256MB), procfs",
    );
}

#[test]
fn spaces_in_paths_are_found() {
    assert_reads(
        include_str!("fixtures/v2-escaped.txtar"),
        Some(180_000_000),
        Some(400_000_000),
        "cgroup v2 /my app/chat (limit 400MB of /my app), procfs",
    );
}

#[test]
fn version_1_counts_the_children_and_ignores_swap_limits() {
    assert_reads(
        include_str!("fixtures/v1.txtar"),
        Some(180_000_000),
        Some(256_000_000),
        "cgroup v1 /docker/ab12 (limit 256MB), procfs",
    );
}

#[test]
fn version_1_tells_the_limit_of_a_hidden_ancestor() {
    assert_reads(
        include_str!("fixtures/v1-container.txtar"),
        Some(180_000_000),
        Some(300_000_000),
        "cgroup v1 /docker/ab12 (limit 300MB of a hidden ancestor), procfs",
    );
}

#[test]
fn a_parent_that_does_not_account_for_its_children_sets_no_limit() {
    assert_reads(
        include_str!("fixtures/v1-flat.txtar"),
        Some(180_000_000),
        Some(256_000_000),
        "cgroup v1 /docker/ab12 (limit 256MB), procfs",
    );
}

#[test]
fn on_a_hybrid_host_the_memory_is_on_version_1() {
    assert_reads(
        include_str!("fixtures/hybrid.txtar"),
        Some(180_000_000),
        Some(256_000_000),
        "cgroup v1 /docker/ab12 (limit 256MB), procfs",
    );
}

#[test]
fn the_root_cgroup_is_the_machine_and_not_the_process() {
    assert_reads(include_str!("fixtures/v1-root.txtar"), None, None, "procfs");
    assert_reads(include_str!("fixtures/v2-root.txtar"), None, None, "procfs");
}

#[test]
fn a_kernel_without_cgroups_tells_the_resident_set() {
    assert_reads(include_str!("fixtures/no-cgroup.txtar"), None, None, "procfs");
}
