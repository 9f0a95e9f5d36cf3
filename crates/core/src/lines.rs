//! Load lines: up to where each priority may load the ship.
//!
//! A request is admitted when `projected + cost <= line(priority)`. Usage is projected from two
//! sides, and the higher one counts:
//!
//! - `baseline + reserved`: what is promised on top of the idle process. It sees memory that was
//!   promised but not yet touched.
//! - `usage + (reserved - reserved when usage was read)`: what was measured, moved by what was
//!   promised and given back since. It sees memory that nobody promised, and it credits bytes
//!   that are already free but not yet gone from the process.
//!
//! Both are linear in `reserved`, so each line becomes one cap on the ledger, and the request
//! path compares one number.

use crate::{machine::scaled, thresholds::Watermarks};

/// Without a limit, high priority may load this share above critical.
const HIGH_ABOVE_CRITICAL_RATIO: f64 = 0.10;

/// Who is shed first when memory runs short. Ordered: low < normal < high < critical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the contract fixes the four priorities")]
pub enum Priority {
    /// Shed first: its line is half way between warning and critical.
    Low,
    /// Its line is the critical threshold.
    #[default]
    Normal,
    /// Its line is half way between critical and the limit; without a limit 10 % above critical.
    High,
    /// Never shed.
    Critical,
}

impl Priority {
    /// The word in logs and reports: `low`, `normal`, `high`, `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The lines of the three priorities that have one, in bytes of usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadLines {
    low: u64,
    normal: u64,
    high: u64,
}

/// The lines as caps on the sum of reservations; below 0 nothing is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) low: u64,
    pub(crate) normal: u64,
    pub(crate) high: u64,
    /// What a request alone could ever reserve at its line with nothing else in flight.
    pub(crate) alone: [u64; 3],
}

/// What the caps are derived from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CapInput {
    pub(crate) usage: u64,
    /// Usage of the process with nothing in flight.
    pub(crate) baseline: u64,
    /// Sum of reservations when `usage` was read.
    pub(crate) reserved: u64,
}

impl LoadLines {
    pub(crate) fn of(marks: Watermarks, limit: Option<u64>) -> Self {
        let (warning, critical) = (marks.warning_bytes(), marks.critical_bytes());
        let high = match limit {
            Some(limit) => critical + limit.saturating_sub(critical) / 2,
            None => critical.saturating_add(scaled(critical, HIGH_ABOVE_CRITICAL_RATIO)),
        };
        Self { low: warning + (critical - warning) / 2, normal: critical, high }
    }

    pub(crate) fn caps(&self, input: CapInput) -> Caps {
        let promised = |line: u64| line.saturating_sub(input.baseline);
        let measured = |line: u64| line.saturating_add(input.reserved).saturating_sub(input.usage);
        let cap = |line: u64| promised(line).min(measured(line));
        Caps {
            low: cap(self.low),
            normal: cap(self.normal),
            high: cap(self.high),
            alone: [promised(self.low), promised(self.normal), promised(self.high)],
        }
    }
}

/// Usage of the process with nothing in flight, kept from idle moments.
///
/// While requests are in flight it can only fall: what grew meanwhile may be theirs.
pub(crate) fn next_baseline(kept: Option<u64>, usage: u64, reserved: u64) -> u64 {
    match kept {
        Some(kept) if reserved > 0 => kept.min(usage),
        // Started under load: what is promised may already be in the figure.
        None if reserved > 0 => usage.saturating_sub(reserved),
        _ => usage,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::thresholds::Thresholds;

    fn lines(warning: u64, critical: u64, limit: Option<u64>) -> LoadLines {
        let marks =
            Thresholds::new(warning, critical).and_then(|t| t.resolve(None)).expect("ordered");
        LoadLines::of(marks, limit)
    }

    #[test]
    fn lines_rise_with_priority() {
        assert_eq!(lines(200, 300, Some(400)), LoadLines { low: 250, normal: 300, high: 350 });
        assert_eq!(lines(200, 300, None).high, 330);
        // A limit below critical leaves no room above it.
        assert_eq!(lines(200, 300, Some(100)).high, 300);
    }

    #[test]
    fn promises_not_yet_touched_count() {
        // 100 promised, none of it touched: usage still shows the idle process.
        let caps = lines(200, 300, None).caps(CapInput { usage: 50, baseline: 50, reserved: 100 });
        assert_eq!(caps.normal, 250);
    }

    #[test]
    fn memory_nobody_promised_counts() {
        let caps = lines(200, 300, None).caps(CapInput { usage: 280, baseline: 50, reserved: 0 });
        assert_eq!(caps.normal, 20);
        let caps = lines(200, 300, None).caps(CapInput { usage: 400, baseline: 50, reserved: 0 });
        assert_eq!(caps.normal, 0);
    }

    #[test]
    fn bytes_given_back_since_the_reading_are_credited() {
        // At the line with 100 in flight: a new request fits once an old one has ended.
        let caps =
            lines(200, 300, None).caps(CapInput { usage: 300, baseline: 200, reserved: 100 });
        assert_eq!(caps.normal, 100);
    }

    #[test]
    fn the_baseline_is_learned_idle_and_only_falls_under_load() {
        assert_eq!(next_baseline(None, 80, 30), 50);
        assert_eq!(next_baseline(Some(50), 90, 0), 90);
        assert_eq!(next_baseline(Some(50), 200, 100), 50);
        assert_eq!(next_baseline(Some(50), 40, 100), 40);
    }

    proptest! {
        #[test]
        fn an_admitted_sum_never_projects_past_its_line(
            usage in 0_u64..1_000, baseline in 0_u64..1_000, reserved in 0_u64..1_000, more in 0_u64..2_000,
        ) {
            let lines = lines(400, 700, Some(900));
            let caps = lines.caps(CapInput { usage, baseline, reserved });
            for (cap, line) in [(caps.low, lines.low), (caps.normal, lines.normal), (caps.high, lines.high)] {
                if more <= cap && cap > 0 {
                    prop_assert!(baseline + more <= line);
                    prop_assert!(usage + more <= line + reserved);
                }
            }
            prop_assert!(caps.low <= caps.normal && caps.normal <= caps.high);
        }
    }
}
