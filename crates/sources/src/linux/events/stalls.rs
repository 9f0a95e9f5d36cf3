//! Pressure stall information: the kernel tells when tasks have waited for memory long enough.
//!
//! `accounting/psi.rst`, "Monitoring for pressure thresholds": write a share of stall and a window,
//! poll for `POLLPRI`; at most one event for each window; `POLLERR` when the source is gone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use rustix::{event::PollFlags, fs::OFlags};

use super::Ready;

/// 70 ms of stall in a second, which needs CAP_SYS_RESOURCE; and 150 ms in two, since without that
/// the kernel takes only windows of whole multiples of 2 s.
const TRIGGERS: [&str; 2] = ["some 70000 1000000\0", "some 150000 2000000\0"];

#[derive(Debug)]
pub(super) struct Stalls {
    trigger: File,
    name: &'static str,
}

impl Stalls {
    /// # Errors
    /// When the kernel does not tell, or not to this process.
    pub(super) fn of_cgroup(file: &Path) -> io::Result<Self> {
        Self::open(file, "memory pressure of the cgroup")
    }

    /// # Errors
    /// When the kernel does not tell, or not to this process.
    pub(super) fn of_machine(file: &Path) -> io::Result<Self> {
        Self::open(file, "memory pressure of the machine")
    }

    fn open(file: &Path, name: &'static str) -> io::Result<Self> {
        let mut refused = None;
        for asked in TRIGGERS {
            // A file takes one trigger and no other after it.
            let mut trigger = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(file)?;
            match trigger.write_all(asked.as_bytes()) {
                Ok(()) => return Ok(Self { trigger, name }),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.trigger.as_fd()
    }

    pub(super) fn read(&self, ready: PollFlags) -> Ready {
        if ready.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            Ready::Ended
        } else if ready.contains(PollFlags::PRI) {
            Ready::Event
        } else {
            Ready::Nothing
        }
    }
}
