//! Will memory run out by itself? A forecast from the lowest live heap of each window.
//!
//! The slope is **Theil and Sen's** (Sen 1968, <https://doi.org/10.1080/01621459.1968.10480934>): the
//! median of the slopes between all pairs of points, which a few wild points do not move. The points
//! are the minima of windows: what is left when garbage, caches and bursts have gone. Whether there
//! is a trend at all is asked by **Mann and Kendall's** test (Mann 1945, Kendall 1975), which knows
//! nothing of distributions: how many pairs of points rise.
//!
//! A trend is no leak yet: a server that warms up rises, too. So the rise has to go on. The growth
//! from each third of the span to the next makes a ratio; a cache that fills makes it small, a leak
//! makes it one. Memory is extrapolated by that ratio, less a doubt, as a geometric series (Aitken's
//! way to a limit), and only a limit at or above critical is suspect. For a straight line this means
//! within about one and a half spans, so that nobody is told of next week from ten minutes of evidence.
//!
//! Twice the evidence is looked at: the last 20 min for what is fast, and the last hour for what is
//! slow or lies under a slow sawtooth. The short span counts only while memory stands where it never
//! stood in the hour: what was given back once is given back again.
//!
//! What it cannot tell: a rise that has no end in sight within the hour and none after, other than by
//! coming down, such as the first tooth of a saw that is longer than that.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;

/// Length of a window. An allocator's figures come every 0.5 to 10 s, so each has at least ten.
const WINDOW: Duration = Duration::from_secs(100);
/// Points of a span.
const POINTS: usize = 12;
/// Windows in a point of the short span (20 min) and of the long one (1 h).
const SPANS: [usize; 2] = [1, 3];
/// Windows kept: an hour.
const WINDOWS: usize = POINTS * SPANS[1];
/// Pairs of points: 12 x 11 / 2.
const PAIRS: usize = POINTS * (POINTS - 1) / 2;
/// Rising less falling pairs from which there is a trend. Of 12 points without one, 54 or more of
/// the 66 are seen about once in 10,000 (Z = 3.6).
const TREND: i32 = 54;
/// What the ratio of growth is lowered by before it is extrapolated: it is measured, too.
const DOUBT: f64 = 0.15;
/// A ratio above this is a step, such as the begin of a busy hour.
const STEP: f64 = 4.0;
/// Windows in a row that must suspect a leak before it is told, and clear it before it is not.
const WINDOWS_TO_SUSPECT: u32 = 3;
const WINDOWS_TO_CLEAR: u32 = 3;
/// A rise is over when it has slowed down to this share of the one before.
const GOES_ON: f64 = 0.1;
/// Nobody plans by a forecast that is longer.
const LONGEST_FORECAST_SECONDS: f64 = 7.0 * 24.0 * 3_600.0;

/// Where memory is going.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Forecast {
    /// Growth of the lowest live heap, in bytes per second; negative when it falls. Where the
    /// allocator tells no heap, growth of the decision figure.
    pub slope_bytes_per_second: f64,
    /// Seconds until the decision figure is critical at this rate; `None` without a trend, and
    /// when it is longer than a week.
    pub critical_in_seconds: Option<u64>,
    /// Whether memory rises as a leak does and will be critical by it.
    pub leak_suspected: bool,
    /// Seconds of evidence that the slope is from: 1200 or 3600.
    pub window_seconds: u64,
    /// How the slope is estimated: `theil-sen`.
    pub method: &'static str,
}

