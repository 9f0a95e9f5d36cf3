//! One line for `monitor` and for `report --check`.

use crate::{look::Look, text::figure, wire::Report};

/// Renders `[2025-01-08 10:30:00] Memory: 1850MB ⚠️ warning`, stamped with the server's clock.
pub(crate) fn monitor_line(look: &Look, timestamp: Option<&str>, report: &Report) -> String {
    format!(
        "[{}] Memory: {} {}\n",
        look.zone.stamp_text(timestamp),
        figure(report.decision(), "MB"),
        look.status(&report.status()),
    )
}

/// Renders `✅ healthy: 1200MB (workingSet), warning 2000MB, critical 3000MB`.
pub(crate) fn check(look: &Look, report: &Report) -> String {
    format!(
        "{}: {} ({}), warning {}, critical {}\n",
        look.status(&report.status()),
        figure(report.decision(), "MB"),
        look.foreign(report.metric.as_deref().unwrap_or("n/a")),
        figure(report.threshold("warning"), "MB"),
        figure(report.threshold("critical"), "MB"),
    )
}
