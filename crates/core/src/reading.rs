//! What one look at the process's memory found.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Figures of one reading, in bytes. `None` is "not known here", never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryReading {
    /// Resident set of this process.
    pub rss_bytes: Option<u64>,
    /// Usage charged to the memory cgroup, less its inactive file cache: what the kernel
    /// cannot simply drop. Counts every process of the cgroup.
    pub working_set_bytes: Option<u64>,
    /// The tightest memory limit over all ancestor cgroups; `None` when there is none.
    pub limit_bytes: Option<u64>,
    /// Figures of the allocator, when one that tells them is wired in.
    pub heap: Option<HeapFigures>,
    /// When the figures were read, on the sampler's [`Clock`](crate::Clock).
    pub taken_at: Duration,
}

impl MemoryReading {
    /// Returns the figure that `metric` names, or `None` where it is not known.
    pub fn figure(&self, metric: MemoryMetric) -> Option<u64> {
        match metric {
            MemoryMetric::WorkingSet => self.working_set_bytes,
            MemoryMetric::Rss => self.rss_bytes,
            MemoryMetric::HeapUsed => self.heap.map(|heap| heap.allocated_bytes),
        }
    }
}

/// Figures of the program's allocator, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapFigures {
    /// Bytes the program holds.
    pub allocated_bytes: u64,
    /// Bytes the allocator holds from the system; its own estimate, which may count pages that
    /// are not resident.
    pub resident_bytes: u64,
}

impl HeapFigures {
    /// Pairs what the program holds with what the allocator holds.
    pub fn new(allocated_bytes: u64, resident_bytes: u64) -> Self {
        Self { allocated_bytes, resident_bytes }
    }
}

/// The figure held against the thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum MemoryMetric {
    /// The cgroup's usage less inactive file cache; what the kernel's limit acts on.
    WorkingSet,
    /// Resident set of this process.
    Rss,
    /// Bytes the program holds from its allocator.
    HeapUsed,
}

impl MemoryMetric {
    /// The name on the wire: `workingSet`, `rss` or `heapUsed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkingSet => "workingSet",
            Self::Rss => "rss",
            Self::HeapUsed => "heapUsed",
        }
    }
}

impl fmt::Display for MemoryMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MemoryMetric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "workingSet" => Ok(Self::WorkingSet),
            "rss" => Ok(Self::Rss),
            "heapUsed" => Ok(Self::HeapUsed),
            other => Err(UnknownMetric(other.to_owned())),
        }
    }
}

/// A metric name that is none of the three.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown memory metric {0:?}; accepted are workingSet, rss and heapUsed")]
pub struct UnknownMetric(String);