/// Watches live memory and tells where it goes; see the module's source for the method.
///
/// Pure: it is told the time with each figure. Holds an hour in under a kilobyte, allocated at once.
///
/// ```
/// use std::time::Duration;
/// use plimsoll_core::{LeakForecast, MB};
///
/// let mut forecast = LeakForecast::new();
/// for second in 0..1_800 {
///     let live = 500 * MB + second * MB / 2;
///     forecast.observe(Duration::from_secs(second), Some(live), Some(live + 100 * MB), 2_000 * MB);
/// }
/// let told = forecast.forecast(2_000 * MB).expect("half an hour of it");
/// assert!(told.leak_suspected);
/// assert_eq!(told.slope_bytes_per_second.round(), 500_000.0);
/// assert!((800..=1_100).contains(&told.critical_in_seconds.expect("it rises")));
/// ```
#[derive(Clone, Debug)]
pub struct LeakForecast {
    /// The minimum of each window, oldest first.
    windows: VecDeque<u64>,
    /// The number of the window that is not over, and its minimum.
    current: Option<(u64, Low)>,
    /// Of the last window that is over.
    last: Option<Low>,
    /// Whether live heap is watched rather than the decision figure.
    is_heap: bool,
    suspected: bool,
    /// Windows in a row that say otherwise.
    otherwise: u32,
}

/// The lowest of a window: of what is watched, and of the decision figure.
#[derive(Clone, Copy, Debug)]
struct Low {
    watched: u64,
    figure: u64,
}

impl Low {
    /// What the watched figure is when the decision figure is critical.
    fn critical(self, critical_bytes: u64) -> f64 {
        as_f64(critical_bytes) - as_f64(self.figure) + as_f64(self.watched)
    }
}

impl LeakForecast {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self {
            windows: VecDeque::with_capacity(WINDOWS),
            current: None,
            last: None,
            is_heap: false,
            suspected: false,
            otherwise: 0,
        }
    }

    /// Takes the figures of one moment: bytes that the program holds from its allocator, if they
    /// are known, and the decision figure, which is critical at `critical_bytes`. Costs a
    /// comparison, and each 100 s some microseconds.
    pub fn observe(
        &mut self,
        now: Duration,
        live: Option<u64>,
        figure: Option<u64>,
        critical_bytes: u64,
    ) {
        let Some(figure) = figure else { return };
        if self.is_heap != live.is_some() {
            *self = Self { is_heap: live.is_some(), ..Self::new() };
        }
        let seen = Low { watched: live.unwrap_or(figure), figure };
        // Windows lie on a grid, so that late figures stretch none.
        let number = now.as_secs() / WINDOW.as_secs();
        let Some((current, low)) = &mut self.current else {
            self.current = Some((number, seen));
            return;
        };
        if number <= *current {
            low.watched = low.watched.min(seen.watched);
            low.figure = low.figure.min(seen.figure);
            return;
        }
        let (ended, missed) = (*low, number - *current > 1);
        self.current = Some((number, seen));
        if missed {
            // Nobody looked, or the machine slept: what was before says nothing of the rate.
            *self = Self { is_heap: self.is_heap, current: self.current, ..Self::new() };
            return;
        }
        if self.windows.len() == WINDOWS {
            self.windows.pop_front();
        }
        self.windows.push_back(ended.watched);
        self.last = Some(ended);
        self.judge(critical_bytes);
    }

    /// Where memory is going, seen from now; `None` in the first 20 min.
    pub fn forecast(&self, critical_bytes: u64) -> Option<Forecast> {
        let trends = SPANS.map(|span| self.trend(span));
        let longest = || trends.iter().flatten().rev();
        // Of a leak, the longest evidence that it was there for; else the longest there is.
        let rising = || longest().filter(|trend| trend.goes_on());
        let of_the_leak = rising().find(|trend| trend.is_even()).or_else(|| rising().next_back());
        let trend = of_the_leak.filter(|_| self.suspected).or_else(|| longest().next())?;
        let (slope, level) = trend.line();
        let room = self.last?.critical(critical_bytes) - level;
        let seconds = (trend.is_significant() && slope > 0.0).then(|| room.max(0.0) / slope);
        Some(Forecast {
            slope_bytes_per_second: slope,
            critical_in_seconds: seconds
                .filter(|seconds| *seconds <= LONGEST_FORECAST_SECONDS)
                .map(whole_seconds),
            leak_suspected: self.suspected,
            window_seconds: trend.seconds(),
            method: "theil-sen",
        })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        (self.windows.capacity() * size_of::<u64>()) as u64
    }

    /// Decides anew when a window is over.
    fn judge(&mut self, critical_bytes: u64) {
        let (says, needed) = if self.suspected {
            (
                !SPANS.iter().any(|span| self.trend(*span).is_some_and(|it| it.goes_on())),
                WINDOWS_TO_CLEAR,
            )
        } else {
            (SPANS.iter().any(|span| self.suspects(*span, critical_bytes)), WINDOWS_TO_SUSPECT)
        };
        self.otherwise = if says { self.otherwise + 1 } else { 0 };
        if self.otherwise >= needed {
            self.suspected = !self.suspected;
            self.otherwise = 0;
        }
    }

    fn suspects(&self, span: usize, critical_bytes: u64) -> bool {
        let Some(trend) = self.trend(span) else { return false };
        let Some(last) = self.last else { return false };
        let critical = last.critical(critical_bytes);
        let older = self.windows.len() - POINTS * span;
        let stood_here_before =
            self.windows.iter().take(older).any(|low| as_f64(*low) >= trend.thirds[2]);
        !stood_here_before
            && trend.goes_on()
            && trend.limit().is_some_and(|limit| limit >= critical)
    }

    /// The newest [`POINTS`] points of `span` windows each; `None` while there are fewer.
    fn trend(&self, span: usize) -> Option<Trend> {
        let from = self.windows.len().checked_sub(POINTS * span)?;
        let mut points = [0.0; POINTS];
        for (place, point) in points.iter_mut().enumerate() {
            let windows = self.windows.iter().skip(from + place * span).take(span);
            *point = as_f64(*windows.min()?);
        }
        Some(Trend::of(points, WINDOW.as_secs() * span as u64))
    }
}

