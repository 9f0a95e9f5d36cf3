//! A real memory cgroup of version 1, and a process to put into it.

use std::{
    fs,
    io::Write,
    process::{Child, Command, Stdio},
};

use plimsoll_testkit::{FixtureTree, MemoryGroup};

/// Where version 1 is mounted and writable, else the reason why not.
pub(crate) fn version_1(limit_bytes: u64) -> Result<MemoryGroup, String> {
    let group = MemoryGroup::with_limit(limit_bytes).map_err(|error| error.to_string())?;
    if group.is_version_1() { Ok(group) } else { Err("memory cgroups are of version 2".into()) }
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

    pub(crate) fn join(&self, group: &MemoryGroup) -> Result<(), String> {
        fs::write(group.members(), self.id().to_string())
            .map_err(|error| format!("cannot join {}: {error}", group.path().display()))
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
