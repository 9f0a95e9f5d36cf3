//! Processes: this one's limits and memory, and the clients'.

use std::{
    error::Error,
    process::{Child, ChildStdin, Command, Stdio},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many open files as the system allows: each socket is one.
pub(crate) fn raise_file_limit() -> Result<(), Box<dyn Error>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Resident set of this process in bytes.
pub(crate) fn rss() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()).ok_or("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// Bytes that this program holds from its allocator: what is left of them, whatever pages the
/// allocator keeps.
pub(crate) fn live() -> Result<u64, Box<dyn Error>> {
    let heap = plimsoll_alloc::program_heap().ok_or("an allocator without figures")?;
    Ok(heap.figures().ok_or("an allocator without figures")?.allocated_bytes)
}

/// This program again, with other words; it ends when its standard input does.
pub(crate) struct Other {
    child: Child,
    input: Option<ChildStdin>,
}

impl Other {
    pub(crate) fn start(words: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child =
            Command::new(std::env::current_exe()?).args(words).stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    /// Ends it by its death, so that its connections are cut and not closed.
    pub(crate) fn cut(mut self) -> Result<(), Box<dyn Error>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.input.take());
        // It was waited for, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this program with other words to its end.
pub(crate) fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = Command::new(std::env::current_exe()?).args(words).status()?;
    if status.success() { Ok(()) } else { Err(format!("{words:?} ended with {status}").into()) }
}
