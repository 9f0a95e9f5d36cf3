//! The report, whose shape the contract fixes to the character.

use std::fmt::Write as _;

use crate::{
    look::Look,
    text::{count, figure, megabytes},
    wire::{Record, Report},
};

/// Renders the report with at most `limit` cleanups.
pub(crate) fn report(look: &Look, report: &Report, limit: usize) -> String {
    let shown = |name| figure(report.megabytes(name), "MB");
    let threshold = |name| figure(report.threshold(name), "MB");
    let mut text = format!(
        "{}Memory Report\n\
         ================\n\
         Status: {}\n\
         Heap Used: {} / {}\n\
         RSS: {}\n\
         External: {}\n\
         Array Buffers: {}\n\
         \n\
         Thresholds:\n  Warning: {}\n  Critical: {}\n\
         \n\
         {}Recent Cleanups:\n",
        look.emoji("📊"),
        look.loud_status(&report.status()),
        shown("heapUsed"),
        shown("heapTotal"),
        shown("rss"),
        shown("external"),
        shown("arrayBuffers"),
        threshold("warning"),
        threshold("critical"),
        look.emoji("🧹"),
    );
    if report.cleanup_history.is_empty() {
        text.push_str("  none yet\n");
    }
    for (index, record) in report.cleanup_history.iter().take(limit).enumerate() {
        let stamp = look.zone.stamp_millis(record.timestamp);
        let _ = writeln!(text, "  {}. {stamp} - {}", index + 1, freed(record));
    }
    text
}

/// What a cleanup freed: `Freed 800MB (6 actions)`.
pub(crate) fn freed(record: &Record) -> String {
    let actions = match record.action_count() {
        Some(actions) => count(actions, "action"),
        None => "n/a".to_owned(),
    };
    format!("Freed {} ({actions})", megabytes(record.freed_memory))
}
