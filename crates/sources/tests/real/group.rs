//! A real memory cgroup of version 1, and a process to put into it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use plimsoll_testkit::FixtureTree;

/// A memory cgroup below the one of this process; gone on drop.
pub(crate) struct RealCgroup {
    directory: PathBuf,
}

impl RealCgroup {
    /// Where version 1 is mounted and writable, else the reason why not.
    pub(crate) fn new(limit_bytes: u64) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let membership =
            fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = membership
            .lines()
            .find_map(|line| line.split_once(":memory:"))
            .ok_or("the memory controller is not on version 1")?
            .1;
        let directory =
            Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/')).join(format!(
                "plimsoll-test-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            ));
        fs::create_dir(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        let cgroup = Self { directory };
        cgroup.write("memory.limit_in_bytes", limit_bytes)?;
        Ok(cgroup)
    }

    pub(crate) fn write(&self, file: &str, value: impl ToString) -> Result<(), String> {
        fs::write(self.directory.join(file), value.to_string())
            .map_err(|error| format!("cannot write {file}: {error}"))
    }
}

impl RealCgroup {
    /// The file into which a process writes its id to join.
    pub(crate) fn members(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Bytes charged now.
    pub(crate) fn usage(&self) -> u64 {
        let text = fs::read_to_string(self.directory.join("memory.usage_in_bytes"));
        text.ok().and_then(|text| text.trim().parse().ok()).expect("a number")
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
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn new() -> std::io::Result<Self> {
        // `tail` keeps that much of the end of its input until it has seen the end, which never comes.
        Command::new("tail")
            .args(["-c", "268435456"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// A root in which the holder is the process that is looked at.
    pub(crate) fn tree(&self) -> FixtureTree {
        FixtureTree::new()
            .link("proc/self", format!("/proc/{}", self.id()))
            .link("proc/meminfo", "/proc/meminfo")
            .link("proc/pressure", "/proc/pressure")
            .link("sys", "/sys")
    }

    pub(crate) fn hold(&mut self, bytes: u64) {
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
