//! When a release under load is due: a pure function of what was seen.

use std::time::Duration;

use super::LEAST_WORTHWHILE_BYTES;
use crate::{level::PressureLevel, machine::scaled, thresholds::Watermarks, units::MB};

/// Under load nothing is released below this share of the warning threshold.
const FROM_WARNING_RATIO: f64 = 0.70;
/// Released once this share of the headroom to critical was given back by requests.
const OWED_HEADROOM_SHARE: u64 = 8;
/// ... or so much, however much room there is. With glibc's release the lock of an arena is held: in
/// portions of 16 MB the worst stall was 11 ms in four runs of six, in portions of 64 MB above 200 ms in each
/// of three (docs/BENCHMARKS.md, "What a release does to requests").
const MOST_OWED_BYTES: u64 = 16 * MB;
/// A release stops other threads' allocations for a while, so it takes at most a fifth of the
/// time: it rests four times as long as it took, and never less than this.
const SHORTEST_REST: Duration = Duration::from_millis(10);
const REST_PER_WORK: u32 = 4;
/// Not healthy and nobody gave anything back: tried this often, doubling while futile.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// ... and at critical, where everybody is refused and the allocator does not tell what it holds
/// unused: whoever lets go of memory outside all requests is noticed by nothing else.
const LONGEST_BLIND_RETRY: Duration = Duration::from_secs(1);
/// Once pressure is over, what is still held unused is given back after this much rest, until a
/// pass returns too little.
const SETTLING_REST: Duration = Duration::from_secs(1);
/// ... or as soon as requests have given back so much more.
const SETTLING_OWED_BYTES: u64 = 4 * MB;

/// Decides when a release under load is due. Pure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReleasePace {
    rested_at: Duration,
    given_back: u64,
    retry: Duration,
    retry_at: Duration,
    /// Whether there was pressure since the last pass that returned too little.
    unsettled: bool,
    /// Whether usage was near a threshold when last looked at.
    near: bool,
    /// Whether the last pass returned too little.
    futile: bool,
    /// Requests in flight at the last pass: when most of them have ended, whatever they held is
    /// free, declared or not.
    in_flight: u64,
    /// The least that the allocator held unused since the last pass began: what is more by now was
    /// let go of since.
    unused: u64,
    ended: Duration,
}

impl ReleasePace {
    pub(crate) fn new() -> Self {
        Self {
            rested_at: Duration::ZERO,
            given_back: 0,
            retry: FIRST_RETRY,
            retry_at: Duration::ZERO,
            unsettled: false,
            near: false,
            futile: false,
            in_flight: 0,
            unused: 0,
            ended: Duration::ZERO,
        }
    }

    pub(crate) fn is_due(&mut self, now: Duration, pressure: Pressure) -> bool {
        let Pressure { usage, marks, level, seen } = pressure;
        let Seen { given_back, in_flight, unused } = seen;
        let let_go = unused.map_or(0, |bytes| bytes.saturating_sub(self.unused));
        self.unused = unused.map_or(self.unused, |bytes| bytes.min(self.unused));
        let mostly_ended = in_flight < self.in_flight && in_flight <= self.in_flight / 2;
        let near = usage >= scaled(marks.warning_bytes(), FROM_WARNING_RATIO);
        self.unsettled |= near;
        self.near = near;
        if now < self.rested_at {
            return false;
        }
        let owed = given_back.saturating_sub(self.given_back);
        if !near {
            // Requests that end together free most after the pass that the first of them brought
            // has taken usage far down: what they owe is not left to lie, as long as passes for it
            // return something. Ordinary traffic gives back as much, and nothing of it is resident.
            let owes = owed >= SETTLING_OWED_BYTES && !self.futile;
            return self.unsettled
                && (owes || now >= self.rested_at + SETTLING_REST.max(self.retry));
        }
        let headroom = marks.critical_bytes().saturating_sub(usage);
        let due = (headroom / OWED_HEADROOM_SHARE).clamp(LEAST_WORTHWHILE_BYTES, MOST_OWED_BYTES);
        let blind = level == PressureLevel::Critical && unused.is_none();
        let retry_at = match blind {
            true => self.retry_at.min(self.ended + LONGEST_BLIND_RETRY),
            false => self.retry_at,
        };
        owed >= due
            || let_go >= due
            || (level > PressureLevel::Healthy && (mostly_ended || now >= retry_at))
    }

