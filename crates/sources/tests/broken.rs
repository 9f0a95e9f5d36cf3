//! Broken files: the figure is unknown, the others count, and nothing panics.
#![cfg(target_os = "linux")]

use std::{error::Error, fs};

use plimsoll_core::{MemoryReading, MemorySource};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;
use proptest::prelude::*;

const OWN: &str = "sys/fs/cgroup/system.slice/chat.service";

fn v2() -> FixtureTree {
    FixtureTree::new().archive(include_str!("fixtures/v2.txtar"))
}

#[track_caller]
fn read(tree: &FixtureTree) -> MemoryReading {
    SystemSource::at(tree.path()).expect("something is readable").read().expect("readable")
}

const BROKEN_NUMBERS: [&[u8]; 9] = [
    b"",
    b"\n",
    b"many\n",
    b"-220000000\n",
    b"99999999999999999999999999\n",
    b"2.2e8\n",
    b"\xff\xfe\x00",
    b"220000000 220000000\n",
    b"00000000000000000000000000000000000000000000000000000000000000000001\n",
];

#[test]
fn a_broken_usage_leaves_the_other_figures() {
    for content in BROKEN_NUMBERS {
        let tree = v2().file(format!("{OWN}/memory.current"), content);
        let reading = read(&tree);
        assert_eq!(reading.working_set_bytes, None, "{content:?}");
        assert!(reading.rss_bytes.is_some());
        assert_eq!(reading.limit_bytes, Some(256_000_000));
    }
}

#[test]
fn without_the_cache_the_working_set_is_unknown_and_not_the_usage() {
    for content in
        ["", "inactive_file\n", "inactive_file -1\n", "active_file 5\n", "inactive_file 1e9\n"]
    {
        let tree = v2().file(format!("{OWN}/memory.stat"), content);
        assert_eq!(read(&tree).working_set_bytes, None, "{content:?}");
    }
    let tree = v2();
    tree.remove(format!("{OWN}/memory.stat"));
    assert_eq!(read(&tree).working_set_bytes, None);
}

#[test]
fn a_cache_above_the_usage_makes_a_working_set_of_zero() {
    let tree = v2().file(format!("{OWN}/memory.stat"), "inactive_file 220000001\n");
    assert_eq!(read(&tree).working_set_bytes, Some(0));
}

#[test]
fn a_broken_limit_is_no_limit_and_hides_no_other() {
    for content in BROKEN_NUMBERS.into_iter().chain([b"0\n".as_slice(), b"-1\n"]) {
        let tree = v2().file(format!("{OWN}/memory.max"), content);
        let reading = read(&tree);
        assert_eq!(reading.limit_bytes, None, "{content:?}");
        assert_eq!(reading.working_set_bytes, Some(180_000_000));
        tree.write("sys/fs/cgroup/system.slice/memory.max", "512000000\n");
        assert_eq!(read(&tree).limit_bytes, Some(512_000_000), "{content:?}");
    }
    let tree = v2();
    tree.remove(format!("{OWN}/memory.max"));
    assert_eq!(read(&tree).limit_bytes, None);
}

