//! The pressure level as a pure function of (state, usage, watermarks, now).
//!
//! Up at once, down slowly: a level is entered the moment usage reaches its watermark, and left
//! only after usage has stayed below its release line for the dwell. So noise on a watermark
//! cannot make it flap, and no traffic is needed for it to come down.

use std::time::Duration;

use crate::{level::PressureLevel, thresholds::Watermarks};

/// A level is left this share below its watermark.
pub const RELEASE_BAND_RATIO: f64 = 0.05;
/// How long usage stays below a release line before the level is left. Longer than a burst of
/// requests, shorter than people wait for "healthy" after they have fixed the cause.
pub const DEFAULT_DWELL: Duration = Duration::from_millis(500);

/// Holds the level between readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressureMachine {
    level: PressureLevel,
    /// Since when usage has been below the release line of warning.
    below_warning_since: Option<Duration>,
    /// Since when usage has been below the release line of critical.
    below_critical_since: Option<Duration>,
    dwell: Duration,
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelEdge {
    /// The level before.
    pub from: PressureLevel,
    /// The level now.
    pub to: PressureLevel,
}

impl PressureMachine {
    /// Starts healthy; levels are left after `dwell` below their release line.
    pub fn new(dwell: Duration) -> Self {
        Self {
            level: PressureLevel::Healthy,
            below_warning_since: None,
            below_critical_since: None,
            dwell,
        }
    }

    /// The level after the last step.
    pub fn level(&self) -> PressureLevel {
        self.level
    }

    /// Takes one reading into account and returns the edge, if the level changed.
    pub fn step(&mut self, usage: u64, marks: Watermarks, now: Duration) -> Option<LevelEdge> {
        let from = self.level;
        note_below(&mut self.below_warning_since, usage < release_line(marks.warning_bytes()), now);
        note_below(
            &mut self.below_critical_since,
            usage < release_line(marks.critical_bytes()),
            now,
        );
        let entered = entered_level(usage, marks);
        self.level = match self.level {
            _ if entered > from => entered,
            PressureLevel::Critical if !self.dwelt(self.below_critical_since, now) => from,
            PressureLevel::Critical | PressureLevel::Warning
                if !self.dwelt(self.below_warning_since, now) =>
            {
                PressureLevel::Warning
            }
            _ => PressureLevel::Healthy,
        };
        (self.level != from).then_some(LevelEdge { from, to: self.level })
    }

    /// Judges anew, without release band or dwell: for new thresholds, which make the history
    /// of the old ones meaningless.
    pub fn restart(&mut self, usage: u64, marks: Watermarks) -> Option<LevelEdge> {
        let from = self.level;
        *self = Self { level: entered_level(usage, marks), ..Self::new(self.dwell) };
        (self.level != from).then_some(LevelEdge { from, to: self.level })
    }

    fn dwelt(&self, below_since: Option<Duration>, now: Duration) -> bool {
        below_since.is_some_and(|since| now.saturating_sub(since) >= self.dwell)
    }
}

/// Usage must fall below this for a level with this watermark to be left.
pub fn release_line(watermark_bytes: u64) -> u64 {
    watermark_bytes - scaled(watermark_bytes, RELEASE_BAND_RATIO)
}

fn entered_level(usage: u64, marks: Watermarks) -> PressureLevel {
    if usage >= marks.critical_bytes() {
        PressureLevel::Critical
    } else if usage >= marks.warning_bytes() {
        PressureLevel::Warning
    } else {
        PressureLevel::Healthy
    }
}

fn note_below(since: &mut Option<Duration>, below: bool, now: Duration) {
    *since = if below { since.or(Some(now)) } else { None };
}

