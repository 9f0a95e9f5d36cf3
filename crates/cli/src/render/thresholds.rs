//! The thresholds, present and changed.

use crate::{
    look::Look,
    text::figure,
    wire::{Report, Thresholds, ThresholdsChanged},
};

/// Renders the thresholds in force.
pub(crate) fn thresholds(look: &Look, report: &Report) -> String {
    format!(
        "Thresholds:\n  Warning: {}\n  Critical: {}\n  Source: {}\n",
        figure(report.threshold("warning"), "MB"),
        figure(report.threshold("critical"), "MB"),
        look.foreign(report.threshold_source().unwrap_or("n/a")),
    )
}

/// Renders a change with the values before it, and the level that follows from it.
pub(crate) fn thresholds_changed(look: &Look, changed: &ThresholdsChanged) -> String {
    let side = |pick: fn(&Thresholds) -> Option<u64>| {
        let now = changed.thresholds.as_ref().and_then(pick);
        let before = changed.previous.as_ref().and_then(pick);
        match before {
            Some(before) if Some(before) != now => {
                format!("{} (was {before}MB)", figure(now, "MB"))
            }
            _ => figure(now, "MB"),
        }
    };
    format!(
        "Thresholds:\n  Warning: {}\n  Critical: {}\nStatus: {}\n",
        side(|thresholds| thresholds.warning),
        side(|thresholds| thresholds.critical),
        look.status(&changed.status()),
    )
}
