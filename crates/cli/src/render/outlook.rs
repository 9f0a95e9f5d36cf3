//! What `doctor` concludes of what is to come and of who is told.

use jiff::Timestamp;

use crate::{
    look::Mark,
    render::doctor::Finding,
    text::count,
    time::{parse, span},
    wire::{Alerts, Forecast, Report, Retention, RetentionRule},
};

/// A rule whose rows wait for more than this many intervals does not work.
const STALLED_INTERVALS: i64 = 3;
/// Uptime from which on a server that makes forecasts has one, and a little more.
const FORECAST_AFTER_SECONDS: u64 = 22 * 60;
/// An interval that the server does not tell: its default.
const DEFAULT_INTERVAL_MS: u64 = 300_000;

/// Where memory is going.
pub(crate) fn forecast(report: &Report) -> Finding {
    let name = "forecast";
    let Some(told) = &report.forecast else {
        let detail = match report.uptime_seconds {
            Some(seconds) if seconds < FORECAST_AFTER_SECONDS => {
                "none yet: it takes 20m of readings"
            }
            _ => "none: this server makes no forecast",
        };
        return Finding::good(name, detail.to_owned());
    };
    let detail = forecast_line(told);
    if told.leak_suspected != Some(true) {
        return Finding::good(name, detail);
    }
    let help = "`plimsoll watch` shows the routes that hold it; if `plimsoll cleanup --level \
                aggressive` frees little it is live data, and a pruner or a fix has to let it go";
    Finding { mark: Mark::Fair, name, detail, help: Some(help.to_owned()) }
}

/// The forecast in one line: `rises by 250 kB a second over 1h 0m: critical in about 40m`.
pub(crate) fn forecast_line(told: &Forecast) -> String {
    let Some(slope) = told.slope_bytes_per_second.filter(|slope| slope.is_finite()) else {
        return "n/a".to_owned();
    };
    let over =
        told.window_seconds.map_or_else(String::new, |seconds| format!(" over {}", span(seconds)));
    let kilobytes = slope / 1_000.0;
    let mut line = match told.leak_suspected {
        Some(true) => "a leak is suspected: ".to_owned(),
        _ => String::new(),
    };
    line.push_str(&match kilobytes {
        kilobytes if kilobytes >= 0.5 => {
            format!("live memory rises by {kilobytes:.0} kB a second{over}")
        }
        kilobytes if kilobytes <= -0.5 => {
            format!("live memory falls by {:.0} kB a second{over}", -kilobytes)
        }
        _ => format!("live memory is steady{over}"),
    });
    if kilobytes >= 0.5
        && let Some(seconds) = told.critical_in_seconds
    {
        line.push_str(&format!(", critical in about {} at this rate", span(seconds)));
    }
    line
}

/// The database rules. `None` where there are none.
pub(crate) fn retention(report: &Report, timestamp: Option<&str>) -> Option<Finding> {
    let told = report.retention.as_ref()?;
    let name = "retention";
    let now = parse(timestamp).unwrap_or_else(Timestamp::now).as_millisecond();
    let mut detail = count(told.rules.len(), "rule");
    let newest = told.rules.iter().filter_map(|rule| rule.last_success).max();
    detail.push_str(&match newest.or(told.last_run) {
        Some(at) => {
            let ago = now.saturating_sub(at).max(0).unsigned_abs() / 1_000;
            let what = if newest.is_some() { "last success" } else { "last run" };
            format!(", {what} {} ago", span(ago))
        }
        None => ", not run yet".to_owned(),
    });
    let backlog: Option<u64> = told.rules.iter().map(|rule| rule.backlog).sum();
    let capped = told.rules.iter().any(|rule| rule.backlog_capped == Some(true));
    let least = if capped { "at least " } else { "" };
    detail.push_str(&match backlog {
        Some(rows) => format!(", backlog {least}{rows}"),
        None => ", backlog n/a".to_owned(),
    });
    if told.running == Some(true) {
        detail.push_str(", running");
    }
    let fair = |what: String, help: &str| {
        let detail = format!("{detail}; {what}");
        Some(Finding { mark: Mark::Fair, name, detail, help: Some(help.to_owned()) })
    };
    if let Some((rule, outcome, why)) = told.rules.iter().find_map(failed) {
        let help = "`plimsoll aggressive --dry-run` runs each rule without deleting and says what is wrong";
        return fair(format!("{rule} {outcome}{why}"), help);
    }
    if let Some(why) = &told.paused {
        return fair(
            format!("paused: {why}"),
            "rules go on by themselves below critical: `plimsoll cleanup --level aggressive`, or higher thresholds",
        );
    }
    if let Some(rule) = told.rules.iter().find(|rule| is_stalled(told, rule, now)) {
        let rule = rule.rule.as_deref().unwrap_or("n/a");
        let help =
            "look for RetentionStalled in `plimsoll alerts`, and at the batch times in the log";
        return fair(format!("{rule} falls behind"), help);
    }
    Some(Finding::good(name, detail))
}

