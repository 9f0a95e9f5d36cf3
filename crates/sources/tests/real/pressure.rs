//! A real cgroup under real pressure: a running Plimsoll with the system's source and its events.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use plimsoll_core::{Clock, GrowthWatch, MemorySource, Plimsoll, PressureLevel, Thresholds, Woken};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::MemoryGroup;

use crate::group::{Holder, version_1};

const MIB: u64 = 1024 * 1024;
const LIMIT: u64 = 256 * MIB;
/// Far more than any step here takes.
const LONG: Duration = Duration::from_secs(30);

/// A cgroup with a process in it, or why there is none.
fn held(limit: u64) -> Result<(MemoryGroup, Holder), String> {
    let cgroup = version_1(limit)?;
    let holder = Holder::new().map_err(|error| format!("cannot start tail: {error}"))?;
    holder.join(&cgroup)?;
    Ok((cgroup, holder))
}

/// A file on a disk, gone on drop.
struct BigFile(PathBuf);

impl BigFile {
    fn new(bytes: u64) -> Self {
        let path = std::env::temp_dir().join(format!("plimsoll-cache-{}", std::process::id()));
        let mut file = File::create(&path).expect("a file in the directory for temporary ones");
        let chunk = vec![7_u8; 1 << 20];
        for _ in 0..bytes / MIB {
            file.write_all(&chunk).expect("room on the disk");
        }
        // What is dirty cannot be dropped, and is charged to who wrote it.
        file.sync_all().expect("a disk");
        Self(path)
    }
}

impl Drop for BigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_page_cache_that_fills_the_limit_leaves_the_level_healthy_and_what_grows_into_it_is_seen()
{
    let (cgroup, mut holder) = match held(LIMIT) {
        Ok(held) => held,
        Err(reason) => return eprintln!("SKIPPED: {reason}"),
    };
    let file = BigFile::new(384 * MIB);
    let tree = holder.tree();
    let source = SystemSource::at(tree.path()).expect("readable");
    let lines = Thresholds::new(100 * MIB, 140 * MIB).expect("ordered");
    let plimsoll = Plimsoll::builder().thresholds(lines).start_with(source).expect("starts");
    assert_eq!(plimsoll.reading().limit_bytes, Some(LIMIT));

    // Read by a member, so that the cache is charged here. Dropped first: pages that are cached
    // already are charged to who read them before.
    let script = "echo $$ > \"$0\" && dd if=\"$1\" iflag=nocache count=0 status=none \
                  && dd if=\"$1\" of=/dev/null bs=1M status=none";
    let mut reader = Command::new("sh")
        .args(["-c", script])
        .args([cgroup.members(), file.0.clone()])
        .spawn()
        .expect("sh");
    while reader.try_wait().expect("a child").is_none() {
        plimsoll.check().await.expect("readable");
        assert_eq!(plimsoll.level(), PressureLevel::Healthy);
    }
    let usage = cgroup.usage().expect("readable").bytes().expect("a number");
    if usage < LIMIT - 16 * MIB {
        return eprintln!("SKIPPED: the cache does not stay on this file system: {usage} bytes");
    }
    plimsoll.check().await.expect("readable");
    assert_eq!(plimsoll.level(), PressureLevel::Healthy, "{usage} bytes, nearly all cache");

    // Usage can rise no further: the kernel drops cache for each page that the holder takes.
    // `tail` keeps up to a third more than it is given, and must not be killed for it.
    holder.hold(160 * MIB);
    plimsoll.check().await.expect("readable");
    assert_eq!(plimsoll.level(), PressureLevel::Critical, "{:?}", plimsoll.reading());
    plimsoll.shutdown().await;
}

#[test]
fn memory_that_passes_a_watched_line_wakes_and_a_removed_cgroup_wakes_no_more_than_it_must() {
    let (cgroup, mut holder) = match held(LIMIT) {
        Ok(held) => held,
        Err(reason) => return eprintln!("SKIPPED: {reason}"),
    };
    let tree = holder.tree();
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());
    let mut events = source.events().expect("descriptors");
    let stop = events.stopper();
    source.watch(&[16 * MIB, 64 * MIB]);
    assert_eq!(events.wait(), Woken::Look, "thresholds were armed");
    let active = events.describe().active;
    if !active.iter().any(|name| name.contains("thresholds")) {
        return eprintln!("SKIPPED: no thresholds here: {:?}", events.describe().missing);
    }
    assert_eq!(
        source.watch(&[16 * MIB, 64 * MIB]),
        GrowthWatch::Watched,
        "the kernel has taken them"
    );
    let (tell, woken) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        while events.wait() == Woken::Look {
            let _ = tell.send(());
        }
        events
    });
    holder.hold(8 * MIB);
    assert!(woken.try_recv().is_err(), "not there yet");
    holder.hold(16 * MIB);
    woken.recv_timeout(LONG).expect("the first line was passed");

    drop(holder);
    drop(cgroup);
    // Down past the line, and the removal itself.
    woken.recv_timeout(LONG).expect("told of the end");
    assert!(source.read().is_err(), "the cgroup is gone");
    stop();
    waiting.join().expect("it does not panic");
    let looks = woken.try_iter().count();
    assert!(looks < 20, "{looks} wakes for a cgroup that is gone");
}
