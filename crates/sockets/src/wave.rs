//! Notices that many connections end at about the same time.

use std::{collections::VecDeque, time::Duration};

/// Disconnects of this last while belong together.
const WINDOW: Duration = Duration::from_secs(10);
/// So many are a wave, however many connections there are ...
const MANY: u64 = 100;
/// ... and so is this share of them ...
const SHARE_DIVISOR: u64 = 10;
/// ... if it is not just a handful.
const FEWEST: u64 = 10;

/// Counts disconnects in buckets of a second. Pure: told the time.
#[derive(Debug, Default)]
pub(crate) struct Wave {
    /// Whole seconds and the disconnects in each.
    buckets: VecDeque<(u64, u64)>,
}

impl Wave {
    /// Notes a disconnect that leaves `open` connections; whether that completes a wave, after
    /// which the next one begins.
    pub(crate) fn note(&mut self, now: Duration, open: u64) -> bool {
        let second = now.as_secs();
        match self.buckets.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.buckets.push_back((second, 1)),
        }
        let oldest = second.saturating_sub(WINDOW.as_secs());
        while self.buckets.front().is_some_and(|(second, _)| *second < oldest) {
            self.buckets.pop_front();
        }
        let gone: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let before = open.saturating_add(gone);
        let wave = gone >= MANY || gone >= FEWEST && gone >= before / SHARE_DIVISOR;
        if wave {
            self.buckets.clear();
        }
        wave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The disconnects, one after the other, that report a wave.
    fn waves(count: u64, open: u64, every: Duration) -> Vec<u64> {
        let mut wave = Wave::default();
        let mut now = at(100);
        let mut told = Vec::new();
        for number in 1..=count {
            if wave.note(now, open - number) {
                told.push(number);
            }
            now += every;
        }
        told
    }

    #[test]
    fn a_hundred_in_ten_seconds_are_a_wave_and_so_is_a_tenth() {
        assert_eq!(waves(100, 100_000, Duration::from_millis(99)), [100]);
        assert_eq!(waves(50, 500, Duration::from_millis(10)), [50]);
    }

    #[test]
    fn slow_departures_and_a_handful_are_none() {
        assert_eq!(waves(400, 100_000, Duration::from_millis(120)), [0_u64; 0]);
        assert_eq!(waves(9, 10, Duration::from_millis(1)), [0_u64; 0]);
    }

    #[test]
    fn the_next_wave_begins_where_one_was_told() {
        assert_eq!(waves(250, 100_000, Duration::from_millis(10)), [100, 200]);
    }
}