impl Default for LeakForecast {
    fn default() -> Self {
        Self::new()
    }
}

/// What points at equal distances say.
#[derive(Clone, Copy, Debug)]
struct Trend {
    points: [f64; POINTS],
    /// Seconds between two points.
    distance: u64,
    /// Rising less falling pairs, Mann and Kendall.
    kendall: i32,
    /// The mean of the two lowest points of each third of the span.
    thirds: [f64; 3],
}

impl Trend {
    fn of(points: [f64; POINTS], distance: u64) -> Self {
        let mut kendall = 0;
        for (place, from) in points.iter().enumerate() {
            for to in &points[place + 1..] {
                kendall += i32::from(to > from) - i32::from(to < from);
            }
        }
        let thirds = [0, 4, 8].map(|first| {
            let mut third = [0, 1, 2, 3].map(|place| points[first + place]);
            third.sort_unstable_by(f64::total_cmp);
            f64::midpoint(third[0], third[1])
        });
        Self { points, distance, kendall, thirds }
    }

    /// Length of the span, in seconds.
    fn seconds(&self) -> u64 {
        self.distance * POINTS as u64
    }

    /// Theil and Sen's line: bytes per second, and where it stands at the end of the span.
    fn line(&self) -> (f64, f64) {
        let seconds = |steps: usize| as_f64(self.distance * steps as u64);
        let mut slopes = [0.0; PAIRS];
        let mut pair = 0;
        for (place, from) in self.points.iter().enumerate() {
            for (steps, to) in (1..).zip(&self.points[place + 1..]) {
                slopes[pair] = (to - from) / seconds(steps);
                pair += 1;
            }
        }
        let slope = median(&mut slopes);
        let mut levels = self.points;
        for (place, level) in levels.iter_mut().enumerate() {
            *level += slope * seconds(POINTS - place);
        }
        (slope, median(&mut levels))
    }

    fn is_significant(&self) -> bool {
        self.kendall.abs() >= TREND
    }

    /// Growth from the first third to the second, and from there to the last.
    fn growth(&self) -> (f64, f64) {
        let [first, second, third] = self.thirds;
        (second - first, third - second)
    }

    /// Whether it rises, and has not come to an end.
    fn goes_on(&self) -> bool {
        let (before, after) = self.growth();
        self.kendall >= TREND && before > 0.0 && after > GOES_ON * before
    }

