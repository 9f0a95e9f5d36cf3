//! The machine and the adaptive period together on pressure curves: drawn ones and random ones.
//!
//! A simulated sampler looks at a curve when the period says so, and at no other time. What it
//! must never do holds for every curve: flap, miss a line for longer than its period promises, stay
//! up when memory is free, run hot.

use std::time::Duration;

use plimsoll_core::{
    DEFAULT_DWELL, FillRate, PeriodInput, PressureLevel, PressureMachine, SHORTEST_BURST_PERIOD,
    SHORTEST_PERIOD, Thresholds, Watermarks, next_period, watched_period,
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const WARNING: u64 = 700 * MIB;
const CRITICAL: u64 = 850 * MIB;
const LIMIT: u64 = 1000 * MIB;
const CEILING: Duration = Duration::from_secs(10);
/// Longest run of a simulation.
const LENGTH: Duration = Duration::from_secs(60);

/// What the simulated sampler saw.
#[derive(Debug)]
struct Run {
    /// When, what and the level decided from it.
    looks: Vec<(Duration, u64, PressureLevel)>,
}

impl Run {
    /// Lets a sampler watch `usage` for `length`, with its period chosen by `period`.
    fn of(
        length: Duration,
        usage: impl Fn(Duration) -> u64,
        period: fn(&PeriodInput) -> Duration,
    ) -> Self {
        let marks = marks();
        let mut machine = PressureMachine::new(DEFAULT_DWELL);
        let mut rate = FillRate::new();
        let mut now = Duration::ZERO;
        let mut looks = Vec::new();
        while now <= length {
            let seen = usage(now);
            rate.observe(seen, now);
            machine.step(seen, marks, now);
            looks.push((now, seen, machine.level()));
            let level = machine.level();
            now += period(&PeriodInput::new(seen, marks, Some(LIMIT), level, rate, CEILING));
        }
        Self { looks }
    }

    fn edges(&self) -> usize {
        self.looks.windows(2).filter(|pair| pair[0].2 != pair[1].2).count()
    }

    fn last_level(&self) -> PressureLevel {
        self.looks.last().expect("looked at the start").2
    }

    /// The most looks in any second.
    fn busiest_second(&self) -> usize {
        let second = Duration::from_secs(1);
        let mut begin = 0;
        let mut most = 0;
        for (end, look) in self.looks.iter().enumerate() {
            while look.0 - self.looks[begin].0 > second {
                begin += 1;
            }
            most = most.max(end + 1 - begin);
        }
        most
    }

    /// When critical was first seen.
    fn critical_at(&self) -> Option<(Duration, u64)> {
        let look = self.looks.iter().find(|look| look.2 == PressureLevel::Critical)?;
        Some((look.0, look.1))
    }
}

fn marks() -> Watermarks {
    Thresholds::new(WARNING, CRITICAL).and_then(|it| it.resolve(None)).expect("ordered")
}

/// `rate` bytes per second, for `time`.
fn grown(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

/// A cheap number that looks random, the same for the same place.
fn noise(place: u64) -> u64 {
    let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// What may be touched past a line until the next look: what fills in the shortest period.
fn floor_bytes(rate: u64) -> u64 {
    grown(rate, SHORTEST_PERIOD)
}

/// A flood as it looks on a server that sheds, in MiB for each 62 ms; drawn, not recorded: up in a
/// third of a second, to and fro around critical for as long as it lasts, then down.
const FLOOD: [u64; 32] = [
    60, 180, 420, 690, 830, 872, 841, 790, 818, 866, 829, 802, 857, 838, 811, 869, 842, 797, 826,
    861, 833, 808, 852, 846, 700, 520, 410, 300, 190, 120, 80, 60,
];

fn flood(now: Duration) -> u64 {
    let step = Duration::from_micros(62_500);
    let at = usize::try_from(now.as_micros() / step.as_micros()).unwrap_or(usize::MAX);
    let value = |at: usize| FLOOD.get(at).or(FLOOD.last()).copied().unwrap_or(0) * MIB;
    let (from, to) = (value(at), value(at.saturating_add(1)));
    let part = now.as_micros() % step.as_micros();
    let way = |bytes: u64| u64::try_from(u128::from(bytes) * part / step.as_micros()).unwrap_or(0);
    if to >= from { from + way(to - from) } else { from - way(from - to) }
}

#[test]
fn a_flood_is_entered_once_and_left_once() {
    let run = Run::of(Duration::from_secs(5), flood, next_period);
    // Warning, critical, and down to warning and healthy, or to healthy at once.
    assert!((3..=4).contains(&run.edges()), "{} edges", run.edges());
    assert_eq!(run.last_level(), PressureLevel::Healthy);
    let (_, seen) = run.critical_at().expect("it was critical");
    assert!(seen - CRITICAL <= floor_bytes(4 * GIB), "{seen}");
}

#[test]
fn noise_of_two_percent_on_the_line_for_a_minute_enters_once_and_leaves_never() {
    for line in [WARNING, CRITICAL] {
        let noisy = |now: Duration| {
            let place = u64::try_from(now.as_micros()).unwrap_or(0) / 200;
            line - line / 50 + noise(place) % (line / 25)
        };
        let run = Run::of(LENGTH, noisy, next_period);
        assert!(run.edges() <= 2, "{} edges at {line}", run.edges());
        // 4 % to and fro each 200 µs is faster than any memory, and even that costs no more.
        assert!(run.busiest_second() <= 10_001, "{} looks a second", run.busiest_second());
    }
}

#[test]
fn at_rest_looks_are_few_and_fewer_while_the_kernel_watches() {
    let alone = Run::of(LENGTH, |_| 50 * MIB, next_period);
    let watched = Run::of(LENGTH, |_| 50 * MIB, watched_period);
    assert!(alone.busiest_second() <= 8, "{} looks a second", alone.busiest_second());
    assert!(watched.busiest_second() <= 3, "{} looks a second", watched.busiest_second());
}

#[test]
fn a_race_that_goes_on_at_one_rate_is_not_forgotten_in_the_middle() {
    // Rates measured over other spans differ in their last digits; the newest was lower once.
    let start = 281_241_843;
    let run = Run::of(Duration::from_secs(2), |now| start + grown(1_341 * MIB, now), next_period);
    let (_, seen) = run.critical_at().expect("it gets there");
    assert!(seen - CRITICAL <= MIB, "{} past critical", seen - CRITICAL);
}

proptest! {
    // A file of seeds would be looked for beside a lib.rs; what failed has a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ramp_is_seen_before_it_is_past_the_line_by_more_than_the_floor(
        start in 0..650 * MIB, mib_per_second in 1_u64..2_048, wait_us in 0_u64..2_000_000,
    ) {
        let rate = mib_per_second * MIB;
        let begin = Duration::from_micros(wait_us);
        let ramp = |now: Duration| start + grown(rate, now.saturating_sub(begin)).min(LIMIT);
        let run = Run::of(begin + Duration::from_secs(1_100), ramp, next_period);
        for line in [WARNING, CRITICAL] {
            let first = run.looks.iter().find(|look| look.1 >= line).expect("it gets there");
            prop_assert!(first.1 - line <= floor_bytes(rate), "{} past {line}", first.1 - line);
        }
    }

    #[test]
    fn a_race_is_seen_within_a_megabyte_or_the_shortest_period(
        start in 0..400 * MIB, mib_per_second in 512_u64..2_048,
    ) {
        let rate = mib_per_second * MIB;
        let run = Run::of(Duration::from_secs(2), |now| start + grown(rate, now), next_period);
        let (_, seen) = run.critical_at().expect("it gets there");
        let most = MIB.max(grown(rate, SHORTEST_BURST_PERIOD));
        prop_assert!(seen - CRITICAL <= most, "{} past critical", seen - CRITICAL);
    }

    #[test]
    fn a_sawtooth_inside_the_band_raises_the_level_at_most_once(
        period_ms in 2_u64..5_000, depth in 1_u64..40,
    ) {
        // From critical down to inside its release band of 5 %, again and again.
        let saw = |now: Duration| {
            let part = u64::try_from(now.as_micros()).unwrap_or(0) % (period_ms * 1_000);
            CRITICAL - CRITICAL / 1_000 * depth * part / (period_ms * 1_000)
        };
        let run = Run::of(Duration::from_secs(20), saw, next_period);
        prop_assert!(run.edges() <= 1, "{} edges", run.edges());
    }

    #[test]
    fn a_sawtooth_across_everything_changes_level_at_most_four_times_a_tooth(
        period_ms in 1_500_u64..6_000,
    ) {
        let saw = |now: Duration| {
            let part = u64::try_from(now.as_micros()).unwrap_or(0) % (period_ms * 1_000);
            LIMIT * part / (period_ms * 1_000)
        };
        let run = Run::of(Duration::from_secs(20), saw, next_period);
        let teeth = 20_000_u64.div_ceil(period_ms);
        prop_assert!(run.edges() as u64 <= 4 * teeth, "{} edges, {teeth} teeth", run.edges());
        prop_assert!(run.critical_at().is_some());
    }

    #[test]
    fn a_burst_that_ends_below_the_lines_comes_down_by_itself(
        peak in CRITICAL..LIMIT, rest in 0..600 * MIB, at_ms in 0_u64..3_000, for_ms in 1_u64..2_000,
    ) {
        let (begin, end) = (Duration::from_millis(at_ms), Duration::from_millis(at_ms + for_ms));
        let burst = |now: Duration| if now >= begin && now < end { peak } else { rest };
        // After the dwell and one more look, which come within 100 ms while not healthy.
        let run = Run::of(end + DEFAULT_DWELL + Duration::from_millis(250), burst, next_period);
        prop_assert!(run.edges() <= 2);
        if run.critical_at().is_some() {
            let level = run.looks.last().map(|look| look.2);
            prop_assert_eq!(level, Some(PressureLevel::Healthy));
        }
    }

    #[test]
    fn looks_are_bounded_on_any_curve(
        points in prop::collection::vec(0..LIMIT, 2..40), step_ms in 1_u64..400,
    ) {
        let usage = |now: Duration| {
            let at = u64::try_from(now.as_micros()).unwrap_or(0) / (step_ms * 1_000);
            points[usize::try_from(at).unwrap_or(0) % points.len()]
        };
        let run = Run::of(Duration::from_secs(3), usage, next_period);
        prop_assert!(run.busiest_second() <= 10_001);
        for pair in run.looks.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= SHORTEST_BURST_PERIOD);
            // However it moves, the level is at least what the newest look entered.
            let entered = match pair[1].1 {
                CRITICAL.. => PressureLevel::Critical,
                WARNING.. => PressureLevel::Warning,
                _ => PressureLevel::Healthy,
            };
            prop_assert!(pair[1].2 >= entered);
        }
    }

    #[test]
    fn memory_that_does_not_race_is_looked_at_a_thousand_times_a_second_at_most(
        start in 0..LIMIT, mib_per_second in 0_u64..500,
    ) {
        let rate = mib_per_second * MIB;
        let run = Run::of(Duration::from_secs(4), |now| start + grown(rate, now), next_period);
        prop_assert!(run.busiest_second() <= 1_001, "{} looks a second", run.busiest_second());
    }
}
