//! From a reading to a verdict: the one place where level, lines and period are decided.

use std::time::Duration;

use crate::{
    ledger::Verdict,
    level::PressureLevel,
    lines::{Baseline, CapInput, LoadLines},
    machine::{LevelEdge, PressureMachine, release_line},
    period::{FillRate, PeriodInput, headroom_bytes, next_period, watched_period},
    reading::{MemoryMetric, MemoryReading},
    thresholds::{ThresholdError, ThresholdOrigin, Thresholds, Watermarks},
    units::MB,
};

/// The sampler wants to look again once this share of the headroom was reserved.
const WAKE_HEADROOM_SHARE: u64 = 8;
/// ... but not for less than this.
const LEAST_WAKE_BYTES: u64 = MB;
/// A verdict refuses for this long after the next look was due; then it counts as stalled.
pub(crate) const VERDICT_GRACE: Duration = Duration::from_secs(5);
/// Refused clients are told at least this and at most [`LONGEST_RETRY`] to stay away, jitter excluded.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Which thresholds are in force, and who said so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThresholdState {
    pub(crate) setting: Thresholds,
    pub(crate) origin: ThresholdOrigin,
    pub(crate) marks: Watermarks,
}

/// What one evaluation decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluation {
    pub(crate) figure: u64,
    pub(crate) metric: MemoryMetric,
    pub(crate) marks: Watermarks,
    pub(crate) limit: Option<u64>,
    pub(crate) edge: Option<LevelEdge>,
    pub(crate) level: PressureLevel,
    pub(crate) period: Duration,
    /// The same while the kernel will tell of growth.
    pub(crate) watched_period: Duration,
    pub(crate) verdict: Verdict,
}

/// The state behind the decisions. No I/O, no clock: told everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluator {
    metric: Option<MemoryMetric>,
    thresholds: ThresholdState,
    /// The limit that the thresholds were resolved against.
    limit: Option<u64>,
    ceiling: Duration,
    machine: PressureMachine,
    fill_rate: FillRate,
    baseline: Option<Baseline>,
    /// The metric chosen by default; it changes only with the limit, since a figure that cannot
    /// be read for a moment must not be mistaken for another.
    chosen: Option<MemoryMetric>,
    recovery: Recovery,
}

/// How fast usage falls, for telling refused clients when to come back.
#[derive(Clone, Copy, Debug, Default)]
struct Recovery {
    last: Option<(Duration, u64)>,
    bytes_per_second: Option<u64>,
}

/// The figure that decides by default: the container's working set where the kernel would kill
/// for it, else this process's resident set. Without a limit a cgroup holds whatever else its
/// user runs, which is no reason to shed.
pub(crate) fn decision_metric(
    configured: Option<MemoryMetric>,
    reading: &MemoryReading,
) -> MemoryMetric {
    match configured {
        Some(metric) => metric,
        None if reading.limit_bytes.is_some() && reading.working_set_bytes.is_some() => {
            MemoryMetric::WorkingSet
        }
        None => MemoryMetric::Rss,
    }
}

impl Evaluator {
    /// # Errors
    /// When the thresholds cannot be resolved against the limit of the first reading.
    pub(crate) fn new(
        metric: Option<MemoryMetric>,
        explicit: Option<(Thresholds, ThresholdOrigin)>,
        limit: Option<u64>,
        ceiling: Duration,
        dwell: Duration,
    ) -> Result<Self, ThresholdError> {
        let (setting, origin) =
            explicit.unwrap_or((Thresholds::defaults_for(limit), ThresholdOrigin::Default));
        let marks = setting.resolve(limit)?;
        Ok(Self {
            metric,
            thresholds: ThresholdState { setting, origin, marks },
            limit,
            ceiling,
            machine: PressureMachine::new(dwell),
            fill_rate: FillRate::new(),
            baseline: None,
            chosen: None,
            recovery: Recovery::default(),
        })
    }

    pub(crate) fn thresholds(&self) -> ThresholdState {
        self.thresholds
    }

    pub(crate) fn level(&self) -> PressureLevel {
        self.machine.level()
    }

    /// Replaces the thresholds; nothing changes when they cannot be resolved.
    pub(crate) fn set_thresholds(
        &mut self,
        setting: Thresholds,
        origin: ThresholdOrigin,
    ) -> Result<ThresholdState, ThresholdError> {
        let marks = setting.resolve(self.limit)?;
        Ok(std::mem::replace(&mut self.thresholds, ThresholdState { setting, origin, marks }))
    }