/// A rule whose newest run ended badly, with the outcome and the reason.
fn failed(rule: &RetentionRule) -> Option<(&str, &str, String)> {
    let last = rule.last.as_ref()?;
    let outcome =
        last.outcome.as_deref().filter(|outcome| matches!(*outcome, "failed" | "refused"))?;
    let why = last.detail.as_deref().map_or_else(String::new, |detail| format!(": {detail}"));
    Some((rule.rule.as_deref().unwrap_or("n/a"), outcome, why))
}

fn is_stalled(told: &Retention, rule: &RetentionRule, now: i64) -> bool {
    let interval = told.interval_ms.unwrap_or(DEFAULT_INTERVAL_MS);
    let interval = i64::try_from(interval).unwrap_or(i64::MAX);
    rule.backlog.is_some_and(|rows| rows > 0)
        && rule
            .last_success
            .is_some_and(|at| now.saturating_sub(at) > interval.saturating_mul(STALLED_INTERVALS))
}

/// What fires, and whether somebody is told. `None` where the server does not tell of sinks.
pub(crate) fn alerts(alerts: &Alerts) -> Option<Finding> {
    let name = "alerts";
    let sinks = alerts.sinks()?;
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "n/a".to_owned());
    let names: Vec<_> = sinks.iter().map(|sink| word(&sink.name)).collect();
    let mut detail = match names.as_slice() {
        [] | [_] => "log only: ALERT_WEBHOOK_URL or ALERT_SLACK_URL would tell somebody".to_owned(),
        names => format!("to {}", names.join(", ")),
    };
    if !alerts.silences.is_empty() {
        let silenced: Vec<_> = alerts.silences.iter().map(|silence| word(&silence.name)).collect();
        detail.push_str(&format!("; silenced: {}", silenced.join(", ")));
    }
    let fair = |what: String, help: &str| {
        let detail = format!("{detail}; {what}");
        Some(Finding { mark: Mark::Fair, name, detail, help: Some(help.to_owned()) })
    };
    let lost = |sink: &&crate::wire::SinkState| {
        sink.failed.unwrap_or(0) > 0 || sink.dropped.unwrap_or(0) > 0
    };
    if let Some(sink) = sinks.iter().find(lost) {
        let (failed, dropped) = (sink.failed.unwrap_or(0), sink.dropped.unwrap_or(0));
        let what = format!("{}: {failed} failed, {dropped} dropped", word(&sink.name));
        return fair(what, "`plimsoll alerts --test` says why");
    }
    let firing = alerts.active.iter().filter(|alert| alert.state.as_deref() == Some("firing"));
    let firing: Vec<_> = firing.map(|alert| word(&alert.name)).collect();
    if !firing.is_empty() {
        let what = format!("{} firing: {}", firing.len(), firing.join(", "));
        return fair(what, "`plimsoll alerts` says what each is about");
    }
    Some(Finding::good(name, detail))
}
