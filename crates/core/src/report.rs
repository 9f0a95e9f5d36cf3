//! The report: one shape for the wire, the dashboard and the command line tool.

use serde::Serialize;

use crate::{
    alerts::AlertState,
    forecast::Forecast,
    level::PressureLevel,
    reading::{MemoryMetric, MemoryReading},
    record::CleanupRecord,
    retention::RetentionReport,
    sockets::SocketsReport,
    thresholds::{ThresholdOrigin, Watermarks},
    units::whole_mb,
};

/// Everything there is to know about the process at one moment; `data` of
/// `GET /api/monitoring/memory`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// The pressure level.
    pub status: PressureLevel,
    /// The figure held against the thresholds.
    pub metric: MemoryMetric,
    /// When the figures were read, RFC 3339; `None` before the first reading.
    pub checked_at: Option<String>,
    /// This process among others and its own earlier lives.
    pub instance: String,
    /// The version of Plimsoll.
    pub version: String,
    /// Seconds since Plimsoll was started.
    pub uptime_seconds: u64,
    /// The figures in whole MB.
    pub current: CurrentMb,
    /// The figures in bytes.
    pub bytes: ReportBytes,
    /// The thresholds in whole MB.
    pub thresholds: ReportThresholds,
    /// The thresholds in bytes.
    pub threshold_bytes: ThresholdBytes,
    /// Whether a cleanup is running.
    pub cleanup_in_progress: bool,
    /// When the newest cleanup started, in milliseconds since 1970.
    pub last_cleanup: Option<u64>,
    /// When the next automatic cleanup may run.
    pub cooldown: Cooldown,
    /// The newest five cleanups, newest first.
    pub cleanup_history: Vec<CleanupRecord>,
    /// Alerts that are pending or firing.
    pub alerts: Vec<AlertState>,
    /// Where memory is going; `None` in the first 20 min.
    pub forecast: Option<Forecast>,
    /// What the guard did.
    pub guard: GuardFigures,
    /// Sockets; `None` while no registry of them is attached.
    pub sockets: Option<SocketsReport>,
    /// Database rules; `None` until some are attached.
    pub retention: Option<RetentionReport>,
    /// Who gives pages back.
    pub release: ReleaseFigures,
    /// What monitoring itself costs.
    pub monitor: MonitorFigures,
    /// What is read, for people.
    pub source: String,
    /// Which kernel events wake the sampler before its next look is due; `None` when the source
    /// knows none.
    pub events: Option<EventFigures>,
    /// Why the newest reading failed, if it did.
    pub reading_error: Option<ReadingError>,
}

/// Whole MB (10^6 bytes); `None` is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CurrentMb {
    /// Allocated by the program.
    pub heap_used: Option<u64>,
    /// Resident in the allocator.
    pub heap_total: Option<u64>,
    /// Resident set of the process.
    pub rss: Option<u64>,
    /// Resident outside the allocator.
    pub external: Option<u64>,
    /// Held in request and response bodies and socket queues.
    pub array_buffers: Option<u64>,
}

/// Exact bytes; `None` is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ReportBytes {
    /// Allocated by the program.
    pub heap_used: Option<u64>,
    /// Resident in the allocator: its own figure, at most the resident set.
    pub heap_total: Option<u64>,
    /// Resident set of the process.
    pub rss: Option<u64>,
    /// Resident outside the allocator.
    pub external: Option<u64>,
    /// Held in request and response bodies and socket queues.
    pub array_buffers: Option<u64>,
    /// The cgroup's usage less inactive file cache.
    pub working_set: Option<u64>,
    /// The tightest memory limit.
    pub limit: Option<u64>,
    /// Held by the allocator but not by the program.
    pub retained: Option<u64>,
    /// Reserved for requests in flight.
    pub reserved: Option<u64>,
}

impl ReportBytes {
    /// Derives what follows from a reading and the ledger's sums.
    pub(crate) fn from_reading(reading: &MemoryReading, buffered: u64, reserved: u64) -> Self {
        // What an allocator holds without touching it is not resident.
        let resident = |bytes: u64| reading.rss_bytes.map_or(bytes, |rss| bytes.min(rss));
        let heap_total = reading.heap.map(|heap| resident(heap.resident_bytes));
        // The allocator is asked less often than the kernel: of what it held a moment ago, no more
        // than is resident now.
        let heap_used = reading.heap.map(|heap| resident(heap.allocated_bytes));
        Self {
            heap_used,
            heap_total,
            rss: reading.rss_bytes,
            external: reading.rss_bytes.zip(heap_total).map(|(rss, heap)| rss.saturating_sub(heap)),
            array_buffers: Some(buffered),
            working_set: reading.working_set_bytes,
            limit: reading.limit_bytes,
            retained: heap_total.zip(heap_used).map(|(total, used)| total.saturating_sub(used)),
            reserved: Some(reserved),
        }
    }