    /// Decides from one reading. `None` when it lacks the decision figure. A reading judged
    /// `anew`, for new thresholds, may be old: it is judged without release band and teaches
    /// nothing.
    pub(crate) fn evaluate(
        &mut self,
        reading: &MemoryReading,
        reserved: u64,
        now: Duration,
        anew: bool,
    ) -> Option<Evaluation> {
        let metric = self.metric_for(reading);
        let figure = reading.figure(metric)?;
        let moved = self.follow_limit(reading.limit_bytes);
        let marks = self.thresholds.marks;
        let limit = reading.limit_bytes;
        if !anew {
            self.fill_rate.observe(figure, now);
            self.recovery.observe(figure, now);
        }
        let edge = if anew || moved {
            self.machine.restart(figure, marks)
        } else {
            self.machine.step(figure, marks, now)
        };
        let level = self.machine.level();
        let taken = reading.taken_at;
        let learned = self.baseline.get_or_insert(Baseline::new(figure, reserved, taken));
        let baseline = learned.observe(figure, reserved, taken);
        let input = PeriodInput::new(figure, marks, limit, level, self.fill_rate, self.ceiling);
        let period = next_period(&input);
        let watched_period = watched_period(&input);
        let headroom = headroom_bytes(figure, marks, limit);
        let verdict = Verdict {
            caps: LoadLines::of(marks, limit).caps(CapInput { usage: figure, baseline, reserved }),
            level,
            wake_at: headroom.map_or(u64::MAX, |headroom| {
                reserved.saturating_add(LEAST_WAKE_BYTES.max(headroom / WAKE_HEADROOM_SHARE))
            }),
            // From when it was read: judging an old reading anew makes it no younger.
            valid_until: reading.taken_at + period + VERDICT_GRACE,
            retry_after: self.recovery.retry_after(figure, marks),
        };
        Some(Evaluation {
            figure,
            metric,
            marks,
            limit,
            edge,
            level,
            period,
            watched_period,
            verdict,
        })
    }

    fn metric_for(&mut self, reading: &MemoryReading) -> MemoryMetric {
        if let Some(MemoryMetric::WorkingSet) = self.chosen
            && reading.limit_bytes.is_some()
        {
            return MemoryMetric::WorkingSet;
        }
        let metric = decision_metric(self.metric, reading);
        self.chosen = self.metric.is_none().then_some(metric);
        metric
    }

    /// Thresholds that depend on the limit follow it; returns whether they changed.
    fn follow_limit(&mut self, limit: Option<u64>) -> bool {
        if limit == self.limit {
            return false;
        }
        let setting = match self.thresholds.origin {
            ThresholdOrigin::Default => Thresholds::defaults_for(limit),
            _ => self.thresholds.setting,
        };
        let before = self.thresholds.marks;
        match setting.resolve(limit) {
            Ok(marks) => {
                self.thresholds.setting = setting;
                self.thresholds.marks = marks;
            }
            // A share of a limit that is gone: the bytes it last meant stay in force.
            Err(error) => tracing::warn!(%error, "the memory limit changed; thresholds kept"),
        }
        tracing::info!(before = self.limit, after = limit, "the memory limit changed");
        self.limit = limit;
        before != self.thresholds.marks
    }
}

impl Recovery {
    fn observe(&mut self, usage: u64, now: Duration) {
        const SPAN: Duration = Duration::from_millis(100);
        let Some((then, before)) = self.last else {
            self.last = Some((now, usage));
            return;
        };
        let span = now.saturating_sub(then);
        if span < SPAN {
            return;
        }
        self.last = Some((now, usage));
        let Some(fallen) = before.checked_sub(usage).filter(|fallen| *fallen > 0) else {
            return;
        };
        let rate = u64::try_from(u128::from(fallen) * 1_000_000_000 / span.as_nanos());
        let rate = rate.unwrap_or(u64::MAX);
        // A moving average, so that one large release does not promise the next.
        self.bytes_per_second = Some(match self.bytes_per_second {
            Some(kept) => kept / 4 * 3 + rate / 4,
            None => rate,
        });
    }

