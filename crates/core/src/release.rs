//! Giving freed pages back: on request of a cleanup, and paced by need under load.
//!
//! Allocators keep freed pages, so a guard that only counts requests sees memory that never
//! falls: it latches shut, or admits on top of it and dies. So once usage is near a threshold,
//! pages are given back whenever requests have given back enough bytes for it to matter.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    level::PressureLevel,
    machine::scaled,
    reading::{HeapFigures, MemoryReading},
    report::BackendFigures,
    source::ReleaseBackend,
    thresholds::Watermarks,
    units::MB,
};

/// The name of the release among the actions of a cleanup.
pub const RELEASE_ACTION: &str = "release_memory";
/// A pass that returns less is the last one.
pub(crate) const LEAST_WORTHWHILE_BYTES: u64 = MB;
/// Under load nothing is released below this share of the warning threshold.
const FROM_WARNING_RATIO: f64 = 0.70;
/// Released once this share of the headroom to critical was given back by requests.
const OWED_HEADROOM_SHARE: u64 = 8;
/// ... or so much, however much room there is: glibc's release takes about 0.15 ms for each MB that
/// it returns, with the lock of an arena held, so that little and often stalls nobody for long.
const MOST_OWED_BYTES: u64 = 64 * MB;
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

/// A scheduled pass is run when more than a quarter of the resident set is held unused.
const RETAINED_PARTS: u64 = 4;
/// Heaps tell of themselves as often as takes a thousandth of the time: glibc walks its free chunks.
const HEAP_COST_SHARE: u32 = 1_000;

/// Whether enough of the resident set is held unused for a scheduled pass: over a quarter of it.
/// Where that is not known there is a pass.
pub(crate) fn is_worth_a_pass(reading: &MemoryReading) -> bool {
    let Some((rss, held)) = reading.rss_bytes.zip(held_unused(reading)) else { return true };
    held.saturating_mul(RETAINED_PARTS) > rss
}

/// Bytes that are resident in the allocator and not the program's; `None` where that is not known.
pub(crate) fn held_unused(reading: &MemoryReading) -> Option<u64> {
    let (rss, heap) = reading.rss_bytes.zip(reading.heap)?;
    // The allocator's own resident figure may count pages that it has given back.
    Some(heap.resident_bytes.min(rss).saturating_sub(heap.allocated_bytes))
}

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

/// What a release did, measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReleaseReport {
    pub(crate) passes: u32,
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
    /// Bytes that the program held of all its heaps afterwards; `None` where one does not tell.
    pub(crate) allocated: Option<u64>,
    pub(crate) took: Duration,
}

impl ReleaseReport {
    pub(crate) fn freed(&self) -> Option<u64> {
        Some(self.before?.saturating_sub(self.after?))
    }
}

struct Request {
    most_passes: u32,
    done: oneshot::Sender<ReleaseReport>,
}

/// The queue of asked-for releases; served by one thread, so passes never overlap.
pub(crate) struct Releaser {
    backends: Vec<Arc<dyn ReleaseBackend>>,
    /// In the order of the backends.
    tallies: Mutex<Tallies>,
    queue: Mutex<Queue>,
}

struct Tallies {
    each: Vec<Tally>,
    /// When the heaps may be asked again.
    heaps_due: Duration,
}

/// What a backend did, and what its heap said last.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passes: u64,
    freed: u64,
    heap: Option<HeapFigures>,
}

struct Queue {
    requests: VecDeque<Request>,
    paced_wanted: bool,
    pace: ReleasePace,
    closed: bool,
}

impl Releaser {
    pub(crate) fn new(backends: Vec<Arc<dyn ReleaseBackend>>) -> Self {
        let queue = Queue {
            requests: VecDeque::new(),
            paced_wanted: false,
            pace: ReleasePace::new(),
            closed: false,
        };
        let each = vec![Tally::default(); backends.len()];
        let tallies = Mutex::new(Tallies { each, heaps_due: Duration::ZERO });
        Self { backends, tallies, queue: Mutex::new(queue) }
    }

