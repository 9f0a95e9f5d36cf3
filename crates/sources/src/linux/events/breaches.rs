//! Version 2: `memory.events` of the cgroup and of those above it, watched for changes.
//!
//! `cgroup-v2.rst`, "Memory Interface Files": a change of a value "generates a file modified event".
//! The kernel raises it at most 100 times a second (`CGROUP_FILE_NOTIFY_MIN_INTV` in its
//! `cgroup.c`). inotify rather than `POLLPRI`: the latter is ready for ever once the cgroup is
//! removed, and ordinary files, which tests stand on, know only the former.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    event::PollFlags,
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
};

use super::Ready;

/// Room for a few dozen events; more are read by the next call.
const EVENTS_BUFFER: usize = 1024;

#[derive(Debug)]
pub(super) struct Breaches {
    changes: OwnedFd,
    /// Files that are still there.
    left: usize,
}

impl Breaches {
    /// Watches those of `files` that are there.
    ///
    /// # Errors
    /// When the first, the cgroup's own, cannot be watched.
    pub(super) fn watch(files: &[PathBuf]) -> io::Result<Self> {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut left = 0;
        for (above, file) in files.iter().enumerate() {
            match inotify::add_watch(&changes, file, WatchFlags::MODIFY) {
                Ok(_) => left += 1,
                Err(error) if above == 0 => return Err(error.into()),
                // Hidden from a container, or of an older kernel without this file.
                Err(_) => {}
            }
        }
        Ok(Self { changes, left })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    pub(super) fn read(&mut self, ready: PollFlags) -> Ready {
        if ready.is_empty() {
            return Ready::Nothing;
        }
        if !ready.contains(PollFlags::IN) {
            return Ready::Ended;
        }
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BUFFER];
        let mut events = inotify::Reader::new(&self.changes, &mut buffer);
        // Ends with `WOULDBLOCK` once nothing is left.
        while let Ok(event) = events.next() {
            if event.events().contains(ReadFlags::IGNORED) {
                self.left = self.left.saturating_sub(1);
            }
        }
        if self.left == 0 { Ready::Ended } else { Ready::Event }
    }
}
