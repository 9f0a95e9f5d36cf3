//! When to look again: sooner the less room is left and the faster it can fill.

use std::time::Duration;

use crate::{level::PressureLevel, machine::scaled, thresholds::Watermarks};

/// Never sooner than this: one look costs a few microseconds, so 1 kHz stays near half a
/// percent of a core.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(1);
/// Never later than this while not healthy, so that leaving a level is noticed.
pub const LONGEST_PERIOD_UNDER_PRESSURE: Duration = Duration::from_millis(100);
/// The rate assumed before a faster one was seen, in bytes per second: two threads touching
/// fresh 4 KiB pages reach 2 GiB/s on an ordinary virtual machine.
pub const ASSUMED_FILL_RATE: u64 = 2 << 30;
/// At most this share of the headroom may fill between two looks at the fastest rate.
const HEADROOM_SHARE: f64 = 0.5;
/// A faster rate is not believed: a kernel that accounts in batches shows jumps, and no machine
/// fills memory much faster.
const FASTEST_BELIEVED_RATE: u64 = 16 << 30;
/// What is remembered beyond the assumed rate halves in this time.
const RATE_HALF_LIFE: Duration = Duration::from_secs(60);
/// Two readings closer than this say more about page batching than about a rate.
const SHORTEST_RATE_SPAN: Duration = Duration::from_millis(1);

/// Remembers the fastest growth seen.
#[derive(Clone, Copy, Debug)]
pub struct FillRate {
    fastest_bytes_per_second: u64,
    halved_at: Duration,
    last: Option<(Duration, u64)>,
}

impl FillRate {
    /// Assumes [`ASSUMED_FILL_RATE`] until something faster is seen.
    pub fn new() -> Self {
        Self { fastest_bytes_per_second: ASSUMED_FILL_RATE, halved_at: Duration::ZERO, last: None }
    }

    /// Takes one reading into account.
    pub fn observe(&mut self, usage: u64, now: Duration) {
        if now.saturating_sub(self.halved_at) >= RATE_HALF_LIFE {
            self.halved_at = now;
            let beyond = self.fastest_bytes_per_second.saturating_sub(ASSUMED_FILL_RATE);
            self.fastest_bytes_per_second = ASSUMED_FILL_RATE + beyond / 2;
        }
        let Some((then, before)) = self.last else {
            self.last = Some((now, usage));
            return;
        };
        let span = now.saturating_sub(then);
        if span < SHORTEST_RATE_SPAN {
            return;
        }
        self.last = Some((now, usage));
        let grown = u128::from(usage.saturating_sub(before));
        let rate = grown * 1_000_000_000 / span.as_nanos();
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).min(FASTEST_BELIEVED_RATE);
        self.halved_at = if rate > self.fastest_bytes_per_second { now } else { self.halved_at };
        self.fastest_bytes_per_second = self.fastest_bytes_per_second.max(rate);
    }

    /// The fastest growth seen, in bytes per second: at least [`ASSUMED_FILL_RATE`], at most
    /// 16 GiB/s, what is beyond the assumed rate halved each minute.
    pub fn fastest_bytes_per_second(&self) -> u64 {
        self.fastest_bytes_per_second
    }
}

impl Default for FillRate {
    fn default() -> Self {
        Self::new()
    }
}

/// What the next period is decided from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PeriodInput {
    /// The decision figure now, in bytes.
    pub usage_bytes: u64,
    /// Where the levels start.
    pub watermarks: Watermarks,
    /// The memory limit, if there is one.
    pub limit_bytes: Option<u64>,
    /// The level now.
    pub level: PressureLevel,
    /// The fastest growth seen.
    pub fill_rate: FillRate,
    /// `MEMORY_CHECK_INTERVAL`.
    pub ceiling: Duration,
}

impl PeriodInput {
    /// Gathers what the period is decided from.
    pub fn new(
        usage_bytes: u64,
        watermarks: Watermarks,
        limit_bytes: Option<u64>,
        level: PressureLevel,
        fill_rate: FillRate,
        ceiling: Duration,
    ) -> Self {
        Self { usage_bytes, watermarks, limit_bytes, level, fill_rate, ceiling }
    }
}

