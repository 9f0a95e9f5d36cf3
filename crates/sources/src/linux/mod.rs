//! Linux: procfs and the memory cgroup.
//!
//! `parse` and `membership` are pure; `kept` is the one place that reads in a loop; `cgroup` joins
//! them for one cgroup, `system` for the process.

mod cgroup;
mod kept;
mod membership;
mod parse;
mod system;
mod told;

pub use self::system::SystemSource;
