//! The thread that looks. It needs no runtime and no traffic, so neither a stalled executor nor
//! its own refusals can blind it.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use crate::{
    clock::saturating_millis,
    evaluate::Evaluation,
    growth::WatchedGrowth,
    reading::{HeapFigures, MemoryMetric, MemoryReading},
    shared::Shared,
    source::{GrowthWatch, HeapSource, KernelEvents, MemorySource, SourceError},
};

/// After a failed reading the next look waits this long, or the check interval if that is
/// shorter: a source that keeps failing must not turn the thread hot.
const RETRY_AFTER_ERROR: Duration = Duration::from_millis(500);
/// Allocator figures may take at most this share of the time.
const HEAP_COST_SHARE: u32 = 500;
/// ... but are not left alone for longer: on a busy machine a thread that lost its turn while it
/// read them would else have counted that as their cost, and they would stand still for minutes.
const HEAP_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// ... and are not read more often than this, unless they decide.
const HEAP_EVERY: Duration = Duration::from_millis(500);

type Waiting = Box<dyn FnOnce(Option<MemoryReading>) + Send>;

/// How the rest of the program reaches the sampler.
#[derive(Default)]
pub(crate) struct SamplerGate {
    thread: OnceLock<Thread>,
    stop: AtomicBool,
    waiting: Mutex<Vec<Waiting>>,
    checks: AtomicU64,
    failures: AtomicU64,
    /// When the next look is due at the latest, in milliseconds of the clock.
    due_ms: AtomicU64,
}

