//! How many rows a batch takes, and how long the next one waits.

use std::time::Duration;

use plimsoll_core::PressureLevel;

/// Rows of the first batch.
const FIRST: u32 = 500;
const LEAST: u32 = 50;
const MOST: u32 = 5_000;
/// A batch is to take this long: locks are not held for longer than people notice.
const AIM: Duration = Duration::from_millis(200);
pub(crate) const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// What a rule remembers from one run to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) pace: Pace,
    /// Where a run that stopped at its brakes had come to. The next goes on there, so that rows which
    /// stay are not looked at over and over; one that comes to the end begins anew.
    pub(crate) position: Option<String>,
}

/// Finds the batch size at which a batch takes [`AIM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    rows: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: FIRST }
    }
}

impl Pace {
    /// Rows of the next batch: half as many while memory is short.
    pub(crate) fn rows(self, level: PressureLevel) -> u32 {
        match level {
            PressureLevel::Healthy => self.rows,
            PressureLevel::Warning | PressureLevel::Critical => (self.rows / 2).max(LEAST),
        }
    }

    /// A batch of `rows` took `took`: goes towards the aim, at most to the double or the half,
    /// since one batch says little.
    pub(crate) fn learn(&mut self, rows: u32, took: Duration) {
        let took = took.as_micros().max(1);
        let fitting = u128::from(rows) * AIM.as_micros() / took;
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        let near = fitting.clamp(self.rows / 2, self.rows.saturating_mul(2));
        self.rows = near.clamp(LEAST, MOST);
    }

    /// A batch was in somebody's way.
    pub(crate) fn back_off(&mut self) {
        self.rows = (self.rows / 2).max(LEAST);
    }
}

/// The wait after a batch, at least `least`, so that others get at least half of the time. `jitter` from 0 to 1
/// makes it up to half as long again: instances that began together drift apart.
pub(crate) fn pause(took: Duration, least: Duration, jitter: f64) -> Duration {
    took.max(least).mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// The wait from one run to the next: the interval by up to a fifth more or less.
pub(crate) fn stagger(interval: Duration, jitter: f64) -> Duration {
    interval.mul_f64(0.8 + jitter.clamp(0.0, 1.0) * 0.4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn batches_grow_and_shrink_towards_the_aim() {
        for (rows, took, next) in [
            (500, ms(200), 500),
            (500, ms(100), 1_000),
            (500, ms(1), 1_000),
            (500, ms(400), 250),
            (500, ms(10_000), 250),
            (500, Duration::ZERO, 1_000),
            // Cut short, as at the end of a table: judged by the rows that it took.
            (50, ms(20), 500),
        ] {
            let mut pace = Pace::default();
            pace.learn(rows, took);
            assert_eq!(pace.rows, next, "{rows} rows in {took:?}");
        }
    }

    #[test]
    fn batches_stay_in_range() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.learn(pace.rows, Duration::ZERO);
        }
        assert_eq!(pace.rows, MOST);
        for _ in 0..20 {
            pace.back_off();
        }
        assert_eq!(pace.rows, LEAST);
        assert_eq!(pace.rows(PressureLevel::Warning), LEAST);
    }

    #[test]
    fn short_memory_halves_a_batch() {
        assert_eq!(Pace::default().rows(PressureLevel::Healthy), 500);
        assert_eq!(Pace::default().rows(PressureLevel::Warning), 250);
    }

    #[test]
    fn pauses_are_as_long_as_batches_and_never_short() {
        assert_eq!(pause(ms(10), LEAST_PAUSE, 0.0), ms(50));
        assert_eq!(pause(ms(300), LEAST_PAUSE, 0.0), ms(300));
        assert_eq!(pause(ms(300), LEAST_PAUSE, 1.0), ms(450));
        assert_eq!(stagger(ms(1_000), 0.0), ms(800));
        assert_eq!(stagger(ms(1_000), 1.0), ms(1_200));
    }
}
