//! Readers of usage with a kept descriptor, for the guards that are not Plimsoll.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

/// Of the machines that this bench is for; asking the system needs a crate or `unsafe`.
const PAGE: u64 = 4096;

/// Usage of the cgroup.
#[derive(Debug)]
pub(super) struct GroupUsage(File);

impl GroupUsage {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    pub(super) fn bytes(&self) -> Option<u64> {
        number(&self.0, 0)
    }
}

/// The resident set of this process.
#[derive(Debug)]
pub(super) struct ResidentSet(File);

impl ResidentSet {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/statm").map(Self)
    }

    pub(super) fn bytes(&self) -> Option<u64> {
        number(&self.0, 1).map(|pages| pages * PAGE)
    }
}

fn number(file: &File, field: usize) -> Option<u64> {
    let mut buffer = [0; 128];
    let read = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..read]).ok()?;
    text.split_whitespace().nth(field)?.parse().ok()
}