impl SamplerGate {
    pub(crate) fn attach(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Calls `answer` with a reading taken after now, or with `None` when it failed.
    pub(crate) fn ask(&self, answer: Waiting) {
        if self.is_stopped() {
            return answer(None);
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        self.wake();
        // The thread may have ended between the two.
        if self.is_stopped() {
            self.answer(&mut self.take_waiting(), None);
        }
    }

    fn take_waiting(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[expect(clippy::unused_self, reason = "reads as what it is")]
    fn answer(&self, waiting: &mut Vec<Waiting>, reading: Option<MemoryReading>) {
        for answer in waiting.drain(..) {
            answer(reading);
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Notes when the next look is due at the latest.
    pub(crate) fn is_due(&self, at: Duration) {
        self.due_ms.store(saturating_millis(at), Ordering::Relaxed);
    }

    /// How long the next look is overdue at `now`.
    pub(crate) fn overdue(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.due_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Reads the source and the allocator.
pub(crate) struct Reader {
    source: Box<dyn MemorySource>,
    heap: Option<Arc<dyn HeapSource>>,
    heap_decides: bool,
    kept: Option<HeapFigures>,
    heap_due: Duration,
}

impl Reader {
    pub(crate) fn new(
        source: Box<dyn MemorySource>,
        heap: Option<Arc<dyn HeapSource>>,
        metric: Option<MemoryMetric>,
    ) -> Self {
        let heap_decides = metric == Some(MemoryMetric::HeapUsed);
        Self { source, heap, heap_decides, kept: None, heap_due: Duration::ZERO }
    }

    pub(crate) fn describe(&self) -> String {
        self.source.describe()
    }

    /// The kernel events of the source, once; a panic is none.
    pub(crate) fn events(&mut self) -> Option<Box<dyn KernelEvents>> {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.source.events())).unwrap_or_default()
    }

    /// Tells the source which growth the next wake is worth, and returns when to look at the
    /// latest without one.
    pub(crate) fn watch(&mut self, evaluation: &Evaluation) -> Duration {
        let growth = WatchedGrowth::of(evaluation.figure, evaluation.marks);
        let watch = AssertUnwindSafe(|| self.source.watch(growth.bytes()));
        // The kernel tells of usage. A heap grows into pages that its allocator has kept, and a
        // resident set while page cache makes room for it: neither moves usage.
        let told = evaluation.metric == MemoryMetric::WorkingSet;
        match std::panic::catch_unwind(watch) {
            Ok(GrowthWatch::Watched) if told => evaluation.watched_period,
            // One that panics is told of nothing, as one that cannot watch.
            Ok(_) | Err(_) => evaluation.period,
        }
    }

    /// Takes one reading; `asked` when somebody waits for it.
    pub(crate) fn read(
        &mut self,
        clock: &crate::Clock,
        asked: bool,
    ) -> Result<MemoryReading, SourceError> {
        // A source is the program's code: its panic is a failed reading, not the end of sampling.
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| self.source.read()));
        let mut reading =
            read.unwrap_or_else(|_| Err(SourceError::new("memory: the source panicked")))?;
        reading.taken_at = clock.now();
        if reading.heap.is_none() {
            reading.heap = self.heap_figures(clock, asked);
        }
        Ok(reading)
    }

    /// glibc walks its free chunks for its figures, so their cost sets how often they are read.
    fn heap_figures(&mut self, clock: &crate::Clock, asked: bool) -> Option<HeapFigures> {
        let heap = self.heap.as_ref()?;
        let now = clock.now();
        if now < self.heap_due && self.kept.is_some() {
            return self.kept;
        }
        let figures = std::panic::catch_unwind(AssertUnwindSafe(|| heap.figures()));
        self.kept = figures.unwrap_or_default();
        let rest = clock.now().saturating_sub(now).saturating_mul(HEAP_COST_SHARE);
        let rest = rest.min(HEAP_AT_LEAST_EVERY);
        let least = if self.heap_decides || asked { Duration::ZERO } else { HEAP_EVERY };
        self.heap_due = now + rest.max(least);
        self.kept
    }
}

/// The body of the sampler thread.
pub(crate) fn run(shared: &Arc<Shared>, mut reader: Reader) {
    let gate = &shared.sampler;
    while !gate.is_stopped() {
        // What is logged on the way runs the program's code. Its panic is that of one look: without
        // a sampler nothing would be refused, and nothing cleaned up, ever again.
        let looked = std::panic::catch_unwind(AssertUnwindSafe(|| look(shared, &mut reader)));
        let wait = looked.unwrap_or_else(|_| {
            // Not logged: that may be what panics.
            shared.latest().error = Some("a look at the memory panicked".to_owned());
            gate.failures.fetch_add(1, Ordering::Relaxed);
            shared.check_interval.min(RETRY_AFTER_ERROR)
        });
        gate.is_due(shared.clock.now() + wait);
        // A wake that came meanwhile makes this return at once.
        std::thread::park_timeout(wait);
    }
    gate.answer(&mut gate.take_waiting(), None);
}

/// Reads once and acts on it; returns how long to wait.
fn look(shared: &Arc<Shared>, reader: &mut Reader) -> Duration {
    let gate = &shared.sampler;
    let failed = |error: &SourceError, waiting: &mut Vec<Waiting>| {
        gate.failures.fetch_add(1, Ordering::Relaxed);
        shared.note_failed_reading(error);
        gate.answer(waiting, None);
        shared.check_interval.min(RETRY_AFTER_ERROR)
    };
    let mut waiting = gate.take_waiting();
    // Before the reading: what is promised meanwhile counts as not yet seen.
    let reserved = shared.ledger.reserved_bytes();
    let read = reader.read(&shared.clock, !waiting.is_empty());
    // Before anybody is answered, so that whoever was knows the sampler to be alive.
    gate.is_due(shared.clock.now() + shared.check_interval);
    match read {
        Ok(reading) => match shared.take_reading(reading, reserved) {
            Some(evaluation) => {
                gate.checks.fetch_add(1, Ordering::Relaxed);
                gate.answer(&mut waiting, Some(reading));
                reader.watch(&evaluation)
            }
            None => failed(&SourceError::new("the decision figure"), &mut waiting),
        },
        Err(error) => failed(&error, &mut waiting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        evaluate::Evaluator,
        thresholds::{ThresholdOrigin, Thresholds},
        units::MB,
    };

    struct Watched;

    impl MemorySource for Watched {
        fn read(&mut self) -> Result<MemoryReading, SourceError> {
            Err(SourceError::new("nothing"))
        }

        fn describe(&self) -> String {
            "watched".to_owned()
        }

        fn watch(&mut self, _: &[u64]) -> GrowthWatch {
            GrowthWatch::Watched
        }
    }

    #[test]
    fn only_what_the_kernel_counts_is_left_to_the_kernel() {
        let mut reading = MemoryReading {
            rss_bytes: Some(10 * MB),
            working_set_bytes: Some(10 * MB),
            limit_bytes: Some(268 * MB),
            ..MemoryReading::default()
        };
        reading.heap = Some(HeapFigures { allocated_bytes: 10 * MB, ..HeapFigures::default() });
        for (metric, left) in [
            (MemoryMetric::WorkingSet, true),
            // Grows into pages that the allocator has kept, and nothing moves in the kernel.
            (MemoryMetric::HeapUsed, false),
            // Grows while page cache makes room for it, which is as much part of the usage.
            (MemoryMetric::Rss, false),
        ] {
            let explicit = Thresholds::new(188 * MB, 228 * MB).expect("ordered");
            let mut evaluator = Evaluator::new(
                Some(metric),
                Some((explicit, ThresholdOrigin::Api)),
                reading.limit_bytes,
                Duration::from_secs(10),
                Duration::ZERO,
            )
            .expect("resolves");
            let evaluation =
                evaluator.evaluate(&reading, 0, Duration::ZERO, false).expect("has the figure");
            assert!(evaluation.watched_period > evaluation.period);
            let wait = Reader::new(Box::new(Watched), None, Some(metric)).watch(&evaluation);
            assert_eq!(wait == evaluation.watched_period, left, "{metric:?}");
        }
    }

    #[test]
    fn a_reading_of_the_heap_that_lost_its_turn_does_not_silence_the_next_for_minutes() {
        struct Preempted(Clock);
        impl HeapSource for Preempted {
            fn figures(&self) -> Option<HeapFigures> {
                self.0.advance(Duration::from_secs(1));
                Some(HeapFigures::new(self.0.now().as_secs() * MB, 100 * MB))
            }
        }
        let clock = Clock::manual(Duration::ZERO);
        let mut reader =
            Reader::new(Box::new(Watched), Some(Arc::new(Preempted(clock.clone()))), None);
        let mut allocated =
            |clock: &Clock| reader.heap_figures(clock, false).map(|heap| heap.allocated_bytes / MB);
        assert_eq!(allocated(&clock), Some(1));
        // It took a second, a 500th of which would be eight minutes.
        clock.advance(Duration::from_secs(8));
        assert_eq!(allocated(&clock), Some(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(allocated(&clock), Some(11));
    }
}
