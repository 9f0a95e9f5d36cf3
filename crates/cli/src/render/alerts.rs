//! The alerts, and what the sinks made of a test.

use std::fmt::Write as _;

use super::table::{Align, table};
use crate::{
    look::{Look, Mark},
    text::figure,
    time::parse,
    wire::{AlertState, Alerts, SinkState, SinkTest},
};

/// Resolved alerts shown.
const SHOWN: usize = 10;

/// Renders what is wrong, what is silenced, what was, and who is told.
pub(crate) fn alerts(look: &Look, alerts: &Alerts) -> String {
    let mut text = format!("{}Alerts\n=========\n", look.emoji("🔔"));
    if alerts.active.is_empty() {
        text.push_str("  none active\n");
    }
    for alert in &alerts.active {
        active(look, alert, &mut text);
    }
    if !alerts.silences.is_empty() {
        text.push_str("\nSilenced:\n");
        for silence in &alerts.silences {
            let name = word(look, silence.name.as_deref());
            let _ = writeln!(text, "  {name} until {}", stamp(look, silence.until.as_deref()));
        }
    }
    if !alerts.history.is_empty() {
        text.push_str("\nResolved:\n");
    }
    for (index, alert) in alerts.history.iter().take(SHOWN).enumerate() {
        let stamp = stamp(look, alert.resolved_at.as_deref());
        let (name, summary) =
            (word(look, alert.name.as_deref()), word(look, alert.summary.as_deref()));
        let _ = writeln!(text, "  {}. {stamp} - {name}: {summary}", index + 1);
    }
    if let Some(sinks) = alerts.sinks() {
        text.push_str("\nSinks:\n");
        let rows: Vec<_> = sinks.iter().map(|sink| row(look, sink)).collect();
        text.push_str(&table([Align::Left, Align::Left], &rows));
    }
    text
}

fn active(look: &Look, alert: &AlertState, text: &mut String) {
    let mark = match alert.severity.as_deref() {
        Some("critical") => Mark::Bad,
        Some("info") => Mark::Good,
        _ => Mark::Fair,
    };
    let _ = writeln!(
        text,
        "{} {} ({}) since {}\n   {}\n   id: {}",
        look.mark(mark),
        word(look, alert.name.as_deref()),
        word(look, alert.state.as_deref()),
        stamp(look, alert.since.as_deref()),
        word(look, alert.summary.as_deref()),
        word(look, alert.id.as_deref()),
    );
}

fn row(look: &Look, sink: &SinkState) -> [String; 2] {
    let mut told = format!("{} delivered", figure(sink.delivered, ""));
    for (count, word) in [
        (sink.failed, "failed"),
        (sink.dropped, "dropped"),
        (sink.withdrawn, "withdrawn"),
        (sink.waiting, "waiting"),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            let _ = write!(told, ", {count} {word}");
        }
    }
    [word(look, sink.name.as_deref()), told]
}

/// Renders how each sink fared.
pub(crate) fn sinks_tested(look: &Look, sinks: &[SinkTest]) -> String {
    let mut text = String::new();
    for sink in sinks {
        let name = word(look, sink.sink.as_deref());
        let _ = match sink.is_delivered() {
            true => writeln!(text, "{} {name}: delivered", look.mark(Mark::Good)),
            false => {
                let error = word(look, sink.error.as_deref());
                writeln!(text, "{} {name}: {error}", look.mark(Mark::Bad))
            }
        };
    }
    if sinks.iter().all(|sink| sink.sink.as_deref() == Some("log")) {
        text.push_str(
            "   help: the server sets ALERT_WEBHOOK_URL or ALERT_SLACK_URL to tell somebody\n",
        );
    }
    text
}

fn word(look: &Look, text: Option<&str>) -> String {
    text.map_or_else(|| "n/a".to_owned(), |text| look.foreign(text))
}

fn stamp(look: &Look, text: Option<&str>) -> String {
    parse(text).map_or_else(|| "n/a".to_owned(), |moment| look.zone.stamp(moment))
}
