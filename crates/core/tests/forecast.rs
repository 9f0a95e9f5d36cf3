//! The leak forecast on simulated loads: silent on what is well, in time on what leaks.
//!
//! Time is a number that the simulation counts up; each curve is told every 10 s, the longest gap of
//! a sampler at its default, and every kind of load is drawn a thousand times with other levels,
//! noise and periods.

use std::{f64::consts::PI, time::Duration};

use plimsoll_core::{Forecast, LeakForecast, MB};

const CRITICAL: u64 = 3_000 * MB;
const SEEDS: u64 = 1_000;
const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
/// Seconds between two figures.
const STEP: u32 = 10;
/// Seconds between two looks at the forecast, which changes when a window of 100 s ends. What is
/// suspected stays so for three windows, so that none is overlooked.
const LOOK: u32 = 100;
const SELDOM: u32 = 300;

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).expect("32 bits");
        f64::from(high) / f64::from(u32::MAX)
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.next()
    }

    /// Nearly normal, with the deviation 1.
    fn noise(&mut self) -> f64 {
        2.0 * ((0..3).map(|_| self.next()).sum::<f64>() - 1.5)
    }
}

/// A load: live memory as a share of critical, at a second.
type Load = Box<dyn FnMut(f64, &mut Random) -> f64>;

/// What a run told.
#[derive(Debug, Default)]
struct Run {
    /// When a leak was first suspected.
    suspected_at: Option<u32>,
    /// The forecast of that moment.
    first: Option<Forecast>,
    last: Option<Forecast>,
}

fn run(seed: u64, seconds: u32, look: u32, load: impl FnOnce(&mut Random) -> Load) -> Run {
    let mut random = Random(seed.wrapping_mul(0x1234_5678_9abc_def1));
    let mut load = load(&mut random);
    let mut forecast = LeakForecast::new();
    let mut run = Run::default();
    for second in (0..seconds).step_by(STEP as usize) {
        let share = load(f64::from(second), &mut random).max(0.0);
        let live = bytes(share);
        // The decision figure lies above: code, stacks, pages that the allocator keeps.
        let figure = live + 80 * MB;
        let now = Duration::from_secs(second.into());
        forecast.observe(now, Some(live), Some(figure), CRITICAL);
        if second % look == 0 {
            run.last = forecast.forecast(CRITICAL);
            if run.suspected_at.is_none() && run.last.is_some_and(|told| told.leak_suspected) {
                run.suspected_at = Some(second);
                run.first = run.last;
            }
        }
    }
    run
}

fn bytes(share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a few GB"
    )]
    let bytes = (share * CRITICAL as f64) as u64;
    bytes
}

/// No seed of a load may be taken for a leak.
fn assert_silent(what: &str, hours: u32, load: impl Fn(&mut Random) -> Load) {
    let loud: Vec<_> = (0..SEEDS)
        .filter_map(|seed| Some((seed, run(seed, hours * HOUR, SELDOM, &load).suspected_at?)))
        .collect();
    assert!(
        loud.is_empty(),
        "{what}: {} of {SEEDS} suspected, {:?}",
        loud.len(),
        &loud[..loud.len().min(5)]
    );
}

/// Every seed of a load must be suspected by `latest`, which is told the seconds to critical.
fn assert_found(
    what: &str,
    hours: u32,
    latest: impl Fn(f64) -> f64,
    load: impl Fn(&mut Random) -> (Load, f64),
) {
    for seed in 0..SEEDS {
        let mut to_critical = 0.0;
        let run = run(seed, hours * HOUR, LOOK, |random| {
            let (load, seconds) = load(random);
            to_critical = seconds;
            load
        });
        let latest = latest(to_critical);
        let at = run.suspected_at.map(f64::from);
        assert!(
            at.is_some_and(|at| at <= latest),
            "{what}, seed {seed}: {at:?}, not by {latest}: {:?}",
            run.last
        );
    }
}

/// Level and noise of a server that is well; near critical too, where little growth is needed.
fn steady(random: &mut Random) -> Load {
    let (level, noise) = (random.between(0.1, 0.9), random.between(0.0, 0.03));
    Box::new(move |_, random| level * (1.0 + noise * random.noise()))
}

/// Garbage, caches, batches: up in a line, down at once, as often as every 20 s to 6 min.
fn sawtooth(random: &mut Random) -> Load {
    let (level, height) = (random.between(0.1, 0.6), random.between(0.02, 0.3));
    let (period, phase) = (random.between(20.0, 360.0), random.between(0.0, 360.0));
    let noise = random.between(0.0, 0.01);
    Box::new(move |second, random| {
        let tooth = height * ((second + phase) / period).fract();
        (level + tooth) * (1.0 + noise * random.noise())
    })
}

/// Bursts of 5 s to 5 min, some on top of each other, at any time.
fn bursts(random: &mut Random) -> Load {
    let (level, often) = (random.between(0.1, 0.5), random.between(60.0, 600.0));
    let mut running: Vec<(f64, f64)> = Vec::new();
    Box::new(move |second, random| {
        running.retain(|(end, _)| *end > second);
        if random.next() < f64::from(STEP) / often && running.len() < 4 {
            running.push((second + random.between(5.0, 300.0), random.between(0.02, 0.2)));
        }
        let height: f64 = running.iter().map(|(_, height)| height).sum();
        (level + height) * (1.0 + 0.01 * random.noise())
    })
}

/// Caches that fill: fast at first, then ever slower, up to 90 % of critical.
fn warm_up(random: &mut Random) -> Load {
    warmed_up(random).0
}