    /// The time until usage is below critical's release line, at the rate it was seen to fall.
    fn retry_after(&self, usage: u64, marks: Watermarks) -> Duration {
        let excess = usage.saturating_sub(release_line(marks.critical_bytes()));
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else {
            return SHORTEST_RETRY;
        };
        let millis = u128::from(excess) * 1_000 / u128::from(rate);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
            .clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(rss: u64, working_set: Option<u64>, limit: Option<u64>) -> MemoryReading {
        MemoryReading {
            rss_bytes: Some(rss),
            working_set_bytes: working_set,
            limit_bytes: limit,
            ..MemoryReading::default()
        }
    }

    fn evaluator(explicit: Option<(u64, u64)>, limit: Option<u64>) -> Evaluator {
        let explicit =
            explicit.map(|(w, c)| (Thresholds::new(w, c).expect("ordered"), ThresholdOrigin::Api));
        Evaluator::new(None, explicit, limit, 10 * SECOND, SECOND / 2).expect("resolved")
    }

    #[test]
    fn the_working_set_decides_only_where_a_limit_acts_on_it() {
        let limited = reading(1, Some(2), Some(3));
        let shared = reading(1, Some(2), None);
        assert_eq!(decision_metric(None, &limited), MemoryMetric::WorkingSet);
        assert_eq!(decision_metric(None, &shared), MemoryMetric::Rss);
        assert_eq!(decision_metric(Some(MemoryMetric::WorkingSet), &shared).as_str(), "workingSet");
    }

    #[test]
    fn a_working_set_that_cannot_be_read_for_a_moment_is_not_replaced_by_another_figure() {
        let mut evaluator = evaluator(None, Some(256 * MB));
        let whole = reading(20 * MB, Some(216 * MB), Some(256 * MB));
        let broken = reading(20 * MB, None, Some(256 * MB));
        assert!(evaluator.evaluate(&whole, 0, SECOND, false).is_some());
        assert!(evaluator.evaluate(&broken, 0, SECOND, false).is_none());
        let unlimited = evaluator.evaluate(&reading(20 * MB, None, None), 0, SECOND, false);
        assert_eq!(unlimited.map(|evaluation| evaluation.metric), Some(MemoryMetric::Rss));
    }

    #[test]
    fn default_thresholds_follow_a_limit_that_changes_and_explicit_ones_do_not() {
        let mut by_default = evaluator(None, Some(1_000 * MB));
        assert_eq!(by_default.thresholds().marks.critical_bytes(), 850 * MB);
        by_default.evaluate(&reading(1, Some(1), Some(2_000 * MB)), 0, SECOND, false);
        assert_eq!(by_default.thresholds().marks.critical_bytes(), 1_700 * MB);
        let mut explicit = evaluator(Some((100 * MB, 200 * MB)), Some(1_000 * MB));
        explicit.evaluate(&reading(1, Some(1), Some(2_000 * MB)), 0, SECOND, false);
        assert_eq!(explicit.thresholds().marks.critical_bytes(), 200 * MB);
    }

    #[test]
    fn a_reading_without_the_figure_decides_nothing() {
        let mut evaluator = evaluator(None, None);
        assert!(evaluator.evaluate(&MemoryReading::default(), 0, SECOND, false).is_none());
        assert_eq!(evaluator.level(), PressureLevel::Healthy);
    }

    #[test]
    fn refused_thresholds_change_nothing() {
        let mut evaluator = evaluator(Some((100, 200)), None);
        let share = "70%".parse().and_then(|w| Thresholds::of(w, "85%".parse()?));
        let share: Thresholds = share.expect("ordered shares");
        assert!(evaluator.set_thresholds(share, ThresholdOrigin::Api).is_err(), "no limit");
        assert_eq!(evaluator.thresholds().marks.warning_bytes(), 100);
    }

    #[test]
    fn clients_are_told_to_wait_as_long_as_recovery_takes() {
        let mut evaluator = evaluator(Some((100 * MB, 200 * MB)), None);
        let at = |evaluator: &mut Evaluator, usage: u64, second: u32| {
            let evaluation =
                evaluator.evaluate(&reading(usage, None, None), 0, SECOND * second, false);
            evaluation.expect("has the figure").verdict.retry_after
        };
        assert_eq!(at(&mut evaluator, 300 * MB, 1), SHORTEST_RETRY, "slope unknown");
        // 25 MB/s, 85 MB above the release line of 190 MB.
        assert_eq!(at(&mut evaluator, 275 * MB, 2), Duration::from_millis(3_400));
        assert_eq!(at(&mut evaluator, 150 * MB, 3), SHORTEST_RETRY);
    }
}
