//! Version 1: the kernel counts up an eventfd when usage passes a threshold, up or down.
//!
//! `cgroup-v1/memory.rst`, "Memory thresholds": write `<eventfd> <fd of memory.usage_in_bytes>
//! <threshold>` to `cgroup.event_control`. When the cgroup is removed the eventfd is counted up once
//! more, and then never again.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::event::{EventfdFlags, PollFlags, eventfd};

use super::Ready;

/// Thresholds of usage; closing the eventfd takes them back.
#[derive(Debug)]
pub(super) struct Thresholds {
    counter: OwnedFd,
}

impl Thresholds {
    /// Takes milliseconds for each line, since the kernel waits until no CPU looks at the old
    /// list of thresholds: not for the sampler's thread.
    ///
    /// # Errors
    /// When the files are not there or may not be written, which is common in a container.
    pub(super) fn arm(usage: &Path, lines: &[u64]) -> io::Result<Self> {
        let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let file = File::open(usage)?;
        let control = usage.with_file_name("cgroup.event_control");
        let mut control = OpenOptions::new().write(true).open(control)?;
        for line in lines {
            let asked = format!("{} {} {line}", counter.as_raw_fd(), file.as_raw_fd());
            // One write: the kernel takes each for a whole request.
            control.write_all(asked.as_bytes())?;
        }
        Ok(Self { counter })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }

    pub(super) fn read(&self, ready: PollFlags) -> Ready {
        if ready.contains(PollFlags::IN) {
            drain(&self.counter);
            return Ready::Event;
        }
        if ready.is_empty() { Ready::Nothing } else { Ready::Ended }
    }
}

/// Sets the counter back to 0.
pub(super) fn drain(counter: &OwnedFd) {
    // Fails only when the count is 0 already.
    let _ = rustix::io::read(counter, &mut [0_u8; 8]);
}
