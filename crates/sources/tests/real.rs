//! The machine that the tests run on.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;

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

/// A memory cgroup below the one of this process; gone on drop.
struct RealCgroup {
    directory: PathBuf,
}

impl RealCgroup {
    /// Where version 1 is mounted and writable, else the reason why not.
    fn new(limit_bytes: u64) -> Result<Self, String> {
        let membership =
            fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = membership
            .lines()
            .find_map(|line| line.split_once(":memory:"))
            .ok_or("the memory controller is not on version 1")?
            .1;
        let directory = Path::new("/sys/fs/cgroup/memory")
            .join(own.trim_start_matches('/'))
            .join(format!("plimsoll-test-{}", std::process::id()));
        fs::create_dir(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        let cgroup = Self { directory };
        cgroup.write("memory.limit_in_bytes", limit_bytes)?;
        Ok(cgroup)
    }

    fn write(&self, file: &str, value: impl ToString) -> Result<(), String> {
        fs::write(self.directory.join(file), value.to_string())
            .map_err(|error| format!("cannot write {file}: {error}"))
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            eprintln!("left behind: {}: {error}", self.directory.display());
        }
    }
}

/// A process that holds what is written to it until it is ended.
struct Holder(Child);

impl Holder {
    fn new() -> std::io::Result<Self> {
        // `tail` keeps that much of the end of its input until it has seen the end, which never comes.
        Command::new("tail")
            .args(["-c", "33554432"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
    }

    fn hold(&mut self, bytes: u64) {
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let stdin = self.0.stdin.as_mut().expect("piped");
        for _ in 0..bytes / 1024 {
            stdin.write_all(&line).expect("the holder reads");
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_cgroup_tells_its_limit_and_its_working_set() {
    let cgroup = match RealCgroup::new(64 * MIB) {
        Ok(cgroup) => cgroup,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    // Declared after the cgroup: a cgroup can be removed only once it is empty.
    let mut holder = match Holder::new() {
        Ok(holder) => holder,
        Err(error) => return eprintln!("skipped: cannot start tail: {error}"),
    };
    cgroup.write("cgroup.procs", holder.0.id()).expect("root may move its child");
    let tree = FixtureTree::new()
        .link("proc/self", format!("/proc/{}", holder.0.id()))
        .link("proc/meminfo", "/proc/meminfo")
        .link("sys", "/sys");
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());

    let before = source.read().unwrap();
    assert_eq!(before.limit_bytes, Some(64 * MIB));
    let before = before.working_set_bytes.expect("usage of a real cgroup");
    holder.hold(16 * MIB);
    let after = source.read().unwrap().working_set_bytes.expect("usage of a real cgroup");
    let grown = after.saturating_sub(before);
    assert!((14 * MIB..40 * MIB).contains(&grown), "16 MiB held, {grown} bytes more");

    cgroup.write("memory.limit_in_bytes", 48 * MIB).expect("more than is used");
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