/// Bytes left until the next thing happens: the next watermark above, else the limit. `None`
/// when nothing is above.
pub fn headroom_bytes(usage: u64, marks: Watermarks, limit: Option<u64>) -> Option<u64> {
    [Some(marks.warning_bytes()), Some(marks.critical_bytes()), limit]
        .into_iter()
        .flatten()
        .filter(|line| *line > usage)
        .map(|line| line - usage)
        .min()
}

/// Returns how long to wait until the next look: half the headroom at the fastest rate seen,
/// at least 1 ms, at most the check interval (and 100 ms while not healthy).
pub fn next_period(input: &PeriodInput) -> Duration {
    let ceiling = match input.level {
        PressureLevel::Healthy => input.ceiling,
        PressureLevel::Warning | PressureLevel::Critical => {
            input.ceiling.min(LONGEST_PERIOD_UNDER_PRESSURE)
        }
    };
    let Some(headroom) = headroom_bytes(input.usage_bytes, input.watermarks, input.limit_bytes)
    else {
        // Above every line with no limit known: only recovery is left to be noticed.
        return ceiling.max(SHORTEST_PERIOD);
    };
    let rate = input.fill_rate.fastest_bytes_per_second().max(1);
    let nanos = u128::from(scaled(headroom, HEADROOM_SHARE)) * 1_000_000_000 / u128::from(rate);
    let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    wait.min(ceiling).max(SHORTEST_PERIOD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::thresholds::Thresholds;

    const GIB: u64 = 1 << 30;

    fn input(usage: u64, level: PressureLevel, rate: FillRate) -> PeriodInput {
        let marks =
            Thresholds::new(4 * GIB, 6 * GIB).and_then(|t| t.resolve(None)).expect("ordered");
        PeriodInput::new(usage, marks, Some(8 * GIB), level, rate, Duration::from_secs(10))
    }

    #[test]
    fn far_from_a_line_the_wait_is_long_and_near_it_short() {
        let far = next_period(&input(0, PressureLevel::Healthy, FillRate::new()));
        let near = next_period(&input(4 * GIB - 4096, PressureLevel::Healthy, FillRate::new()));
        assert_eq!(far, Duration::from_secs(1)); // 4 GiB at 2 GiB/s, halved
        assert_eq!(near, SHORTEST_PERIOD);
    }

    #[test]
    fn a_faster_rate_once_seen_shortens_every_wait_after_it() {
        let mut rate = FillRate::new();
        rate.observe(0, Duration::ZERO);
        rate.observe(GIB, Duration::from_millis(100)); // 10 GiB/s
        rate.observe(GIB, Duration::from_secs(50));
        let wait = next_period(&input(0, PressureLevel::Healthy, rate));
        assert_eq!(wait, Duration::from_millis(200));
    }

    #[test]
    fn a_jump_does_not_keep_the_sampler_hot_for_life() {
        let mut rate = FillRate::new();
        rate.observe(0, Duration::ZERO);
        rate.observe(500 * GIB, Duration::from_millis(2));
        assert_eq!(rate.fastest_bytes_per_second(), FASTEST_BELIEVED_RATE);
        for minute in 1..=40 {
            rate.observe(500 * GIB, Duration::from_secs(61 * minute));
        }
        assert!(rate.fastest_bytes_per_second() < ASSUMED_FILL_RATE + 1_000);
    }

    #[test]
    fn without_a_limit_above_critical_the_ceiling_under_pressure_holds() {
        let mut input = input(7 * GIB, PressureLevel::Critical, FillRate::new());
        input.limit_bytes = None;
        assert_eq!(next_period(&input), LONGEST_PERIOD_UNDER_PRESSURE);
    }

    proptest! {
        #[test]
        fn at_the_fastest_rate_seen_no_line_is_crossed_by_more_than_a_floor_period(
            usage in 0..8 * GIB, observed in 0..16 * GIB,
        ) {
            let mut rate = FillRate::new();
            rate.observe(0, Duration::ZERO);
            rate.observe(observed, Duration::from_secs(1));
            let input = input(usage, PressureLevel::Healthy, rate);
            let wait = next_period(&input);
            prop_assert!(wait >= SHORTEST_PERIOD && wait <= input.ceiling);
            if wait > SHORTEST_PERIOD {
                let fill = u128::from(rate.fastest_bytes_per_second()) * wait.as_nanos() / 1_000_000_000;
                let room = headroom_bytes(usage, input.watermarks, input.limit_bytes).unwrap_or(u64::MAX);
                prop_assert!(fill <= u128::from(room));
            }
        }
    }
}