#[test]
fn a_broken_statm_leaves_the_working_set() {
    for content in
        ["", "120000", "120000 51200", "120000 -1 2300\n", "x y z\n", "1 99999999999999999999 1\n"]
    {
        let tree = v2().file("proc/self/statm", content);
        let mut source = SystemSource::at(tree.path()).unwrap();
        let reading = source.read().unwrap();
        assert_eq!(reading.rss_bytes, None, "{content:?}");
        assert_eq!(reading.working_set_bytes, Some(180_000_000));
        assert_eq!(source.describe(), "cgroup v2 /system.slice/chat.service (limit 256MB)");
        // The file is tried again at each reading.
        tree.write("proc/self/statm", "9 7 5 1 0 1 0\n");
        assert_eq!(source.read().unwrap().rss_bytes, Some(7 * procfs::page_size()));
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_is_an_unknown_figure() {
    for (file, working_set, limit) in [
        ("memory.current", None, Some(256_000_000)),
        ("memory.stat", None, Some(256_000_000)),
        ("memory.max", Some(180_000_000), None),
    ] {
        let tree = v2();
        tree.remove(format!("{OWN}/{file}"));
        let tree = tree.directory(format!("{OWN}/{file}"));
        let reading = read(&tree);
        assert_eq!(
            (reading.working_set_bytes, reading.limit_bytes),
            (working_set, limit),
            "{file}"
        );
    }
}

#[test]
fn a_file_that_comes_back_is_read_again() {
    let stat = format!("{OWN}/memory.stat");
    let tree = v2();
    tree.remove(&stat);
    let tree = tree.directory(&stat);
    let mut source = SystemSource::at(tree.path()).unwrap();
    assert_eq!(source.read().unwrap().working_set_bytes, None);
    tree.remove(&stat);
    tree.write(&stat, "inactive_file 20000000\n");
    assert_eq!(source.read().unwrap().working_set_bytes, Some(200_000_000));
}

#[test]
fn broken_memberships_leave_the_resident_set() {
    for (file, content) in [
        ("proc/self/cgroup", "nonsense\n"),
        ("proc/self/cgroup", "0::/nowhere\n"),
        ("proc/self/cgroup", "0::/../outside\n"),
        ("proc/self/cgroup", "6:memory:/not/mounted\n"),
        ("proc/self/mountinfo", "30 23 0:26 /elsewhere /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/nowhere rw - cgroup2 cgroup2 rw\n"),
        ("proc/self/mountinfo", ""),
    ] {
        let reading = read(&v2().file(file, content));
        assert!(reading.rss_bytes.is_some(), "{content:?}");
        assert_eq!((reading.working_set_bytes, reading.limit_bytes), (None, None), "{content:?}");
    }
    for file in ["proc/self/cgroup", "proc/self/mountinfo"] {
        let tree = v2();
        tree.remove(file);
        assert_eq!(read(&tree).working_set_bytes, None, "{file}");
    }
}

#[test]
fn without_the_machines_memory_every_limit_counts() {
    for content in ["", "MemTotal: lots kB\n", "MemFree: 5 kB\n"] {
        let tree = v2().file("proc/meminfo", content);
        assert_eq!(read(&tree).limit_bytes, Some(256_000_000), "{content:?}");
    }
}

#[test]
fn an_empty_tree_is_an_error_that_names_what_was_tried() {
    let tree = FixtureTree::new();
    let error = SystemSource::at(tree.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the memory of this process"), "{error}");
    assert!(error.to_string().contains("proc/self/statm"), "{error}");
    assert!(error.source().unwrap().to_string().contains("No such file"), "{error:?}");
}

#[test]
fn a_source_that_goes_blind_says_so_and_sees_again() {
    let tree = v2();
    let mut source = SystemSource::at(tree.path()).unwrap();
    tree.write("proc/self/statm", "");
    tree.write(format!("{OWN}/memory.current"), "");
    assert!(source.read().is_err());
    tree.write(format!("{OWN}/memory.current"), "220000000\n");
    assert_eq!(source.read().unwrap().working_set_bytes, Some(180_000_000));
}

#[test]
fn a_long_stat_is_read_to_its_last_whole_line() {
    let filler = "a_key_of_a_later_kernel 1\n".repeat(315);
    let cut = format!("{filler}inactive_file 40000000\n");
    assert!(filler.len() < 8192 && cut.len() > 8192, "the figure must stand across the cut");
    let tree = v2().file(format!("{OWN}/memory.stat"), cut);
    assert_eq!(read(&tree).working_set_bytes, None, "half a number is no number");
    let early = format!("inactive_file 40000000\n{filler}{filler}");
    tree.write(format!("{OWN}/memory.stat"), early);
    assert_eq!(read(&tree).working_set_bytes, Some(180_000_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_in_any_file_make_no_panic(file in 0..8_usize, content: Vec<u8>, both: bool) {
        let files = [
            "proc/self/statm",
            "proc/self/cgroup",
            "proc/self/mountinfo",
            "proc/meminfo",
            "sys/fs/cgroup/system.slice/memory.max",
            "sys/fs/cgroup/system.slice/chat.service/memory.current",
            "sys/fs/cgroup/system.slice/chat.service/memory.stat",
            "sys/fs/cgroup/system.slice/chat.service/memory.max",
        ];
        let tree = v2().file(files[file], &content);
        if both {
            tree.write("proc/self/statm", &content);
        }
        if let Ok(mut source) = SystemSource::at(tree.path()) {
            let reading = source.read();
            prop_assert!(reading.is_ok());
            prop_assert_ne!(reading.unwrap().limit_bytes, Some(0));
            prop_assert!(!source.describe().is_empty());
        }
        prop_assert!(fs::metadata(tree.path()).is_ok());
    }
}