    pub(crate) fn backend_names(&self) -> Vec<&'static str> {
        self.backends.iter().map(|backend| backend.name()).collect()
    }

    /// Every backend with its heap and what its passes gave back.
    pub(crate) fn figures(&self) -> Vec<BackendFigures> {
        let tallies = self.tallies();
        let each = self.backends.iter().zip(&tallies.each);
        each.map(|(backend, tally)| BackendFigures {
            name: backend.name(),
            heap_used: tally.heap.map(|heap| heap.allocated_bytes),
            heap_total: tally.heap.map(|heap| heap.resident_bytes),
            passes: tally.passes,
            freed_bytes: tally.freed,
        })
        .collect()
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the heaps for their figures if it is time to; not under the lock, since a report may be
    /// waiting for it.
    pub(crate) fn refresh_heaps(&self, now: impl Fn() -> Duration) {
        let started = now();
        if started >= self.tallies().heaps_due {
            self.read_heaps(started, now);
        }
    }

    /// Asks every heap, and returns what the program holds of all of them.
    fn read_heaps(&self, started: Duration, now: impl Fn() -> Duration) -> Option<u64> {
        let heaps: Vec<_> = self
            .backends
            .iter()
            .map(|backend| {
                let asked = std::panic::catch_unwind(AssertUnwindSafe(|| backend.heap()));
                asked.unwrap_or_default()
            })
            .collect();
        let ended = now();
        let mut tallies = self.tallies();
        tallies.heaps_due = ended + ended.saturating_sub(started) * HEAP_COST_SHARE;
        tallies.each.iter_mut().zip(&heaps).for_each(|(tally, heap)| tally.heap = *heap);
        heaps
            .iter()
            .try_fold(0_u64, |sum, heap| Some(sum.saturating_add(heap.as_ref()?.allocated_bytes)))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a release; the receiver ends without a report when nothing can serve it.
    pub(crate) fn ask(&self, most_passes: u32) -> oneshot::Receiver<ReleaseReport> {
        let (done, report) = oneshot::channel();
        let mut queue = self.lock();
        if !self.backends.is_empty() && !queue.closed {
            queue.requests.push_back(Request { most_passes, done });
        }
        report
    }

    /// Notes that a paced release is wanted, if one is due; returns whether it is.
    pub(crate) fn consider(&self, now: Duration, pressure: Pressure) -> bool {
        if self.backends.is_empty() {
            return false;
        }
        let mut queue = self.lock();
        let due = queue.pace.is_due(now, pressure);
        queue.paced_wanted |= due;
        due
    }

    /// Serves all that is wanted now, on the calling thread. `measure` reads resident bytes
    /// afresh; `now` and `seen` tell the time and the ledger's sums.
    pub(crate) fn serve(
        &self,
        measure: impl Fn() -> Option<u64>,
        now: impl Fn() -> Duration,
        seen: impl Fn() -> Seen,
    ) {
        loop {
            let request = {
                let mut queue = self.lock();
                let request = queue.requests.pop_front();
                if request.is_none() && !std::mem::take(&mut queue.paced_wanted) {
                    return;
                }
                request
            };
            if request.as_ref().is_some_and(|request| request.done.is_closed()) {
                continue; // whoever asked has given up
            }
            let seen = seen();
            let most_passes = request.as_ref().map_or(1, |request| request.most_passes);
            let mut report = self.run(most_passes, &measure, &now);
            if request.is_some() {
                report.allocated = self.read_heaps(now(), &now);
            }
            self.lock().pace.released(now(), report.took, report.freed().unwrap_or(0), seen);
            if let Some(request) = request {
                let _ = request.done.send(report);
            }
        }
    }

    fn run(
        &self,
        most_passes: u32,
        measure: &impl Fn() -> Option<u64>,
        now: &impl Fn() -> Duration,
    ) -> ReleaseReport {
        let started = now();
        let mut report = ReleaseReport { before: measure(), ..ReleaseReport::default() };
        report.after = report.before;
        while report.passes < most_passes {
            report.passes += 1;
            let begun = report.after;
            // All heaps of the process in one pass: C libraries have their own beside the program's.
            for (at, backend) in self.backends.iter().enumerate() {
                // A backend that panics must not take the release thread with it.
                if std::panic::catch_unwind(AssertUnwindSafe(|| backend.release())).is_err() {
                    tracing::error!(backend = backend.name(), "release backend panicked");
                }
                let after = measure();
                let tally = &mut self.tallies().each[at];
                tally.passes += 1;
                tally.freed = tally.freed.saturating_add(fall(report.after, after));
                report.after = after;
            }
            if fall(begun, report.after) < LEAST_WORTHWHILE_BYTES {
                break;
            }
        }
        report.took = now().saturating_sub(started);
        report
    }

    /// Drops what is still asked for, so that nobody waits for a thread that has ended.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.requests.clear();
    }
}

