//! Wall-clock stamps for people, and the tool's own waiting.

use std::{
    thread,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};

/// Seconds in a minute, an hour and a day.
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The zone that stamps are printed in.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub(crate) fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of this machine (`TZ`, else the system's setting).
    pub(crate) fn local() -> Self {
        Self(TimeZone::system())
    }

    /// Prints a moment as `2025-01-08 10:30:00`.
    pub(crate) fn stamp(&self, moment: Timestamp) -> String {
        moment.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Prints milliseconds since 1970; `n/a` if not known or out of range.
    pub(crate) fn stamp_millis(&self, millis: Option<i64>) -> String {
        millis
            .and_then(|millis| Timestamp::from_millisecond(millis).ok())
            .map_or_else(|| "n/a".to_owned(), |moment| self.stamp(moment))
    }

    /// Prints an RFC 3339 stamp of the server, else the present moment.
    pub(crate) fn stamp_text(&self, text: Option<&str>) -> String {
        self.stamp(parse(text).unwrap_or_else(Timestamp::now))
    }

    /// Prints the present moment.
    pub(crate) fn stamp_now(&self) -> String {
        self.stamp(Timestamp::now())
    }
}

/// Parses an RFC 3339 stamp.
pub(crate) fn parse(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// Prints a span in its two largest units, such as `2h 11m`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        ..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m {}s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{}h {}m", seconds / HOUR, seconds % HOUR / MINUTE),
        DAY.. => format!("{}d {}h", seconds / DAY, seconds % DAY / HOUR),
    }
}

/// Prints how long work took: `12ms`, `0.4s`.
pub(crate) fn elapsed(millis: u64) -> String {
    if millis < 100 {
        return format!("{millis}ms");
    }
    // Tenths, rounded half up.
    let tenths = millis / 100 + u64::from(millis % 100 >= 50);
    format!("{}.{}s", tenths / 10, tenths % 10)
}

/// Prints a network wait in milliseconds, such as `1.8 ms`.
pub(crate) fn latency(waited: Duration) -> String {
    format!("{:.1} ms", waited.as_secs_f64() * 1_000.0)
}

/// Measures one wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate measures its own waits and depends on no clock of the library"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A steady beat: work that takes long does not shift the beats after it.
#[derive(Debug)]
pub(crate) struct Beat {
    started: Stopwatch,
    interval: Duration,
    beats: u32,
}

impl Beat {
    /// Starts now; the first [`wait`](Self::wait) ends one interval later.
    pub(crate) fn start(interval: Duration) -> Self {
        Self { started: Stopwatch::start(), interval, beats: 0 }
    }

    /// Waits for the next beat. Beats that were missed are not made up for.
    pub(crate) fn wait(&mut self) {
        let passed = self.started.elapsed();
        self.beats = next_beat(self.beats, passed, self.interval);
        let due = self.interval.saturating_mul(self.beats);
        // Parking can end early, so the time is looked at again.
        while let Some(left) =
            due.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
        {
            thread::park_timeout(left);
        }
    }
}

/// The number of the first beat after `last` that is still to come.
fn next_beat(last: u32, passed: Duration, interval: Duration) -> u32 {
    let over = passed.as_nanos() / interval.as_nanos().max(1);
    last.max(u32::try_from(over).unwrap_or(u32::MAX)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_fixed_in_shape() {
        let zone = Zone::utc();
        assert_eq!(zone.stamp_millis(Some(1_736_332_200_000)), "2025-01-08 10:30:00");
        assert_eq!(zone.stamp_millis(Some(i64::MAX)), "n/a");
        assert_eq!(zone.stamp_millis(None), "n/a");
        assert_eq!(zone.stamp_text(Some("2026-01-08T10:30:00+01:00")), "2026-01-08 09:30:00");
    }

    #[test]
    fn spans_show_two_units() {
        for (seconds, printed) in
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (7_860, "2h 11m"), (90_000, "1d 1h")]
        {
            assert_eq!(span(seconds), printed);
        }
    }

    #[test]
    fn work_is_told_in_tenths_of_seconds() {
        for (millis, printed) in [
            (0, "0ms"),
            (99, "99ms"),
            (100, "0.1s"),
            (412, "0.4s"),
            (950, "1.0s"),
            (61_000, "61.0s"),
        ] {
            assert_eq!(elapsed(millis), printed);
        }
    }

    #[test]
    fn missed_beats_are_skipped_and_none_comes_twice() {
        let second = Duration::from_secs(1);
        for (last, passed_millis, next) in
            [(0, 0, 1), (0, 999, 1), (0, 1_000, 2), (0, 1_500, 2), (1, 1_100, 2), (1, 5_200, 6)]
        {
            let passed = Duration::from_millis(passed_millis);
            assert_eq!(next_beat(last, passed, second), next, "{last} {passed_millis}");
        }
    }
}
