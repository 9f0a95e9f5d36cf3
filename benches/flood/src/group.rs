//! A memory cgroup of its own for each server, and what the kernel tells about it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";
/// A process that was killed leaves its group a little later.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// A memory cgroup with a limit and no swap; removed when dropped. Whoever is in it has to be
/// ended before.
#[derive(Debug)]
pub(crate) struct MemoryGroup {
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    V1,
    V2,
}

impl MemoryGroup {
    pub(crate) fn with_limit(bytes: u64) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (parent, version) = parent()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("plimsoll-flood-{}-{count}", process::id()));
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
    pub(crate) fn members(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    pub(crate) fn usage_file(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        })
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        File::open(self.usage_file()).map(Usage)
    }

    /// Usage less what the kernel would drop first.
    pub(crate) fn working_set(&self) -> Option<u64> {
        let inactive = match self.version {
            Version::V1 => "total_inactive_file",
            Version::V2 => "inactive_file",
        };
        let usage = self.usage().ok()?.bytes()?;
        Some(usage.saturating_sub(self.figure("memory.stat", inactive)?))
    }

    /// Processes that the kernel killed in this group for want of memory.
    pub(crate) fn killed(&self) -> Option<u64> {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        self.figure(file, "oom_kill")
    }

    /// Begins the peak anew; not every kernel can.
    pub(crate) fn reset_peak(&self) {
        let _ = fs::write(self.peak_file(), "0");
    }

    pub(crate) fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.peak_file()).ok()?.trim().parse().ok()
    }

    fn peak_file(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        })
    }

    fn figure(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        for _ in 0..REMOVE_TRIES {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            thread::park_timeout(REMOVE_PAUSE);
        }
        eprintln!("{} was not removed", self.path.display());
    }
}

/// Usage through a kept descriptor: under a microsecond for each reading.
#[derive(Debug)]
pub(crate) struct Usage(File);

impl Usage {
    pub(crate) fn bytes(&self) -> Option<u64> {
        let mut buffer = [0; 32];
        let read = self.0.read_at(&mut buffer, 0).ok()?;
        std::str::from_utf8(&buffer[..read]).ok()?.trim().parse().ok()
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
