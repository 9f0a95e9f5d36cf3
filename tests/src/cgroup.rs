use plimsoll_testkit::MemoryGroup;

/// A memory cgroup with this limit in bytes; says on standard error why there can be none, so that a
/// skipped test is seen.
pub fn memory_group(limit_bytes: u64) -> Option<MemoryGroup> {
    match MemoryGroup::with_limit(limit_bytes) {
        Ok(group) => Some(group),
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}
