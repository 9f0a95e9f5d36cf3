//! What the log says of a broken file: once, with its path and the cause.
#![cfg(target_os = "linux")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use plimsoll_core::{Clock, MemorySource};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = self.0.lock().expect("no holder panics");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no holder panics").write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(work: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    log.lines()
}

fn read_for_an_hour(tree: &FixtureTree) {
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());
    for _ in 0..3600 {
        clock.advance(Duration::from_secs(1));
        source.read().expect("readable");
    }
}

#[test]
fn a_whole_tree_is_read_in_silence() {
    for archive in [
        include_str!("fixtures/v2.txtar"),
        include_str!("fixtures/v2-root.txtar"),
        include_str!("fixtures/v1-root.txtar"),
        include_str!("fixtures/hybrid.txtar"),
        include_str!("fixtures/no-cgroup.txtar"),
    ] {
        let tree = FixtureTree::new().archive(archive);
        assert_eq!(logged(|| read_for_an_hour(&tree)), [""; 0]);
    }
}

#[test]
fn each_broken_figure_is_told_once() {
    let own = "sys/fs/cgroup/system.slice/chat.service";
    let tree = FixtureTree::new()
        .archive(include_str!("fixtures/v2.txtar"))
        .file("proc/meminfo", "")
        .file(format!("{own}/memory.stat"), "inactive_file many\n")
        .file(format!("{own}/memory.max"), "0\n")
        .file(format!("{own}/memory.current"), "-1\n");
    let lines = logged(|| read_for_an_hour(&tree));
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for (file, cause) in [
        ("proc/meminfo", "MemTotal: is missing"),
        ("memory.stat", "inactive_file is not a whole number"),
        ("memory.max", "the limit is 0"),
        ("memory.current", "usage is not a whole number"),
    ] {
        assert!(
            lines.iter().any(|line| {
                line.contains("WARN") && line.contains(file) && line.contains(cause)
            }),
            "{file}: {cause} in {lines:#?}"
        );
    }
}

#[test]
fn a_cgroup_that_no_mount_shows_is_told_once() {
    let tree = FixtureTree::new()
        .archive(include_str!("fixtures/v1.txtar"))
        .file("proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n");
    let lines = logged(|| read_for_an_hour(&tree));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("cgroup /docker/ab12 is not below any mounted"), "{lines:#?}");
}
