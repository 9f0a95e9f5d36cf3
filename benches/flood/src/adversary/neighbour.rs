//! Programs in a cgroup of their own that make the machine wait for memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use plimsoll_flood::MB;
use tokio::time::Instant;

use plimsoll_testkit::MemoryGroup;

/// Each reader wants all of the file, of which a tenth fits: most reads wait for a page that was
/// dropped a moment ago.
const LIMIT_BYTES: u64 = 24 * MB;
const FILE_MB: u64 = 256;
const READERS: usize = 32;
const PRESSURE: &str = "/proc/pressure/memory";

/// Readers at work; killed and waited for when dropped.
#[derive(Debug)]
pub(super) struct Neighbour {
    readers: Vec<Child>,
    file: PathBuf,
    begun: Instant,
    stalled_us: Option<u64>,
    // Declared last: it can only be removed once the readers are gone.
    group: MemoryGroup,
}

impl Neighbour {
    pub(super) fn start(scratch: &Path) -> Result<Self, String> {
        let group = MemoryGroup::with_limit(LIMIT_BYTES).map_err(|error| error.to_string())?;
        let file = scratch.join(format!("flood-neighbour-{}", std::process::id()));
        let mut neighbour =
            Self { readers: Vec::new(), file, begun: Instant::now(), stalled_us: None, group };
        // Written by one in the group, since pages belong to the group that first touched them.
        let count = FILE_MB.to_string();
        let write = r#"dd if=/dev/zero of="$1" bs=1000000 count="$2" conv=fsync 2>/dev/null"#;
        let mut writer = neighbour.spawn(write, &[&count])?;
        let written = writer.wait().map_err(|error| error.to_string())?;
        if !written.success() {
            return Err(format!("the neighbour's file was not written: {written}"));
        }
        for _ in 0..READERS {
            let reader = neighbour.spawn(r#"while cat "$1" >/dev/null; do :; done"#, &[])?;
            neighbour.readers.push(reader);
        }
        neighbour.begun = Instant::now();
        neighbour.stalled_us = stalled_us();
        Ok(neighbour)
    }

    fn spawn(&self, script: &str, more: &[&str]) -> Result<Child, String> {
        let script = format!(r#"echo $$ >"$0" && {script}"#);
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(self.group.members()).arg(&self.file).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map_err(|error| format!("sh does not start: {error}"))
    }

    /// The share of the time since the start in which some task waited for memory; `None` where
    /// the kernel does not tell.
    pub(super) fn end(self) -> Option<f64> {
        let stalled = stalled_us()?.saturating_sub(self.stalled_us?);
        Some(stalled as f64 / 1e6 / self.begun.elapsed().as_secs_f64())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // What a reader has started ends by itself: the file has an end, and soon no bytes.
        for reader in &mut self.readers {
            let _ = reader.kill();
        }
        let _ = fs::write(&self.file, "");
        for reader in &mut self.readers {
            let _ = reader.wait();
        }
        let _ = fs::remove_file(&self.file);
    }
}

/// Microseconds since the machine's start in which some task waited for memory.
fn stalled_us() -> Option<u64> {
    let text = fs::read_to_string(PRESSURE).ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split("total=").nth(1)?.trim().parse().ok()
}
