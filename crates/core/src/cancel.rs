//! When to end a request that is already running: the last resort.

use std::time::Duration;

use crate::{level::PressureLevel, lines::LoadLines, thresholds::Watermarks};

/// Critical for this long in spite of cleanup and refusals: then requests are cancelled.
const SUSTAINED: Duration = Duration::from_millis(500);
/// Between two cancellations: long enough for the memory of one to be gone and seen.
const EVERY: Duration = Duration::from_millis(100);
/// The same above the line of high priority, where the limit is next.
const EVERY_ABOVE_HIGH: Duration = Duration::from_millis(10);

/// Decides when the next request is to be cancelled. Pure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CancelPace {
    critical_since: Option<Duration>,
    next: Duration,
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
        let above_high = usage >= LoadLines::of(marks, limit).high();
        let sustained = now.saturating_sub(since) >= SUSTAINED;
        if now < self.next || !(sustained || above_high) {
            return false;
        }
        self.next = now + if above_high { EVERY_ABOVE_HIGH } else { EVERY };
        true
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
            assert_eq!(pace.is_due(ms(at), input(usage, level)), expected, "at {at} ms");
        }
    }

    #[test]
    fn next_to_the_limit_nobody_waits() {
        let ms = Duration::from_millis;
        let mut pace = CancelPace::default();
        let mut due = |at| pace.is_due(ms(at), input(351, PressureLevel::Critical));
        assert!(due(0));
        assert!(!due(9));
        assert!(due(10));
    }
}
