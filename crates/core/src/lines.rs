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

use std::time::Duration;

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

    /// The line of high priority.
    pub(crate) fn high(&self) -> u64 {
        self.high
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

/// Usage of the process with nothing in flight, as learned from readings.
///
/// What is used beyond all promises is nobody's request: `usage - reserved`. A single reading
/// says little, since promised memory may not be touched yet (then it is too low) and freed
/// pages may not be gone yet (too high). So idle readings set the baseline, falling at once and
/// rising only once they have stayed up for a while. Under load the lowest of the last moments
/// can raise it, which sees a cache that grows while requests never cease; that share then
/// fades slowly, since a later low figure may only mean promises that nobody has touched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    idle: u64,
    /// What load has raised it by.
    raised: u64,
    observed: Duration,
    /// The lowest `usage - reserved` of the last moments.
    loaded: Lowest,
    /// The same of the last seconds.
    resting: Lowest,
}

/// The lowest of the figures in a window: of its half that runs and of the half before.
#[derive(Clone, Copy, Debug)]
struct Lowest {
    halves: [u64; 2],
    started: Duration,
    half: Duration,
}

impl Lowest {
    fn new(figure: u64, half: Duration, now: Duration) -> Self {
        Self { halves: [figure; 2], started: now, half }
    }

    fn observe(&mut self, figure: u64, now: Duration) -> u64 {
        if now.saturating_sub(self.started) >= self.half {
            self.started = now;
            self.halves = [figure, self.halves[0]];
        } else {
            self.halves[0] = self.halves[0].min(figure);
        }
        self.halves[0].min(self.halves[1])
    }
}

/// Half of the time for which a higher figure must hold under load: longer than an allocator takes
/// to let go of freed pages under releases that rest between each other (at 125 ms what mimalloc
/// still held passed for the process's own, and cost a fifth of the room).
const HALF_WHILE_LOADED: Duration = Duration::from_millis(400);
/// The same at rest, where freed pages may wait a second for the release that settles them: what
/// is still there after that is the process's own. Until then `usage` itself speaks for it.
const HALF_AT_REST: Duration = Duration::from_millis(1_250);
/// What load has raised fades to half in about this time: longer than most requests live.
const FADING: Duration = Duration::from_secs(30);

impl Baseline {
    pub(crate) fn new(usage: u64, reserved: u64, now: Duration) -> Self {
        let idle = usage.saturating_sub(reserved);
        Self {
            idle,
            raised: 0,
            observed: now,
            loaded: Lowest::new(idle, HALF_WHILE_LOADED, now),
            resting: Lowest::new(idle, HALF_AT_REST, now),
        }
    }

    /// Takes one reading into account and returns the baseline.
    pub(crate) fn observe(&mut self, usage: u64, reserved: u64, now: Duration) -> u64 {
        let beyond = usage.saturating_sub(reserved);
        let lowest_loaded = self.loaded.observe(beyond, now);
        let lowest_resting = self.resting.observe(beyond, now);
        let passed = now.saturating_sub(self.observed).as_secs_f64();
        self.observed = now;
        if reserved == 0 {
            self.idle = self.idle.max(lowest_resting).min(usage);
            self.raised = 0;
        } else {
            self.idle = self.idle.min(usage);
            let faded = scaled(self.raised, (-passed / FADING.as_secs_f64()).exp2());
            self.raised = faded.max(lowest_loaded.saturating_sub(self.idle));
        }
        self.idle.saturating_add(self.raised).min(usage)
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
    fn the_baseline_falls_at_once_and_rises_after_a_while() {
        let ms = Duration::from_millis;
        let mut baseline = Baseline::new(50, 0, ms(0));
        assert_eq!(baseline.observe(135, 0, ms(10)), 50, "freed pages may still go");
        assert_eq!(baseline.observe(40, 0, ms(20)), 40);
        for at in [600, 1_200, 1_800, 2_400] {
            assert_eq!(baseline.observe(135, 0, ms(at)), 40, "a release may still settle it");
        }
        for at in [3_000, 3_600, 4_200, 4_800] {
            baseline.observe(135, 0, ms(at));
        }
        assert_eq!(baseline.observe(135, 0, ms(4_900)), 135);
        assert_eq!(baseline.observe(60, 0, ms(4_910)), 60);
    }

    #[test]
    fn what_grows_beside_requests_that_never_cease_is_no_request() {
        let mut baseline = Baseline::new(50, 0, Duration::ZERO);
        let mut last = 0;
        for step in 1..=40_u32 {
            let cache = u64::from(step) * 5;
            last = baseline.observe(50 + cache + 1, 1, Duration::from_millis(100) * step);
        }
        assert!((190..=250).contains(&last), "{last} of 250");
    }

    #[test]
    fn promises_not_touched_yet_do_not_lower_the_baseline() {
        let mut baseline = Baseline::new(50, 0, Duration::ZERO);
        for step in 1..=40_u32 {
            assert_eq!(baseline.observe(50, 200, Duration::from_millis(100) * step), 50);
        }
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
