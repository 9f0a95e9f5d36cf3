//! The tables as text.

use crate::{options::Plan, outcome::Outcome, profile::Profile};

pub(crate) const HEAD: &str = "\
variant                allocator verdict          peak  goodput/s  of best    at end  first shed   \
livez lost  p99 200   p99 503   shed/s";

pub(crate) fn title(profile: Profile, plan: &Plan) -> String {
    let (limit, seconds) = (plan.limit_bytes / 1_000_000, plan.seconds);
    format!("{profile}: limit {limit} MB, {seconds} s")
}

pub(crate) fn row(outcome: &Outcome) -> String {
    let verdict = outcome.verdict.shown();
    let peak = outcome.peak_bytes.map(|peak| peak as f64 / outcome.limit_bytes as f64);
    // From the crossing where one led to it: a guard that reads the resident set may get there
    // first, by what the kernel counts elsewhere.
    let shed = outcome.first_shed_seconds.map(|shed| match outcome.first_crossing_seconds {
        Some(crossed) if outcome.guard.sheds_by_usage() && shed >= crossed => {
            format!("{:+.0} ms", (shed - crossed) * 1e3)
        }
        _ => format!("@{:.0} ms", shed * 1e3),
    });
    format!(
        "{:<23}{:<10}{verdict:<16}{:>5}{:>11.1}{:>9.3}{:>10.1}{:>12}{:>13}{:>9}{:>10}{:>9.0}",
        outcome.guard,
        outcome.allocator,
        shown(peak.map(|share| format!("{:.0}%", share * 100.0))),
        outcome.served_per_second,
        outcome.share_of_best,
        outcome.served_per_second_at_end,
        shown(shed),
        format!("{}/{}", outcome.probes_lost, outcome.probes),
        shown(outcome.served_p99_of_hold.map(|ratio| format!("{ratio:.3}"))),
        shown(outcome.refused_p99_ms.map(|ms| format!("{ms:.1} ms"))),
        outcome.refused_per_second,
    )
}

pub(crate) fn shown(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "n/a".to_owned())
}
