//! Linux: procfs and the memory cgroup.
//!
//! `parse`, `membership` and `cache` are pure; `kept` is the one place that reads in a loop; `cgroup`
//! joins them for one cgroup, `system` for the process; `events` waits for the kernel.

mod cache;
mod cgroup;
mod events;
mod kept;
mod membership;
mod parse;
mod system;
mod told;

pub use self::system::SystemSource;
