//! Reads the memory of this process and of its container, for Plimsoll's sampler.
//!
//! On Linux [`SystemSource`] reads the resident set from procfs, and usage, inactive file cache and
//! limit from the memory cgroup, whether that is version 1, version 2, or version 1 on a host that
//! mounts both. Every file is opened once; a reading is a few system calls into buffers on the
//! stack. Between readings it waits for what the kernel tells by itself. Elsewhere it reads the resident set through the `memory-stats` crate.
//!
//! ```
//! use plimsoll_core::MemorySource;
//! use plimsoll_sources::SystemSource;
//!
//! # fn main() -> Result<(), plimsoll_core::SourceError> {
//! let mut source = SystemSource::detect()?;
//! let reading = source.read()?;
//! println!("{}: {:?} bytes resident", source.describe(), reading.rss_bytes);
//! # Ok(())
//! # }
//! ```
//!
//! # What it protects
//! A figure that cannot be read is `None`, never zero, and a container's limit is followed while the
//! program runs: a limit that changes counts within a second, a process that is moved to another
//! cgroup within ten. The limit is the tightest of the cgroup and all its ancestors, since the kernel
//! enforces each of them.
//!
//! # What it cannot see
//! - Ancestors above the root of the mounted cgroup tree. Inside a container that hides them, a limit
//!   of the pod or of the machine's slice is not seen; version 1 reports it all the same.
//! - Who in the cgroup uses the memory: the working set counts every process in it.
//! - Throttling: `memory.high` slows a process down and is no limit here.
//! - Swap, and the memory of a process in the root cgroup apart from its resident set: the root's
//!   figures are those of the machine.
//! - Anything between two readings that the kernel raises no event for. Only version 1 tells of memory
//!   that grows; version 2 tells of limits that were met, and pressure of memory that has run short.
//!
//! MSRV: 1.88. There are no features.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub use self::linux::SystemSource;
#[cfg(not(target_os = "linux"))]
pub use self::other::SystemSource;