/// By how much a figure fell; 0 when it rose or is not known.
fn fall(before: Option<u64>, after: Option<u64>) -> u64 {
    before.zip(after).map_or(0, |(before, after)| before.saturating_sub(after))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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

    struct Panics;
    impl ReleaseBackend for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }
        fn release(&self) {
            panic!("broken allocator")
        }
    }

    #[test]
    fn passes_go_on_until_one_returns_too_little() {
        struct Silent;
        impl ReleaseBackend for Silent {
            fn name(&self) -> &'static str {
                "silent"
            }
            fn release(&self) {}
        }
        let releaser = Releaser::new(vec![Arc::new(Silent)]);
        let mut report = releaser.ask(3);
        let figures = Cell::new([100, 60, 59, 59].map(|mb| mb * MB).into_iter());
        let measure = || {
            let mut rest = figures.take();
            let next = rest.next();
            figures.set(rest);
            next
        };
        releaser.serve(measure, || Duration::ZERO, Seen::default);
        let report = report.try_recv().expect("served");
        assert_eq!((report.passes, report.freed()), (3, Some(41 * MB)));
    }

    #[test]
    fn one_pass_releases_every_heap_and_each_is_credited_with_what_it_gave_back() {
        struct Heap(&'static str, Option<u64>);
        impl ReleaseBackend for Heap {
            fn name(&self) -> &'static str {
                self.0
            }
            fn release(&self) {}
            fn heap(&self) -> Option<HeapFigures> {
                self.1.map(|allocated| HeapFigures::new(allocated, 2 * allocated))
            }
        }
        let released = |second: Option<u64>| {
            let heaps: [Arc<dyn ReleaseBackend>; 2] =
                [Arc::new(Heap("one", Some(7))), Arc::new(Heap("two", second))];
            let releaser = Releaser::new(heaps.into());
            let mut report = releaser.ask(1);
            let figures = Cell::new([100, 70, 20].map(|mb| Some(mb * MB)).into_iter());
            let measure = || {
                let mut rest = figures.take();
                let next = rest.next().flatten();
                figures.set(rest);
                next
            };
            releaser.serve(measure, || Duration::ZERO, Seen::default);
            (report.try_recv().expect("served"), releaser.figures())
        };
        let (report, figures) = released(Some(5));
        assert_eq!((report.passes, report.freed()), (1, Some(80 * MB)));
        assert_eq!(report.allocated, Some(12));
        let told: Vec<_> =
            figures.iter().map(|it| (it.name, it.heap_used, it.passes, it.freed_bytes)).collect();
        assert_eq!(told, [("one", Some(7), 1, 30 * MB), ("two", Some(5), 1, 50 * MB)]);
        let (report, figures) = released(None);
        assert_eq!(report.allocated, None, "a part is not passed for the whole");
        assert_eq!(figures[1].heap_total, None);
    }

    #[test]
    fn a_scheduled_pass_wants_a_quarter_of_the_resident_set_unused() {
        let reading = |rss, allocated: Option<u64>, resident| MemoryReading {
            rss_bytes: rss,
            heap: allocated.map(|bytes| HeapFigures::new(bytes, resident)),
            ..MemoryReading::default()
        };
        for (rss, allocated, resident, worth) in [
            (Some(100), Some(70), 96, true),
            (Some(100), Some(70), 95, false),
            // The allocator counts pages that it has given back.
            (Some(100), Some(90), 900, false),
            (Some(100), None, 0, true),
            (None, Some(1), 1, true),
            (Some(0), Some(0), 0, false),
        ] {
            let reading = reading(rss, allocated, resident);
            assert_eq!(is_worth_a_pass(&reading), worth, "{reading:?}");
        }
    }

    #[test]
    fn a_backend_that_panics_is_reported_as_having_freed_nothing() {
        let releaser = Releaser::new(vec![Arc::new(Panics)]);
        let mut report = releaser.ask(3);
        releaser.serve(|| Some(5), || Duration::ZERO, Seen::default);
        assert_eq!(report.try_recv().expect("served").freed(), Some(0));
    }

    #[test]
    fn without_a_backend_or_after_the_end_nobody_waits() {
        assert!(Releaser::new(Vec::new()).ask(1).try_recv().is_err());
        let releaser = Releaser::new(vec![Arc::new(Panics)]);
        releaser.close();
        assert!(releaser.ask(1).try_recv().is_err());
    }
}
