use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::chat::signal;

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// A memory cgroup of its own with a limit; removed when dropped, with all who are left in it.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    V1,
    V2,
}

impl MemoryGroup {
    /// Makes a group with this limit in bytes; says on standard error why it cannot, so that a
    /// skipped test is seen.
    pub fn with_limit(bytes: u64) -> Option<Self> {
        match Self::create(bytes) {
            Ok(group) => Some(group),
            Err(why) => {
                eprintln!("SKIPPED: no memory cgroup can be made here: {why}");
                None
            }
        }
    }

    fn create(bytes: u64) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (parent, version) = parent()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("plimsoll-test-{}-{count}", process::id()));
        let told = |error: io::Error| format!("{}: {error}", path.display());
        fs::create_dir(&path).map_err(told)?;
        // From here on the group is removed on every way out.
        let group = Self { path: path.clone(), version };
        let (limit, swap) = match version {
            Version::V1 => ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", bytes)),
            Version::V2 => ("memory.max", ("memory.swap.max", 0)),
        };
        fs::write(path.join(limit), bytes.to_string()).map_err(told)?;
        // With swap the limit would only make it slow. Not every kernel accounts it.
        let _ = fs::write(path.join(swap.0), swap.1.to_string());
        Ok(group)
    }

    /// The file into which a process writes its id to join.
    pub fn members(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Processes that the kernel killed in this group for want of memory.
    ///
    /// # Panics
    /// When the group does not tell.
    pub fn killed(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(self.path.join(file)).expect("the group tells its events");
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no count of kills in {text}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        for id in fs::read_to_string(self.members()).unwrap_or_default().lines() {
            signal("KILL", id);
        }
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("{} was not removed: {error}", self.path.display());
        }
    }
}

fn parent() -> Result<(PathBuf, Version), String> {
    if Path::new(V1).join("memory.limit_in_bytes").exists() {
        return Ok((V1.into(), Version::V1));
    }
    let delegated = Path::new(V2).join("cgroup.subtree_control");
    let delegated = fs::read_to_string(&delegated)
        .map_err(|error| format!("{}: {error}", delegated.display()))?;
    if delegated.split_whitespace().any(|controller| controller == "memory") {
        return Ok((V2.into(), Version::V2));
    }
    Err(format!("neither {V1} nor a memory controller in {V2}"))
}