/// The same, with the level that it ends at.
fn warmed_up(random: &mut Random) -> (Load, f64) {
    let (level, fills) = (random.between(0.05, 0.3), random.between(0.05, 0.6));
    let time = random.between(20.0, 2_400.0);
    let noise = random.between(0.0, 0.015);
    let load = move |second: f64, random: &mut Random| {
        (level + fills * (1.0 - (-second / time).exp())) * (1.0 + noise * random.noise())
    };
    (Box::new(load), level + fills)
}

/// The day comes and goes.
fn day(random: &mut Random) -> Load {
    let (night, day) = (random.between(0.1, 0.4), random.between(0.45, 0.7));
    let (phase, noise) = (random.between(0.0, 24.0), random.between(0.0, 0.02));
    Box::new(move |second, random| {
        let turn = (second / f64::from(HOUR) + phase) / 24.0 * 2.0 * PI;
        let share = night + (day - night) * f64::midpoint(1.0, -turn.cos());
        share * (1.0 + noise * random.noise())
    })
}

/// Under any of these, a leak that takes `seconds` from the load's level to critical.
fn leaking(
    random: &mut Random,
    fastest: f64,
    slowest: f64,
    under: fn(&mut Random) -> (Load, f64),
) -> (Load, f64) {
    let (mut load, level) = under(random);
    let seconds = random.between(fastest, slowest);
    let rate = (1.0 - 0.03 - level) / seconds;
    (Box::new(move |second, random| load(second, random) + rate * second), seconds)
}

fn calm(random: &mut Random) -> (Load, f64) {
    let (level, noise) = (random.between(0.1, 0.5), random.between(0.0, 0.01));
    (Box::new(move |_, random| level * (1.0 + noise * random.noise())), level)
}

fn toothed(random: &mut Random) -> (Load, f64) {
    let (level, height) = (random.between(0.1, 0.4), random.between(0.02, 0.15));
    let period = random.between(20.0, 240.0);
    (Box::new(move |second, _| level + height * (second / period).fract()), level)
}

#[test]
fn a_steady_load_with_noise_is_never_suspected() {
    assert_silent("steady", 3, steady);
}

#[test]
fn a_sawtooth_is_never_suspected() {
    assert_silent("sawtooth", 3, sawtooth);
}

#[test]
fn bursts_are_never_suspected() {
    assert_silent("bursts", 3, bursts);
}

#[test]
fn a_server_that_warms_up_is_never_suspected() {
    assert_silent("warm-up", 3, warm_up);
}

#[test]
fn a_day_that_comes_and_goes_is_never_suspected() {
    assert_silent("day", 24, day);
}

#[test]
fn a_leak_is_found_before_it_is_critical() {
    // 35 to 50 min away: found within 35 min.
    assert_found("fast", 1, |_| 2_100.0, |random| leaking(random, 2_100.0, 3_000.0, calm));
    // Up to eight hours away: found with at least 10 min left.
    assert_found(
        "slow",
        12,
        |seconds| seconds - 600.0,
        |random| leaking(random, 2.0 * 3_600.0, 8.0 * 3_600.0, calm),
    );
}

#[test]
fn a_leak_under_a_sawtooth_is_found_before_it_is_critical() {
    assert_found(
        "toothed",
        6,
        |seconds| seconds - 600.0,
        |random| leaking(random, 1.5 * 3_600.0, 6.0 * 3_600.0, toothed),
    );
}

#[test]
fn a_leak_that_begins_after_a_warm_up_is_found_before_it_is_critical() {
    let begin = 7_200.0;
    assert_found(
        "later",
        4,
        |seconds| begin + seconds,
        |random| {
            let (mut load, level) = warmed_up(random);
            let seconds = random.between(3_600.0, 5_400.0);
            let rate = (0.97 - level) / seconds;
            let leak = move |second: f64| rate * (second - begin).max(0.0);
            (
                Box::new(move |second, random: &mut Random| load(second, random) + leak(second)),
                seconds,
            )
        },
    );
}

#[test]
fn the_rate_and_the_time_left_are_right() {
    for seed in 0..SEEDS {
        let mut truth = (0.0, 0.0);
        let run = run(seed, HOUR + 2 * LOOK, LOOK, |random| {
            let (load, seconds) = leaking(random, 3_600.0, 4_800.0, toothed);
            truth = (seconds, 0.0);
            load
        });
        let told = run.last.expect("an hour of it");
        let left = truth.0 - f64::from(HOUR + LOOK);
        let forecast = u32::try_from(told.critical_in_seconds.expect("it rises")).expect("small");
        let off = (f64::from(forecast) - left).abs();
        assert!(off <= 0.1 * truth.0, "seed {seed}: {forecast} s told, {left} s true: {told:?}");
        assert_eq!(
            (told.window_seconds == 1_200 || told.window_seconds == 3_600, told.method),
            (true, "theil-sen")
        );
    }
}

#[test]
fn a_leak_that_is_mended_is_cleared() {
    let run = run(1, 3 * HOUR, LOOK, |_| {
        Box::new(|second, random| {
            let leaked = if second < 3_600.0 { second } else { 0.0 };
            0.3 + 0.5 * leaked / 3_600.0 + 0.002 * random.noise()
        })
    });
    assert!(run.suspected_at.is_some());
    let told = run.last.expect("three hours of it");
    assert!(!told.leak_suspected && told.critical_in_seconds.is_none(), "{told:?}");
}
