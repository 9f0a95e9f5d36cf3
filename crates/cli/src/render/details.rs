//! What `report -v` adds below the fixed shape.

use crate::{
    look::Look,
    render::{
        outlook::forecast_line,
        table::{Align, table},
    },
    text::{figure, megabytes},
    time::span,
    wire::{Guard, Report},
};

/// Renders the further facts of a report.
pub(crate) fn details(look: &Look, report: &Report) -> String {
    let bytes = |name| exact(report.bytes(name));
    let word =
        |text: Option<&str>| text.map_or_else(|| "n/a".to_owned(), |text| look.foreign(text));
    let threshold = |name| {
        let source = word(report.threshold_source());
        format!("{}, {source}", exact(report.threshold_bytes(name)))
    };
    let backends = report.release.as_ref().map_or_else(
        || "n/a".to_owned(),
        |release| match release.backends.as_slice() {
            [] => "none".to_owned(),
            backends => look.foreign(&backends.join(", ")),
        },
    );
    let last = report.last_cleanup;
    let rows = [
        ("Instance", word(report.instance.as_deref())),
        ("Version", word(report.version.as_deref())),
        ("Uptime", report.uptime_seconds.map_or_else(|| "n/a".to_owned(), span)),
        (
            "Checked",
            crate::time::parse(report.checked_at.as_deref())
                .map_or_else(|| "n/a".to_owned(), |moment| look.zone.stamp(moment)),
        ),
        ("Decision Metric", word(report.metric.as_deref())),
        ("Working Set", bytes("workingSet")),
        ("Limit", bytes("limit")),
        ("Retained", bytes("retained")),
        ("Reserved", bytes("reserved")),
        ("Warning", threshold("warning")),
        ("Critical", threshold("critical")),
        ("Release Backends", backends),
        (
            "Cleanup Running",
            match report.cleanup_in_progress {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => "n/a".to_owned(),
            },
        ),
        (
            "Last Cleanup",
            match last {
                Some(_) => look.zone.stamp_millis(last),
                None => "none yet".to_owned(),
            },
        ),
        ("Guard", report.guard.as_ref().map_or_else(|| "n/a".to_owned(), |told| guard(look, told))),
        ("Alerts", alerts(look, report)),
        ("Forecast", report.forecast.as_ref().map_or_else(|| "n/a".to_owned(), forecast_line)),
        ("Monitor's Own", exact(report.monitor.get("bytes").copied())),
    ];
    let rows = rows.map(|(name, value)| [format!("{name}:"), value]);
    format!("\nDetails:\n{}", table([Align::Left, Align::Left], &rows))
}

/// Megabytes with the exact bytes beside them.
fn exact(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "n/a".to_owned(),
        |bytes| format!("{} ({bytes} bytes)", megabytes(Some(bytes))),
    )
}

fn guard(look: &Look, guard: &Guard) -> String {
    let mode = guard.mode.as_deref().map_or_else(|| "n/a".to_owned(), |mode| look.foreign(mode));
    let reserved = megabytes(guard.reserved_bytes);
    format!(
        "{mode}: {} in flight, {reserved} reserved, {} admitted, {} shed, {} would have been",
        figure(guard.in_flight, ""),
        figure(guard.admitted, ""),
        figure(guard.shed, ""),
        figure(guard.would_have_shed, ""),
    )
}

fn alerts(look: &Look, report: &Report) -> String {
    if report.alerts.is_empty() {
        return "none".to_owned();
    }
    let told: Vec<String> = report
        .alerts
        .iter()
        .map(|alert| {
            let name = look.foreign(alert.name.as_deref().unwrap_or("n/a"));
            match &alert.state {
                Some(state) => format!("{name} ({})", look.foreign(state)),
                None => name,
            }
        })
        .collect();
    told.join(", ")
}
