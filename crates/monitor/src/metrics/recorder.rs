//! A recorder of the monitor's own, so that `/metrics` works without one of the program's.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use metrics::{describe_counter, describe_gauge, describe_histogram, with_local_recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_util::MetricKindMask;
use plimsoll_core::{Plimsoll, Telemetry};

const CLEANUP_DURATION: &str = "plimsoll_cleanup_duration_seconds";
/// From a pass over a few small pruners to one that runs into its deadlines.
const CLEANUP_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// A gauge that is told no longer has no value: that of a figure that cannot be read any more, say.
/// It is told every 5 s, so this is long enough.
const STALE_AFTER: Duration = Duration::from_secs(30);

pub(crate) struct OwnRecorder {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    telemetry: Telemetry,
}

impl OwnRecorder {
    pub(super) fn start(plimsoll: &Plimsoll) -> Arc<Self> {
        let builder = PrometheusBuilder::new()
            .idle_timeout(MetricKindMask::GAUGE, Some(STALE_AFTER))
            .set_buckets_for_metric(Matcher::Full(CLEANUP_DURATION.to_owned()), &CLEANUP_BUCKETS)
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let own = Arc::new(Self { recorder, handle, telemetry: plimsoll.telemetry() });
        with_local_recorder(&own.recorder, describe);
        // Without scrapes too: what is recorded must be folded away, and a cleanup must be counted
        // before it leaves the history. Weak, since the telemetry leads back to Plimsoll.
        let upkeep: Weak<Self> = Arc::downgrade(&own);
        plimsoll.every_few_seconds(move || {
            if let Some(own) = upkeep.upgrade() {
                own.emit();
                own.handle.run_upkeep();
            }
        });
        own
    }

    fn emit(&self) {
        with_local_recorder(&self.recorder, || self.telemetry.emit());
    }

    /// The figures of this moment.
    pub(super) fn render(&self) -> String {
        self.emit();
        self.handle.render()
    }
}

/// The help texts.
fn describe() {
    describe_gauge!("process_resident_memory_bytes", "Resident memory size in bytes.");
    describe_gauge!("plimsoll_memory_bytes", "Memory of the process by kind.");
    describe_gauge!("plimsoll_limit_bytes", "The tightest memory limit of the container.");
    describe_gauge!("plimsoll_threshold_bytes", "Where the warning and the critical level start.");
    describe_gauge!("plimsoll_pressure_level", "0 is healthy, 1 warning, 2 critical.");
    describe_counter!("plimsoll_checks_total", "Readings of the memory taken.");
    describe_counter!("plimsoll_cleanups_total", "Cleanups that have ended.");
    describe_histogram!(CLEANUP_DURATION, "How long cleanups took.");
    describe_counter!(
        "plimsoll_cleanup_freed_bytes_total",
        "Bytes by which cleanups lowered the decision figure, as measured."
    );
    describe_counter!("plimsoll_pruner_removed_total", "Entries removed by pruners.");
    describe_counter!("plimsoll_retention_rows_deleted_total", "Rows deleted by database rules.");
    describe_gauge!(
        "plimsoll_retention_backlog_rows",
        "Rows that match a database rule and were left, counted up to 10000."
    );
    describe_gauge!(
        "plimsoll_retention_last_success_timestamp_seconds",
        "When a database rule last ran without a failure, since 1970."
    );
    describe_counter!("plimsoll_requests_admitted_total", "Requests admitted by the guard.");
    describe_counter!("plimsoll_requests_shed_total", "Requests refused by the guard.");
    describe_gauge!("plimsoll_inflight_requests", "Requests that hold a reservation.");
    describe_gauge!("plimsoll_reserved_bytes", "Bytes reserved for requests in flight.");
    describe_gauge!("plimsoll_sockets", "Connections by state: open, closing or lingering.");
    describe_counter!(
        "plimsoll_sockets_forced_total",
        "Connections removed at their deadline, since they had not ended by themselves."
    );
    describe_gauge!("plimsoll_alerts_firing", "1 while the alert fires.");
    describe_counter!(
        "plimsoll_alert_notifications_total",
        "Notifications of alerts by sink and outcome."
    );
    describe_gauge!("plimsoll_monitor_bytes", "Memory held by the monitoring itself.");
    describe_gauge!("plimsoll_build_info", "1, labelled with the version of Plimsoll.");
}