    /// Notes a pass; `seen` is what the ledger said when it began.
    pub(crate) fn released(&mut self, ended: Duration, took: Duration, freed: u64, seen: Seen) {
        self.given_back = seen.given_back;
        self.in_flight = seen.in_flight;
        self.unused = seen.unused.unwrap_or(0);
        self.ended = ended;
        self.rested_at = ended + SHORTEST_REST.max(took * REST_PER_WORK);
        let futile = freed < LEAST_WORTHWHILE_BYTES;
        self.retry = if futile { (self.retry * 2).min(LONGEST_RETRY) } else { FIRST_RETRY };
        self.futile = futile;
        // Futile while everything is in use says nothing of what will be free when it is not; on
        // a server that is never idle it is believed after it was tried ever more rarely.
        let settled = seen.in_flight == 0 || self.retry == LONGEST_RETRY;
        self.unsettled &= !(futile && !self.near && settled);
        self.retry_at = ended + self.retry;
    }
}

/// What a release under load is decided from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    pub(crate) usage: u64,
    pub(crate) marks: Watermarks,
    pub(crate) level: PressureLevel,
    pub(crate) seen: Seen,
}

/// What the ledger said when a pass began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) given_back: u64,
    pub(crate) in_flight: u64,
    /// Bytes that the allocator holds and the program does not; `None` where it does not tell.
    pub(crate) unused: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thresholds::Thresholds;

    fn marks() -> Watermarks {
        Thresholds::new(200 * MB, 300 * MB).and_then(|t| t.resolve(None)).expect("ordered")
    }

    fn pressure(usage: u64, level: PressureLevel, given_back: u64, in_flight: u64) -> Pressure {
        Pressure { usage, marks: marks(), level, seen: seen(given_back, in_flight) }
    }

    /// An allocator that tells, and holds nothing unused.
    fn seen(given_back: u64, in_flight: u64) -> Seen {
        Seen { given_back, in_flight, unused: Some(0) }
    }

    const HEALTHY: PressureLevel = PressureLevel::Healthy;

    #[test]
    fn a_release_is_due_when_enough_was_given_back_near_a_threshold() {
        let mut pace = ReleasePace::new();
        let now = Duration::from_secs(1);
        assert!(!pace.is_due(now, pressure(100 * MB, HEALTHY, 90 * MB, 0)), "far from warning");
        assert!(
            !pace.is_due(now, pressure(180 * MB, HEALTHY, 14 * MB, 0)),
            "under an eighth of 120 MB"
        );
        assert!(pace.is_due(now, pressure(180 * MB, HEALTHY, 15 * MB, 0)));
        assert!(pace.is_due(now, pressure(299 * MB, HEALTHY, 2 * MB, 0)));
    }

    #[test]
    fn it_rests_four_times_as_long_as_it_worked() {
        let mut pace = ReleasePace::new();
        pace.released(Duration::from_secs(1), Duration::from_millis(50), 30 * MB, seen(40 * MB, 0));
        let mut due =
            |ms| pace.is_due(Duration::from_millis(ms), pressure(299 * MB, HEALTHY, 60 * MB, 0));
        assert!(!due(1_199));
        assert!(due(1_200));
    }

    #[test]
    fn futile_releases_under_pressure_wait_longer_each_time() {
        let mut pace = ReleasePace::new();
        let due = |pace: &mut ReleasePace, ms| {
            pace.is_due(Duration::from_millis(ms), pressure(250 * MB, PressureLevel::Warning, 0, 0))
        };
        assert!(due(&mut pace, 0));
        pace.released(Duration::ZERO, Duration::ZERO, 0, seen(0, 0));
        assert!(!due(&mut pace, 499));
        assert!(due(&mut pace, 500));
        pace.released(Duration::from_millis(500), Duration::ZERO, 0, seen(0, 0));
        assert!(!due(&mut pace, 1_499));
        pace.released(Duration::from_millis(1_500), Duration::ZERO, 10 * MB, seen(0, 0));
        assert!(due(&mut pace, 1_750));
    }

    #[test]
    fn what_was_let_go_of_outside_all_requests_is_given_back_as_soon_as_the_allocator_tells() {
        let mut pace = ReleasePace::new();
        let at = Duration::from_millis;
        let holding = |unused| Seen { unused, ..Seen::default() };
        let critical = |unused| Pressure {
            seen: holding(unused),
            ..pressure(310 * MB, PressureLevel::Critical, 0, 0)
        };
        // While all of it was in use, passes were futile ever more.
        for turn in 0..8 {
            pace.released(at(turn * 40_000), Duration::ZERO, 0, holding(Some(3 * MB)));
        }
        assert!(!pace.is_due(at(280_100), critical(Some(3 * MB))));
        assert!(!pace.is_due(at(280_100), critical(Some(3_900_000))), "next to nothing");
        assert!(pace.is_due(at(280_100), critical(Some(225 * MB))));
        // A pass that brings nothing is not repeated for the same bytes ...
        pace.released(at(280_200), Duration::ZERO, 0, holding(Some(225 * MB)));
        assert!(!pace.is_due(at(281_300), critical(Some(225 * MB))));
        // ... nor one that has brought them, before the allocator was asked again.
        pace.released(at(290_000), Duration::ZERO, 200 * MB, holding(Some(225 * MB)));
        assert!(!pace.is_due(at(290_011), critical(Some(225 * MB))));
        assert!(!pace.is_due(at(290_020), critical(Some(25 * MB))));
        assert!(pace.is_due(at(290_030), critical(Some(45 * MB))));
    }

    #[test]
    fn at_critical_an_allocator_that_tells_nothing_is_asked_each_second() {
        let mut pace = ReleasePace::new();
        let at = Duration::from_millis;
        let blind = |level| Pressure { seen: Seen::default(), ..pressure(310 * MB, level, 0, 0) };
        for turn in 0..8 {
            pace.released(at(turn * 40_000), Duration::ZERO, 0, Seen::default());
        }
        assert!(!pace.is_due(at(280_999), blind(PressureLevel::Critical)));
        assert!(!pace.is_due(at(281_000), blind(PressureLevel::Warning)));
        assert!(pace.is_due(at(281_000), blind(PressureLevel::Critical)));
    }

    #[test]
    fn when_most_requests_have_ended_futile_releases_are_forgotten() {
        let mut pace = ReleasePace::new();
        let at = Duration::from_secs;
        for turn in 0..10 {
            pace.released(at(turn * 40), Duration::ZERO, 0, seen(0, 60));
        }
        let due = |pace: &mut ReleasePace, in_flight| {
            pace.is_due(at(361), pressure(350 * MB, PressureLevel::Critical, 0, in_flight))
        };
        assert!(!due(&mut pace, 60) && !due(&mut pace, 31));
        assert!(due(&mut pace, 30) && due(&mut pace, 0));
    }

    #[test]
    fn after_pressure_what_is_still_held_is_given_back_until_nothing_comes() {
        let mut pace = ReleasePace::new();
        let due = |pace: &mut ReleasePace, ms, usage| {
            pace.is_due(Duration::from_millis(ms), pressure(usage, HEALTHY, 0, 0))
        };
        assert!(!due(&mut pace, 2_000, 100 * MB), "there was no pressure");
        assert!(!due(&mut pace, 3_000, 190 * MB));
        assert!(due(&mut pace, 3_001, 100 * MB));
        pace.released(Duration::from_millis(3_001), Duration::ZERO, 50 * MB, seen(0, 0));
        assert!(!due(&mut pace, 4_010, 50 * MB), "at rest");
        assert!(due(&mut pace, 4_011, 50 * MB));
        pace.released(Duration::from_millis(4_011), Duration::ZERO, 0, seen(0, 0));
        assert!(!due(&mut pace, 60_000, 50 * MB), "settled");
    }

    #[test]
    fn a_server_that_is_never_idle_is_not_trimmed_for_ever_after_pressure() {
        let mut pace = ReleasePace::new();
        let mut passes = 0;
        for step in 0..60_000_u64 {
            let now = Duration::from_millis(step * 10);
            // Above for a second, then far below, with 160 MB a second of ordinary traffic.
            let usage = if step < 100 { 190 * MB } else { 60 * MB };
            let given_back = step * 1_600_000;
            if pace.is_due(now, pressure(usage, HEALTHY, given_back, 40)) && step >= 100 {
                passes += 1;
                pace.released(now, Duration::from_millis(2), 0, seen(given_back, 40));
            }
        }
        assert!((1..=8).contains(&passes), "{passes} passes in ten minutes that returned nothing");
    }

    #[test]
    fn what_a_burst_frees_after_its_first_pass_is_not_left_to_lie() {
        let mut pace = ReleasePace::new();
        let at = Duration::from_millis;
        assert!(pace.is_due(at(0), pressure(215 * MB, PressureLevel::Warning, 20 * MB, 30)));
        let seen = seen(20 * MB, 30);
        pace.released(at(3), at(3), 100 * MB, seen);
        let mut due =
            |ms, given_back| pace.is_due(at(ms), pressure(115 * MB, HEALTHY, given_back, 0));
        assert!(!due(14, 120 * MB), "at rest");
        assert!(!due(15, 23 * MB), "too little");
        assert!(due(15, 120 * MB));
    }
}