/// `bytes * ratio` for a ratio of 0.0 to 1.0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a byte count; an error below 2^-52 of it does not matter"
)]
pub(crate) fn scaled(bytes: u64, ratio: f64) -> u64 {
    (bytes as f64 * ratio) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::thresholds::Thresholds;

    fn marks(warning: u64, critical: u64) -> Watermarks {
        Thresholds::new(warning, critical).and_then(|t| t.resolve(None)).expect("ordered")
    }

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn levels_follow_a_table_of_readings() {
        use PressureLevel::{Critical, Healthy, Warning};
        let table = [
            (0, 1_999, Healthy),
            (10, 2_000, Warning),
            (20, 2_999, Warning),
            (30, 3_000, Critical),
            (40, 2_860, Critical), // inside critical's release band
            (50, 2_849, Critical), // below it, dwell begins
            (549, 2_849, Critical),
            (550, 2_849, Warning),
            (560, 1_899, Warning), // below warning's release line, dwell begins
            (1_059, 1_899, Warning),
            (1_060, 1_899, Healthy),
        ];
        let mut machine = PressureMachine::new(ms(500));
        for (at, usage, expected) in table {
            machine.step(usage, marks(2_000, 3_000), ms(at));
            assert_eq!(machine.level(), expected, "at {at} ms with {usage}");
        }
    }

    #[test]
    fn a_spike_inside_the_dwell_starts_it_anew() {
        let mut machine = PressureMachine::new(ms(500));
        machine.step(2_000, marks(2_000, 3_000), ms(0));
        machine.step(1_000, marks(2_000, 3_000), ms(100));
        machine.step(1_950, marks(2_000, 3_000), ms(400));
        machine.step(1_000, marks(2_000, 3_000), ms(500));
        assert_eq!(machine.step(1_000, marks(2_000, 3_000), ms(999)), None);
        let edge = machine.step(1_000, marks(2_000, 3_000), ms(1_000)).expect("left");
        assert_eq!((edge.from, edge.to), (PressureLevel::Warning, PressureLevel::Healthy));
    }

    #[test]
    fn critical_falls_straight_to_healthy_when_all_is_free() {
        let mut machine = PressureMachine::new(ms(500));
        machine.step(3_000, marks(2_000, 3_000), ms(0));
        machine.step(10, marks(2_000, 3_000), ms(1));
        machine.step(10, marks(2_000, 3_000), ms(501));
        assert_eq!(machine.level(), PressureLevel::Healthy);
    }

    #[test]
    fn new_thresholds_are_judged_without_band_or_dwell() {
        let mut machine = PressureMachine::new(ms(500));
        machine.step(3_000, marks(2_000, 3_000), ms(0));
        let edge = machine.restart(3_000, marks(4_000, 5_000)).expect("left at once");
        assert_eq!(edge.to, PressureLevel::Healthy);
    }

    proptest! {
        #[test]
        fn a_level_never_flaps_inside_its_release_band(
            start in 1_900_u64..2_000, noise in prop::collection::vec(1_901_u64..2_000, 1..200),
        ) {
            // Entered once, readings inside the band never leave it; not entered, they never enter.
            for entered in [true, false] {
                let mut machine = PressureMachine::new(ms(500));
                machine.step(if entered { 2_000 } else { start }, marks(2_000, 3_000), ms(0));
                for (step, usage) in noise.iter().enumerate() {
                    let now = ms(1 + step as u64 * 100);
                    prop_assert_eq!(machine.step(*usage, marks(2_000, 3_000), now), None);
                }
            }
        }

        #[test]
        fn the_level_is_never_below_what_usage_enters(
            readings in prop::collection::vec((0_u64..4_000, 0_u64..2_000), 1..100),
        ) {
            let mut machine = PressureMachine::new(ms(500));
            let mut now = 0;
            for (usage, gap) in readings {
                now += gap;
                machine.step(usage, marks(2_000, 3_000), ms(now));
                prop_assert!(machine.level() >= entered_level(usage, marks(2_000, 3_000)));
            }
        }

        #[test]
        fn quiet_low_usage_always_ends_healthy(usage in 0_u64..1_900, peak in 0_u64..10_000) {
            let mut machine = PressureMachine::new(ms(500));
            machine.step(peak, marks(2_000, 3_000), ms(0));
            machine.step(usage, marks(2_000, 3_000), ms(1));
            machine.step(usage, marks(2_000, 3_000), ms(501));
            prop_assert_eq!(machine.level(), PressureLevel::Healthy);
        }
    }
}
