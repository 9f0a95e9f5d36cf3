//! Metrics through the `metrics` facade, from the same numbers as the report.
//!
//! Emitted once a second by the worker, and by whoever renders them at that moment. Nothing is
//! emitted per request, so no recorder can slow one down.

use std::sync::PoisonError;

use metrics::{counter, gauge, histogram};

use crate::{record::CleanupRecord, report::ReportBytes, shared::Shared};

/// How far one recorder has been told: a histogram takes each value once.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    newest_cleanup: Option<String>,
}

/// Sums over all cleanups since the start, also those that have left the history.
#[derive(Debug, Default)]
pub(crate) struct CleanupTotals {
    counts: Vec<(CleanupKey, u64)>,
    freed_bytes: u64,
}

/// Level, trigger and outcome: words from fixed sets, so there are few.
type CleanupKey = (&'static str, &'static str, &'static str);

impl CleanupTotals {
    pub(crate) fn add(&mut self, record: &CleanupRecord) {
        let outcome = if record.has_failures() { "failed" } else { "ok" };
        let key = (record.level.as_str(), record.trigger.as_str(), outcome);
        match self.counts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((key, 1)),
        }
        self.freed_bytes = self.freed_bytes.saturating_add(record.freed_memory.unwrap_or(0));
    }
}

/// Tells the current recorder everything.
pub(crate) fn emit(shared: &Shared, cursor: &mut Cursor) {
    emit_memory(shared);
    emit_guard(shared);
    emit_sockets(shared);
    emit_cleanups(shared, cursor);
    emit_retention(shared);
    shared.alerts.emit();
    gauge!("plimsoll_monitor_bytes").set(as_f64(shared.monitor_bytes()));
    gauge!("plimsoll_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

fn emit_memory(shared: &Shared) {
    let latest = shared.latest().clone();
    let ledger = shared.ledger;
    let sockets = shared.sockets.report();
    let queued = sockets.as_ref().map_or(0, |sockets| sockets.queued_bytes);
    let bytes = ReportBytes::from_reading(
        &latest.reading,
        ledger.buffered_bytes().saturating_add(queued),
        ledger.reserved_bytes(),
    );
    if let Some(rss) = bytes.rss {
        gauge!("process_resident_memory_bytes").set(as_f64(rss));
    }
    let kinds = [
        ("working_set", bytes.working_set),
        ("rss", bytes.rss),
        ("heap_used", bytes.heap_used),
        ("heap_total", bytes.heap_total),
        ("external", bytes.external),
        ("array_buffers", bytes.array_buffers),
        ("retained", bytes.retained),
    ];
    for (kind, figure) in kinds {
        // A figure that is not known has no series: 0 would be a lie.
        if let Some(figure) = figure {
            gauge!("plimsoll_memory_bytes", "kind" => kind).set(as_f64(figure));
        }
    }
    if let Some(limit) = bytes.limit {
        gauge!("plimsoll_limit_bytes").set(as_f64(limit));
    }
    let marks = shared.evaluator().thresholds().marks;
    gauge!("plimsoll_threshold_bytes", "level" => "warning").set(as_f64(marks.warning_bytes()));
    gauge!("plimsoll_threshold_bytes", "level" => "critical").set(as_f64(marks.critical_bytes()));
    gauge!("plimsoll_pressure_level").set(f64::from(shared.level().as_u8()));
    counter!("plimsoll_checks_total").absolute(shared.sampler.checks());
}

fn emit_guard(shared: &Shared) {
    gauge!("plimsoll_inflight_requests").set(as_f64(shared.ledger.in_flight()));
    gauge!("plimsoll_reserved_bytes").set(as_f64(shared.ledger.reserved_bytes()));
    for route in shared.ledger.route_figures() {
        counter!("plimsoll_requests_admitted_total", "route" => route.name.clone())
            .absolute(route.admitted);
        for (reason, count) in [
            ("memory", route.shed_memory),
            ("too_large", route.shed_too_large),
            ("cancelled", route.cancelled),
        ] {
            if count > 0 {
                counter!("plimsoll_requests_shed_total", "route" => route.name.clone(), "reason" => reason)
                    .absolute(count);
            }
        }
    }
}

fn emit_sockets(shared: &Shared) {
    let Some(sockets) = shared.sockets.report() else { return };
    for (state, count) in
        [("open", sockets.open), ("closing", sockets.closing), ("lingering", sockets.lingering)]
    {
        gauge!("plimsoll_sockets", "state" => state).set(as_f64(count));
    }
    counter!("plimsoll_sockets_forced_total").absolute(sockets.forced);
}

fn emit_cleanups(shared: &Shared, cursor: &mut Cursor) {
    let mut records = shared.history.cleanups(usize::MAX);
    let known = records.iter().position(|r| Some(&r.id) == cursor.newest_cleanup.as_ref());
    records.truncate(known.unwrap_or(records.len()));
    for record in records.iter().rev() {
        histogram!("plimsoll_cleanup_duration_seconds")
            .record(std::time::Duration::from_millis(record.duration_ms).as_secs_f64());
    }
    if let Some(newest) = records.first() {
        cursor.newest_cleanup = Some(newest.id.clone());
    }
    let totals = shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
    for ((level, trigger, outcome), count) in &totals.counts {
        counter!("plimsoll_cleanups_total", "level" => *level, "trigger" => *trigger, "outcome" => *outcome)
            .absolute(*count);
    }
    counter!("plimsoll_cleanup_freed_bytes_total").absolute(totals.freed_bytes);
    drop(totals);
    for (pruner, removed) in shared.registry.removed_totals() {
        counter!("plimsoll_pruner_removed_total", "pruner" => pruner).absolute(removed);
    }
}

fn emit_retention(shared: &Shared) {
    let Some(runner) = shared.retention.get() else { return };
    for rule in runner.report().rules {
        let label = rule.rule;
        counter!("plimsoll_retention_rows_deleted_total", "rule" => label.clone())
            .absolute(rule.deleted_total);
        // Neither has a series before it is known.
        if let Some(backlog) = rule.backlog {
            gauge!("plimsoll_retention_backlog_rows", "rule" => label.clone()).set(as_f64(backlog));
        }
        if let Some(success) = rule.last_success {
            let seconds = std::time::Duration::from_millis(success).as_secs_f64();
            gauge!("plimsoll_retention_last_success_timestamp_seconds", "rule" => label)
                .set(seconds);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are f64; exact up to 9 PB")]
pub(crate) fn as_f64(value: u64) -> f64 {
    value as f64
}
