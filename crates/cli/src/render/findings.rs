//! What `doctor` concludes from a report: pure functions, so that each verdict is a table test.

use std::time::Duration;

use crate::{
    look::{Look, Mark},
    render::doctor::Finding,
    text::{count, figure, megabytes, words},
    time::{latency, parse, span},
    wire::{Record, Report, Status},
};

/// The longest gap between two checks that can be configured is 10 min; an idle sampler is never
/// older than that, and one at its default of 10 s is watched closer by the server itself.
const STALE: i64 = 600;

/// An explicit threshold at or above this share of the limit, in percent, comes too late to help.
const TOO_LATE_PERCENT: u64 = 95;

/// The server, its version, age and distance.
pub(crate) fn server(url: &str, report: &Report, waited: Duration) -> Finding {
    let instance = report.instance.as_deref().unwrap_or("n/a");
    let version = report.version.as_deref().unwrap_or("n/a");
    let uptime = report.uptime_seconds.map_or_else(|| "n/a".to_owned(), span);
    Finding::good("server", format!("{url} {instance} {version}, up {uptime}, {}", latency(waited)))
}

/// The level, and whether it is still being measured.
pub(crate) fn memory(report: &Report, timestamp: Option<&str>) -> Finding {
    let name = "memory";
    if let Some(error) = &report.reading_error {
        let message = error.message.as_deref().unwrap_or("n/a");
        return Finding {
            mark: Mark::Bad,
            name,
            detail: format!("the memory source cannot be read: {message}"),
            help: Some("look for the source in the server's log, and restart it".to_owned()),
        };
    }
    let age = parse(timestamp)
        .zip(parse(report.checked_at.as_deref()))
        .map(|(now, checked)| now.as_second() - checked.as_second());
    if let Some(age) = age.filter(|&age| age > STALE) {
        return Finding {
            mark: Mark::Bad,
            name,
            detail: format!(
                "the last check was {} ago: the sampler stands still",
                span(age.unsigned_abs())
            ),
            help: Some("look for SamplerStalled in the server's log, and restart it".to_owned()),
        };
    }
    let status = report.status();
    let detail = format!("{}, {}", status.word(), figure(report.decision(), "MB"));
    let (mark, help) = match status {
        Status::Healthy => return Finding::good(name, detail),
        Status::Warning => (Mark::Fair, "plimsoll cleanup"),
        Status::Critical => (Mark::Bad, "plimsoll cleanup --level aggressive"),
        Status::Other(_) | Status::Missing => {
            (Mark::Fair, "is the server of a later release than this tool?")
        }
    };
    Finding { mark, name, detail, help: Some(help.to_owned()) }
}

/// What wakes the sampler before its next look is due. `None` where the server tells nothing of it.
/// Never worse than good: without events the sampler looks by its own period.
pub(crate) fn events(report: &Report) -> Option<Finding> {
    let events = report.events.as_ref()?;
    let mut detail = match events.active.as_slice() {
        [] => "none, the sampler looks by its own period".to_owned(),
        active => active.join(", "),
    };
    for missing in &events.missing {
        detail.push_str("; no ");
        detail.push_str(missing);
    }
    Some(Finding::good("events", detail))
}

/// What the guard does, and where it has the costs from. `None` where the server does not tell.
pub(crate) fn guard(report: &Report) -> Option<Finding> {
    let guard = report.guard.as_ref()?;
    let costs = if guard.attributed? {
        "costs learned by plimsoll::alloc::Attributing"
    } else {
        "costs as declared: plimsoll::alloc::Attributing over the global allocator would learn them"
    };
    let mode = guard.mode.as_deref().unwrap_or("n/a");
    Some(Finding::good("guard", format!("{mode}, {costs}")))
}

/// Whether freed memory can be given back to the system.
pub(crate) fn release(report: &Report) -> Finding {
    let backends = report.release.as_ref().map(|release| release.backends.as_slice());
    let (detail, help) = match backends {
        Some([_, ..]) => {
            return Finding::good("release", backends.unwrap_or_default().join(", "));
        }
        Some([]) => (
            "no backend: freed memory stays with the process",
            "turn on the allocator's feature of the plimsoll crate, or build for glibc",
        ),
        None => ("n/a: the server does not tell", "bring the server to the release of this tool"),
    };
    Finding {
        mark: Mark::Fair,
        name: "release",
        detail: detail.to_owned(),
        help: Some(help.to_owned()),
    }
}

/// The thresholds against the container's limit.
pub(crate) fn limit(report: &Report) -> Finding {
    let name = "limit";
    let shown = |side| figure(report.threshold(side), "MB");
    let (Some(limit), Some(critical)) = (report.bytes("limit"), report.threshold_bytes("critical"))
    else {
        let source = report.threshold_source().unwrap_or("n/a");
        let detail = format!(
            "no container limit known; warning {}, critical {} ({source})",
            shown("warning"),
            shown("critical")
        );
        return Finding::good(name, detail);
    };
    let late = u128::from(critical) * 100 >= u128::from(limit) * u128::from(TOO_LATE_PERCENT);
    if !late {
        let detail = format!(
            "{}; warning {}, critical {}",
            megabytes(Some(limit)),
            shown("warning"),
            shown("critical")
        );
        return Finding::good(name, detail);
    }
    let (mark, verdict) = if critical > limit {
        (
            Mark::Bad,
            format!("above the container limit {}: it can never fire", megabytes(Some(limit))),
        )
    } else {
        (
            Mark::Fair,
            format!(
                "within 5% of the container limit {}: it can fire too late",
                megabytes(Some(limit))
            ),
        )
    };
    Finding {
        mark,
        name,
        detail: format!("critical {} is {verdict}", shown("critical")),
        help: Some(format!(
            "plimsoll thresholds 70%,85%   ({}, {})",
            megabytes(Some(percent_of(limit, 70))),
            megabytes(Some(percent_of(limit, 85)))
        )),
    }
}

/// The newest cleanup, and actions that failed in those the report holds.
pub(crate) fn cleanup(report: &Report, look: &Look) -> Finding {
    let name = "cleanup";
    let Some(last) = report.cleanup_history.first() else {
        return Finding::good(name, "none yet".to_owned());
    };
    let stamp = look.zone.stamp_millis(last.timestamp);
    let last = format!("last {stamp} freed {}", megabytes(last.freed_memory));
    let failures: Vec<String> = report
        .cleanup_history
        .iter()
        .flat_map(Record::failures)
        .map(|result| {
            let outcome = words(result.outcome.as_deref().unwrap_or_default());
            format!("{} {outcome}", result.name.as_deref().unwrap_or("n/a"))
        })
        .collect();
    let Some(first) = failures.first() else {
        return Finding::good(name, format!("{last}; no failed actions"));
    };
    Finding {
        mark: Mark::Fair,
        name,
        detail: format!("{last}; {}, newest: {first}", count(failures.len(), "failed action")),
        help: Some(
            "`plimsoll cleanup` shows why; the action belongs to the service that registered it"
                .to_owned(),
        ),
    }
}

fn percent_of(bytes: u64, percent: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(percent) / 100;
    u64::try_from(share).unwrap_or(u64::MAX)
}
