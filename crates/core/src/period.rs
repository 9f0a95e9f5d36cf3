//! When to look again: sooner the less room is left and the faster it can fill.

use std::time::Duration;

use crate::{
    growth::FAR_RUNG_BYTES, level::PressureLevel, machine::scaled, thresholds::Watermarks,
};

/// Never sooner than this while memory does not race: one look costs a few microseconds, so
/// 1 kHz stays near half a percent of a core.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(1);
/// Never sooner than this at all. While memory races towards a line that is a few MB away, looks
/// come as often as it takes for 512 KiB to fill, which cannot last: it is past the line in a few
/// milliseconds, or it stops.
pub const SHORTEST_BURST_PERIOD: Duration = Duration::from_micros(100);
/// What may fill between two looks in a race, at the rate seen in the last moments.
const BURST_BYTES: u64 = 512 << 10;
/// A rate seen longer ago is no race any more.
const RACE_MEMORY: Duration = Duration::from_millis(10);
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
/// While the kernel will tell of growth, looks at rest are this many times fewer ...
const WATCHED_FACTOR: u32 = 16;
/// ... but not further apart than this: a cache that is dropped at the very moment memory grows
/// moves no usage, so no threshold tells.
const LONGEST_WATCHED_PERIOD: Duration = Duration::from_secs(1);
/// Memory that grows faster than this in the last moments is not at rest.
const REST_BYTES_PER_SECOND: u64 = ASSUMED_FILL_RATE / 32;

/// Remembers the fastest growth seen.
#[derive(Clone, Copy, Debug)]
pub struct FillRate {
    fastest_bytes_per_second: u64,
    halved_at: Duration,
    last: Option<(Duration, u64)>,
    /// The fastest growth of the last moments, and when it was seen.
    recent: (Duration, u64),
}

impl FillRate {
    /// Assumes [`ASSUMED_FILL_RATE`] until something faster is seen.
    pub fn new() -> Self {
        Self {
            fastest_bytes_per_second: ASSUMED_FILL_RATE,
            halved_at: Duration::ZERO,
            last: None,
            recent: (Duration::ZERO, 0),
        }
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
        // Replaced when it is old, never just dropped: in a race that goes on at nearly the same
        // rate there would be a moment without any.
        if rate >= self.recent.1 || now.saturating_sub(self.recent.0) > RACE_MEMORY {
            self.recent = (now, rate);
        }
        self.halved_at = if rate > self.fastest_bytes_per_second { now } else { self.halved_at };
        self.fastest_bytes_per_second = self.fastest_bytes_per_second.max(rate);
    }

    /// The fastest growth seen, in bytes per second: at least [`ASSUMED_FILL_RATE`], at most
    /// 16 GiB/s, what is beyond the assumed rate halved each minute.
    pub fn fastest_bytes_per_second(&self) -> u64 {
        self.fastest_bytes_per_second
    }

    /// The fastest growth of the last moments, in bytes per second; 0 at rest.
    pub fn recent_bytes_per_second(&self) -> u64 {
        self.recent.1
    }

    /// The shortest period that is of use: what fills meanwhile is little.
    fn floor(&self) -> Duration {
        let nanos = BURST_BYTES * 1_000_000_000 / self.recent.1.max(1);
        Duration::from_nanos(nanos).clamp(SHORTEST_BURST_PERIOD, SHORTEST_PERIOD)
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
/// at least 1 ms (down to 0.1 ms while memory races), at most the check interval (and 100 ms
/// while not healthy).
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
    wait.min(ceiling).max(input.fill_rate.floor())
}

/// As [`next_period`], for a sampler that the kernel wakes when memory grows to a rung below a
/// line: fewer looks while all is at rest and every rung is still ahead.
pub fn watched_period(input: &PeriodInput) -> Duration {
    let period = next_period(input);
    let headroom = headroom_bytes(input.usage_bytes, input.watermarks, input.limit_bytes);
    let at_rest = input.level == PressureLevel::Healthy
        && headroom.is_some_and(|headroom| headroom > FAR_RUNG_BYTES)
        && input.fill_rate.recent_bytes_per_second() < REST_BYTES_PER_SECOND;
    if !at_rest {
        return period;
    }
    (period * WATCHED_FACTOR).min(LONGEST_WATCHED_PERIOD).min(input.ceiling).max(period)
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

    #[test]
    fn near_a_line_a_race_is_looked_at_more_often_and_a_crawl_is_not() {
        let mut rate = FillRate::new();
        rate.observe(0, Duration::ZERO);
        rate.observe(4 * GIB - 4096, Duration::from_secs(2)); // 2 GiB/s
        let near = |rate| next_period(&input(4 * GIB - 4096, PressureLevel::Healthy, rate));
        assert_eq!(near(rate).as_micros(), 244);
        rate.observe(4 * GIB - 4096, Duration::from_millis(2_011));
        assert_eq!(near(rate), SHORTEST_PERIOD, "it stopped");
        rate.observe(5 * GIB, Duration::from_millis(2_012));
        assert_eq!(near(rate), SHORTEST_BURST_PERIOD);
    }

    #[test]
    fn while_the_kernel_watches_looks_at_rest_are_few() {
        let mb = |mb: u64| mb * 1_000_000;
        let marks =
            Thresholds::new(mb(188), mb(228)).and_then(|t| t.resolve(None)).expect("ordered");
        let rest = |usage, level, rate| {
            let limit = Some(mb(268));
            PeriodInput::new(usage, marks, limit, level, rate, Duration::from_secs(10))
        };
        let small = rest(mb(10), PressureLevel::Healthy, FillRate::new());
        assert!(next_period(&small) < Duration::from_millis(50));
        assert!(watched_period(&small) > Duration::from_millis(600));
        for (not_at_rest, why) in [
            (rest(mb(130), PressureLevel::Healthy, FillRate::new()), "past the first rung"),
            (rest(mb(10), PressureLevel::Warning, FillRate::new()), "not healthy"),
        ] {
            assert_eq!(watched_period(&not_at_rest), next_period(&not_at_rest), "{why}");
        }
        let mut rate = FillRate::new();
        rate.observe(0, Duration::ZERO);
        rate.observe(mb(10), Duration::from_millis(20));
        let grows = rest(mb(10), PressureLevel::Healthy, rate);
        assert_eq!(watched_period(&grows), next_period(&grows), "it grows");
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
            let floor = rate.floor();
            prop_assert!(wait >= floor && wait <= input.ceiling);
            prop_assert!(watched_period(&input) >= wait);
            if wait > floor {
                let fill = u128::from(rate.fastest_bytes_per_second()) * wait.as_nanos() / 1_000_000_000;
                let room = headroom_bytes(usage, input.watermarks, input.limit_bytes).unwrap_or(u64::MAX);
                prop_assert!(fill <= u128::from(room));
            }
        }
    }
}