    /// Whether it rose at one rate, and not only in the end.
    fn is_even(&self) -> bool {
        let (before, after) = self.growth();
        before > 0.0 && (0.5..=2.0).contains(&(after / before))
    }

    /// Where the growth ends if each third of the span adds the same share of the one before;
    /// `None` for what does not rise, and for a step.
    fn limit(&self) -> Option<f64> {
        let (before, after) = self.growth();
        if before <= 0.0 || after <= 0.0 || after > STEP * before {
            return None;
        }
        let ratio = (after / before).min(1.0) - DOUBT;
        Some(if ratio <= 0.0 {
            self.thirds[2]
        } else {
            self.thirds[2] + after * ratio / (1.0 - ratio)
        })
    }
}

/// The middle of an even number of values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[values.len() / 2 - 1], values[values.len() / 2])
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory; exact up to 9 PB")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a week")]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MB;

    #[test]
    fn the_slope_is_the_median_of_all_pairs_and_outliers_do_not_move_it() {
        let mut points = [0.0; POINTS];
        for (place, point) in (0..).zip(&mut points) {
            *point = 1_000.0 + 50.0 * f64::from(place);
        }
        let straight = Trend::of(points, 10);
        assert_eq!(
            (straight.line(), straight.kendall, straight.seconds()),
            ((5.0, 1_600.0), 66, 120)
        );
        points[3] = 9_000.0;
        points[8] = 0.0;
        let (slope, level) = Trend::of(points, 10).line();
        assert!((slope - 5.0).abs() < 0.5 && (level - 1_600.0).abs() < 50.0, "{slope} {level}");
        points.reverse();
        assert!(Trend::of(points, 10).line().0 < 0.0);
    }

    #[test]
    fn a_straight_line_has_no_end_nearby_and_a_filling_cache_has() {
        let trend = |thirds| Trend { points: [0.0; POINTS], distance: 100, kendall: 66, thirds };
        let line = trend([100.0, 110.0, 120.0]).limit().unwrap();
        assert!((line - 176.666_666).abs() < 1e-3, "{line}");
        let filling = trend([100.0, 120.0, 132.0]).limit().unwrap();
        assert!((filling - 141.818_182).abs() < 1e-3, "{filling}");
        for (thirds, limit) in [
            ([100.0, 100.0, 110.0], None),
            ([100.0, 110.0, 110.0], None),
            ([120.0, 110.0, 100.0], None),
            ([100.0, 101.0, 110.0], None),
            ([100.0, 110.0, 110.5], Some(110.5)),
        ] {
            assert_eq!(trend(thirds).limit(), limit, "{thirds:?}");
        }
    }

    #[test]
    fn memory_of_it_is_allocated_once() {
        let mut forecast = LeakForecast::new();
        let before = forecast.bytes();
        for second in 0..20_000 {
            forecast.observe(Duration::from_secs(second), None, Some(MB + second), 2 * MB);
        }
        assert_eq!((forecast.bytes(), forecast.windows.len()), (before, WINDOWS));
        assert!(before < 1_000, "{before}");
    }

    #[test]
    fn a_gap_or_another_figure_begins_anew() {
        let filled = |live| {
            let mut forecast = LeakForecast::new();
            for second in 0..1_500 {
                forecast.observe(Duration::from_secs(second), live, Some(500 * MB), 900 * MB);
            }
            assert!(forecast.forecast(900 * MB).is_some());
            forecast
        };
        let mut slept = filled(None);
        slept.observe(Duration::from_secs(9_000), None, Some(500 * MB), 900 * MB);
        assert_eq!(slept.forecast(900 * MB), None);
        let mut other = filled(None);
        other.observe(Duration::from_secs(1_501), Some(300 * MB), Some(500 * MB), 900 * MB);
        assert_eq!(other.forecast(900 * MB), None);
        // What cannot be read now is waited for.
        let mut unread = filled(Some(MB));
        unread.observe(Duration::from_secs(1_501), None, None, 900 * MB);
        assert!(unread.forecast(900 * MB).is_some());
    }
}
