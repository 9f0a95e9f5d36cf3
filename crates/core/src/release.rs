//! Giving freed pages back: on request of a cleanup, and paced by need under load.
//!
//! Allocators keep freed pages, so a guard that only counts requests sees memory that never
//! falls: it latches shut, or admits on top of it and dies. So once usage is near a threshold,
//! pages are given back whenever requests have given back enough bytes for it to matter.

mod pace;

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

pub(crate) use self::pace::{Pressure, ReleasePace, Seen};
use crate::{
    reading::{HeapFigures, MemoryReading},
    report::BackendFigures,
    source::ReleaseBackend,
    units::MB,
};

/// The name of the release among the actions of a cleanup.
pub const RELEASE_ACTION: &str = "release_memory";
/// A pass that returns less is the last one.
pub(crate) const LEAST_WORTHWHILE_BYTES: u64 = MB;

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
