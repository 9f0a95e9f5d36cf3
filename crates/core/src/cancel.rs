//! When to end a request that is already running: the last resort.

use std::time::Duration;

use crate::{level::PressureLevel, lines::LoadLines, thresholds::Watermarks};

/// Critical for this long in spite of cleanup and refusals: then requests are cancelled.
const SUSTAINED: Duration = Duration::from_millis(500);
/// Between two cancellations: long enough for the memory of one to be gone and seen.
const EVERY: Duration = Duration::from_millis(100);
/// Above the line of high priority, where the limit is next, nobody waits: requests are ended
/// until what they held takes usage below that line again. So long it counts as still to come.
const LANDING: Duration = Duration::from_millis(50);

/// Decides when the next request is to be cancelled. Pure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CancelPace {
    critical_since: Option<Duration>,
    next: Duration,
    /// What requests held that were ended just now, and when the last of them was.
    landing_bytes: u64,
    landing_since: Duration,
}

/// What it is decided from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelInput {
    pub(crate) usage: u64,
    pub(crate) marks: Watermarks,
    pub(crate) limit: Option<u64>,
    pub(crate) level: PressureLevel,
}

impl CancelPace {
    pub(crate) fn is_due(&mut self, now: Duration, input: CancelInput) -> bool {
        let CancelInput { usage, marks, limit, level } = input;
        // Inside the release band usage is on its way down already.
        if level < PressureLevel::Critical || usage < marks.critical_bytes() {
            self.critical_since = None;
            return false;
        }
        let since = *self.critical_since.get_or_insert(now);
        if now.saturating_sub(self.landing_since) >= LANDING {
            self.landing_bytes = 0;
        }
        if usage.saturating_sub(self.landing_bytes) >= LoadLines::of(marks, limit).high() {
            return true;
        }
        now >= self.next && now.saturating_sub(since) >= SUSTAINED
    }

    /// Notes that a request was ended that held `bytes`.
    pub(crate) fn ended(&mut self, now: Duration, bytes: u64) {
        self.next = now + EVERY;
        self.landing_bytes = self.landing_bytes.saturating_add(bytes);
        self.landing_since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{thresholds::Thresholds, units::MB};

    fn input(usage_mb: u64, level: PressureLevel) -> CancelInput {
        let thresholds = Thresholds::new(200 * MB, 300 * MB).expect("ordered");
        let marks = thresholds.resolve(None).expect("absolute");
        CancelInput { usage: usage_mb * MB, marks, limit: Some(400 * MB), level }
    }

    #[test]
    fn only_sustained_critical_cancels_and_then_ten_a_second() {
        use PressureLevel::{Critical, Warning};
        let ms = Duration::from_millis;
        let mut pace = CancelPace::default();
        let table = [
            (0, 310, Critical, false),
            (499, 310, Critical, false),
            (500, 310, Critical, true),
            (599, 310, Critical, false),
            (600, 310, Critical, true),
            // Below the line, and still critical: on its way down.
            (700, 290, Critical, false),
            (800, 310, Critical, false),
            (1_300, 310, Critical, true),
            (1_400, 310, Warning, false),
        ];
        for (at, usage, level, expected) in table {
            let due = pace.is_due(ms(at), input(usage, level));
            assert_eq!(due, expected, "at {at} ms");
            if due {
                pace.ended(ms(at), MB);
            }
        }
    }

    #[test]
    fn next_to_the_limit_nobody_waits_and_no_more_are_ended_than_it_takes() {
        let ms = Duration::from_millis;
        let mut pace = CancelPace::default();
        let due =
            |pace: &mut CancelPace, at| pace.is_due(ms(at), input(360, PressureLevel::Critical));
        for _ in 0..3 {
            assert!(due(&mut pace, 0));
            pace.ended(ms(0), 4 * MB);
        }
        // 12 MB are on their way: 348 MB, below high's line of 350.
        assert!(!due(&mut pace, 1) && !due(&mut pace, 49));
        // They did not come.
        assert!(due(&mut pace, 50));
    }
}
