//! A memory cgroup of its own for a process: the kernel as judge.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";
/// A process that was killed leaves its group a little later.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// A real memory cgroup with a limit and no swap; removed when dropped, with all who are left in it.
///
/// Whoever outgrows it is killed by the kernel, so that a test can show that a server without a guard
/// dies and one behind it lives. It takes root, and version 1 of memory cgroups or the memory
/// controller of version 2 enabled for children of the root; where that is not to be had, making one
/// fails and says why, and the test has to say that it was skipped.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::process::Command;
///
/// use plimsoll_testkit::MemoryGroup;
///
/// let group = MemoryGroup::with_limit(64_000_000)?;
/// // The shell joins the group and becomes the program, which keeps its process id.
/// let mut server = Command::new("sh")
///     .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
///     .arg(group.members())
///     .args(["my-server", "--port", "0"])
///     .spawn()?;
/// // ... requests ...
/// assert_eq!(group.killed(), Some(0));
/// server.kill()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    version: Version,
}

/// Why no memory cgroup could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryGroupError(String);

impl fmt::Display for MemoryGroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory cgroup can be made here: {}", self.0)
    }
}

impl std::error::Error for MemoryGroupError {}

#[derive(Clone, Copy, Debug)]
enum Version {
    V1,
    V2,
}

impl MemoryGroup {
    /// Makes a group with a limit of `bytes`, which the kernel rounds to pages.
    ///
    /// # Errors
    /// Where the system has no memory cgroups, or does not let this process make one.
    pub fn with_limit(bytes: u64) -> Result<Self, MemoryGroupError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (parent, version) = parent()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("plimsoll-test-{}-{count}", process::id()));
        fs::create_dir(&path).map_err(|error| failed(&path, &error))?;
        // From here on the group is removed on every way out.
        let group = Self { path, version };
        group.set_limit(bytes)?;
        let (swap, most) = match version {
            Version::V1 => ("memory.memsw.limit_in_bytes", bytes),
            Version::V2 => ("memory.swap.max", 0),
        };
        // With swap the limit would only make it slow. Not every kernel accounts it.
        let _ = fs::write(group.path.join(swap), most.to_string());
        Ok(group)
    }

    /// Changes the limit.
    ///
    /// # Errors
    /// When the kernel refuses it, as it does on version 1 below what is used.
    pub fn set_limit(&self, bytes: u64) -> Result<(), MemoryGroupError> {
        let file = self.path.join(match self.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        });
        fs::write(&file, bytes.to_string()).map_err(|error| failed(&file, &error))
    }

    /// The group's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file into which a process writes its id to join.
    pub fn members(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Whether it is of version 1, which has thresholds of usage that a process can wait for.
    pub fn is_version_1(&self) -> bool {
        matches!(self.version, Version::V1)
    }

    /// The file that tells the usage in bytes.
    pub fn usage_file(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        })
    }

    /// A reader of usage that keeps its descriptor: under a microsecond for each reading.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn usage(&self) -> io::Result<GroupUsage> {
        File::open(self.usage_file()).map(GroupUsage)
    }

    /// Usage less the inactive file cache, which the kernel would drop first, in bytes; `None` when
    /// it is not told.
    pub fn working_set_bytes(&self) -> Option<u64> {
        let inactive = match self.version {
            Version::V1 => "total_inactive_file",
            Version::V2 => "inactive_file",
        };
        let usage = self.usage().ok()?.bytes()?;
        Some(usage.saturating_sub(self.figure("memory.stat", inactive)?))
    }

    /// Processes that the kernel has killed in this group for want of memory; `None` when it is not
    /// told.
    pub fn killed(&self) -> Option<u64> {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        self.figure(file, "oom_kill")
    }

    /// The highest usage in bytes, by the kernel's own count; `None` when it is not told.
    pub fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.peak_file()).ok()?.trim().parse().ok()
    }

    /// Begins the peak anew; not every kernel can.
    pub fn reset_peak(&self) {
        let _ = fs::write(self.peak_file(), "0");
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
            for line in fs::read_to_string(self.members()).unwrap_or_default().lines() {
                if let Some(id) = line.parse().ok().and_then(Pid::from_raw) {
                    let _ = kill_process(id, Signal::KILL);
                }
            }
            thread::park_timeout(REMOVE_PAUSE);
        }
        eprintln!("{} was not removed", self.path.display());
    }
}

/// Reads the usage of a [`MemoryGroup`].
#[derive(Debug)]
pub struct GroupUsage(File);

impl GroupUsage {
    /// Bytes charged to the group now; `None` once it is gone.
    pub fn bytes(&self) -> Option<u64> {
        let mut buffer = [0; 32];
        let read = self.0.read_at(&mut buffer, 0).ok()?;
        std::str::from_utf8(&buffer[..read]).ok()?.trim().parse().ok()
    }
}

fn failed(path: &Path, error: &io::Error) -> MemoryGroupError {
    MemoryGroupError(format!("{}: {error}", path.display()))
}

fn parent() -> Result<(PathBuf, Version), MemoryGroupError> {
    if Path::new(V1).join("memory.limit_in_bytes").exists() {
        return Ok((V1.into(), Version::V1));
    }
    let delegated = Path::new(V2).join("cgroup.subtree_control");
    let controllers = fs::read_to_string(&delegated).map_err(|error| failed(&delegated, &error))?;
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        return Ok((V2.into(), Version::V2));
    }
    Err(MemoryGroupError(format!("neither {V1} nor a memory controller in {V2}")))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn whoever_outgrows_it_is_killed_and_whoever_is_left_goes_with_it() {
        let group = match MemoryGroup::with_limit(16_000_000) {
            Ok(group) => group,
            Err(why) => return eprintln!("SKIPPED: {why}"),
        };
        let join = |script: &str| {
            let script = format!(r#"echo $$ >"$0" && {script}"#);
            let mut command = Command::new("sh");
            command.arg("-c").arg(script).arg(group.members()).stdin(Stdio::null());
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        assert_eq!(group.killed(), Some(0));
        // `dd` fills a buffer of that size.
        let mut greedy = join("exec dd if=/dev/zero of=/dev/null bs=64000000 count=1");
        assert!(!greedy.wait().unwrap().success());
        assert_eq!(group.killed(), Some(1));
        assert!(group.peak_bytes().is_some_and(|peak| peak > 15_000_000));
        let mut idle = join("exec sleep 1000");
        let path = group.path().to_owned();
        while fs::read_to_string(group.members()).unwrap().is_empty() {
            thread::yield_now();
        }
        drop(group);
        assert!(!idle.wait().unwrap().success());
        assert!(!path.exists());
    }

    #[test]
    fn why_there_is_none_is_told() {
        let error = failed(Path::new("/sys/x"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "no memory cgroup can be made here: /sys/x: permission denied"
        );
    }
}