    pub(crate) fn in_mb(&self) -> CurrentMb {
        CurrentMb {
            heap_used: self.heap_used.map(whole_mb),
            heap_total: self.heap_total.map(whole_mb),
            rss: self.rss.map(whole_mb),
            external: self.external.map(whole_mb),
            array_buffers: self.array_buffers.map(whole_mb),
        }
    }
}

/// The thresholds as people write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ReportThresholds {
    /// Where warning starts, in MB.
    pub warning: u64,
    /// Where critical starts, in MB.
    pub critical: u64,
    /// Always `MB`, 10^6 bytes.
    pub unit: &'static str,
    /// Who set them.
    pub source: ThresholdOrigin,
}

impl ReportThresholds {
    pub(crate) fn of(marks: Watermarks, source: ThresholdOrigin) -> Self {
        Self {
            warning: whole_mb(marks.warning_bytes()),
            critical: whole_mb(marks.critical_bytes()),
            unit: "MB",
            source,
        }
    }
}

/// The thresholds in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ThresholdBytes {
    /// Where warning starts.
    pub warning: u64,
    /// Where critical starts.
    pub critical: u64,
}

/// When the next automatic cleanup may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Cooldown {
    /// Milliseconds until the level deserved now may be cleaned up for again.
    pub remaining_ms: u64,
}

/// What the guard does with work that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum GuardMode {
    /// No guard layer was made.
    #[default]
    Off,
    /// It counts what it would refuse.
    Observe,
    /// It refuses.
    Enforce,
}

/// What the guard did since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GuardFigures {
    /// What it does with work that does not fit.
    pub mode: GuardMode,
    /// Requests in flight, until their response body is dropped.
    pub in_flight: u64,
    /// Bytes reserved for them.
    pub reserved_bytes: u64,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub shed: u64,
    /// Requests that would have been refused when only observing.
    pub would_have_shed: u64,
    /// Requests that were admitted and then cancelled, since memory stayed critical.
    pub cancelled: u64,
    /// Whether what requests allocate is attributed to them.
    pub attributed: bool,
}

/// Who gives pages back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ReleaseFigures {
    /// The allocators wired in; empty when none is.
    pub backends: Vec<&'static str>,
    /// The same with their figures.
    pub heaps: Vec<BackendFigures>,
}

/// One heap of the process, and what was given back of it. Bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BackendFigures {
    /// The allocator's name.
    pub name: &'static str,
    /// Bytes the program holds of it; `None` where it does not tell.
    pub heap_used: Option<u64>,
    /// Bytes it holds from the system, by its own estimate; `None` where it does not tell.
    pub heap_total: Option<u64>,
    /// Passes since the start.
    pub passes: u64,
    /// By how much the resident set fell in them, in all.
    pub freed_bytes: u64,
}

/// Which kernel events wake the sampler, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EventFigures {
    /// What is waited for, such as `usage thresholds of cgroup v1`.
    pub active: Vec<String>,
    /// What cannot be waited for here, each with the reason.
    pub missing: Vec<String>,
}

impl EventFigures {
    /// Pairs what is waited for with what cannot be.
    pub fn new(active: Vec<String>, missing: Vec<String>) -> Self {
        Self { active, missing }
    }
}

/// What monitoring itself costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MonitorFigures {
    /// Bytes held by rings, alerts and queues.
    pub bytes: u64,
}

/// A reading that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ReadingError {
    /// What could not be read, and why.
    pub message: String,
    /// Milliseconds since the last reading that succeeded; `None` if none ever did.
    pub age_ms: Option<u64>,
}

/// The answer to a change of thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ThresholdChange {
    /// The thresholds in force now.
    pub thresholds: ReportThresholds,
    /// The thresholds before.
    pub previous: ReportThresholds,
    /// The level under the new ones.
    pub status: PressureLevel,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reading::HeapFigures, units::MB};

    #[test]
    fn heap_total_is_resident_and_the_rest_is_external() {
        let mut reading = MemoryReading {
            rss_bytes: Some(100 * MB),
            heap: Some(HeapFigures::new(40 * MB, 70 * MB)),
            ..MemoryReading::default()
        };
        let bytes = ReportBytes::from_reading(&reading, 0, 0);
        assert_eq!((bytes.external, bytes.retained), (Some(30 * MB), Some(30 * MB)));
        // Trimmed pages stay in the allocator's own figure.
        reading.heap = Some(HeapFigures::new(40 * MB, 300 * MB));
        let bytes = ReportBytes::from_reading(&reading, 0, 0);
        assert_eq!((bytes.heap_total, bytes.external), (Some(100 * MB), Some(0)));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let bytes = ReportBytes::from_reading(&MemoryReading::default(), 0, 0);
        let json = serde_json::to_value(bytes.in_mb()).expect("plain data");
        assert!(json["rss"].is_null() && json["heapUsed"].is_null() && json["external"].is_null());
    }
}
