//! What the threads, the engine and the handles share.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU8},
    thread::Thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    alerts::AlertDesk,
    cancel::{CancelInput, CancelPace},
    clock::Clock,
    engine::{CleanupEngine, Surroundings},
    env::EnvSettings,
    evaluate::{Evaluation, Evaluator, VERDICT_GRACE},
    events::{EventKind, Events},
    forecast::{Forecast, LeakForecast},
    history::History,
    kernel_events::EventsGate,
    ledger::Ledger,
    level::PressureLevel,
    machine::release_line,
    reading::MemoryReading,
    record::CleanupRecord,
    registry::CleanupRegistry,
    release::{Pressure, Releaser, Seen, held_unused},
    report::ThresholdChange,
    retention::RetentionRunner,
    sampler::SamplerGate,
    sockets::SocketSlot,
    source::SourceError,
    telemetry::CleanupTotals,
    thresholds::{ThresholdError, ThresholdOrigin, Thresholds},
};

/// A fresh reading is waited for at most this long.
const LONGEST_READING: Duration = Duration::from_secs(2);

/// Requests ended after one reading, at most: the next reading is a millisecond away then.
const MOST_CANCELLED_AT_ONCE: u32 = 16;

/// What else runs every few seconds.
pub(crate) type Upkeep = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) ledger: &'static Ledger,
    pub(crate) sampler: SamplerGate,
    pub(crate) kernel_events: EventsGate,
    pub(crate) releaser: Arc<Releaser>,
    pub(crate) registry: CleanupRegistry,
    pub(crate) engine: Arc<CleanupEngine>,
    pub(crate) history: History,
    pub(crate) events: Events,
    pub(crate) alerts: AlertDesk,
    pub(crate) instance: String,
    pub(crate) source: String,
    pub(crate) check_interval: Duration,
    pub(crate) release_interval: Option<Duration>,
    pub(crate) automatic_cleanup: bool,
    pub(crate) settings: EnvSettings,
    pub(crate) guard_mode: AtomicU8,
    pub(crate) sockets: SocketSlot,
    pub(crate) upkeep: Mutex<Vec<Upkeep>>,
    pub(crate) retention: OnceLock<Arc<dyn RetentionRunner>>,
    pub(crate) worker: OnceLock<Thread>,
    pub(crate) totals: Mutex<CleanupTotals>,
    pub(crate) evaluator: Mutex<Evaluator>,
    pub(crate) latest: Mutex<Latest>,
    pub(crate) leak: Mutex<LeakWatch>,
    pub(crate) cancelling: Mutex<CancelPace>,
}

/// The newest reading and what was decided from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    pub(crate) reading: MemoryReading,
    pub(crate) evaluation: Option<Evaluation>,
    /// On the wall clock, since 1970.
    pub(crate) checked_at: Option<Duration>,
    /// The highest decision figure since the worker last took a sample.
    pub(crate) peak: Option<u64>,
    /// Sum of reservations when the reading was taken.
    pub(crate) reserved: u64,
    pub(crate) error: Option<String>,
}

/// What the worker knows of where memory goes.
#[derive(Debug, Default)]
pub(crate) struct LeakWatch {
    pub(crate) watched: LeakForecast,
    /// As of the last look, for report and alerts.
    pub(crate) told: Option<Forecast>,
}

impl Shared {
    pub(crate) fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leak(&self) -> MutexGuard<'_, LeakWatch> {
        self.leak.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where memory was going when the worker last asked itself.
    pub(crate) fn forecast(&self) -> Option<Forecast> {
        self.leak().told
    }

    pub(crate) fn evaluator(&self) -> MutexGuard<'_, Evaluator> {
        self.evaluator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn upkeep(&self) -> MutexGuard<'_, Vec<Upkeep>> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake_worker(&self) {
        if let Some(worker) = self.worker.get() {
            worker.unpark();
        }
    }

    /// Decides from a reading, publishes, acts; returns what was decided, such as when to look
    /// again, or `None` when the reading lacks the decision figure.
    pub(crate) fn take_reading(
        self: &Arc<Self>,
        reading: MemoryReading,
        reserved: u64,
    ) -> Option<Evaluation> {
        let evaluation = {
            let mut evaluator = self.evaluator();
            let evaluation = evaluator.evaluate(&reading, reserved, reading.taken_at, false)?;
            // Published under the lock, so that an older verdict never replaces a newer one.
            self.publish(reading, reserved, &evaluation);
            evaluation
        };
        self.act(&evaluation, reading.taken_at);
        Some(evaluation)
    }

    fn publish(&self, reading: MemoryReading, reserved: u64, evaluation: &Evaluation) {
        self.ledger.publish(&evaluation.verdict);
        let mut latest = self.latest();
        latest.reading = reading;
        latest.reserved = reserved;
        latest.peak = latest.peak.max(Some(evaluation.figure));
        latest.evaluation = Some(*evaluation);
        let age = self.clock.now().saturating_sub(reading.taken_at);
        latest.checked_at = Some(self.clock.wall().saturating_sub(age));
        latest.error = None;
    }

    fn act(self: &Arc<Self>, evaluation: &Evaluation, now: Duration) {
        if let Some(edge) = evaluation.edge {
            tracing::info!(
                from = edge.from.as_str(),
                to = edge.to.as_str(),
                metric = evaluation.metric.as_str(),
                figure_bytes = evaluation.figure,
                "pressure level changed"
            );
        }
        if evaluation.edge.is_some_and(|edge| edge.to == PressureLevel::Healthy) {
            self.engine.forget_futility();
        }
        if evaluation.edge.is_some_and(|edge| edge.to == PressureLevel::Critical) {
            self.engine.note_critical_edge();
        }
        let mut wake = evaluation.edge.is_some();
        if self.automatic_cleanup {
            self.engine.consider(evaluation.level, self);
            let Evaluation { figure, marks, level, .. } = *evaluation;
            let pressure = Pressure { usage: figure, marks, level, seen: self.seen() };
            wake |= self.releaser.consider(now, pressure);
        }
        self.consider_cancelling(evaluation, now);
        if wake {
            self.wake_worker();
        }
    }

    /// The last resort: of the requests that may be ended, the largest.
    fn consider_cancelling(&self, evaluation: &Evaluation, now: Duration) {
        let Evaluation { figure, marks, level, limit, .. } = *evaluation;
        let mut pace = self.cancelling.lock().unwrap_or_else(PoisonError::into_inner);
        if evaluation.edge.is_some_and(|edge| edge.from == PressureLevel::Critical) {
            self.ledger.forgive_cancelled();
        }
        let input = CancelInput { usage: figure, marks, limit, level };
        for _ in 0..MOST_CANCELLED_AT_ONCE {
            if !self.ledger.enforcing() || !pace.is_due(now, input) {
                return;
            }
            let Some(bytes) = self.ledger.cancel_largest() else { return };
            pace.ended(now, bytes);
            tracing::warn!(bytes, figure_bytes = figure, "cancelled the largest request");
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            given_back: self.ledger.given_back_bytes(),
            in_flight: self.ledger.in_flight(),
            unused: held_unused(&self.latest().reading),
        }
    }

    pub(crate) fn note_failed_reading(&self, error: &SourceError) {
        let message = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        let mut latest = self.latest();
        if latest.error.as_ref() != Some(&message) {
            tracing::warn!(error = %message, "memory reading failed; the last one stays in force");
        }
        latest.error = Some(message);
    }

    /// Replaces the thresholds and judges the newest reading by them at once.
    pub(crate) fn set_thresholds(
        self: &Arc<Self>,
        change: impl FnOnce(Thresholds) -> Result<Thresholds, ThresholdError>,
        origin: ThresholdOrigin,
    ) -> Result<ThresholdChange, ThresholdError> {
        let (previous, current, evaluation, level) = {
            let mut evaluator = self.evaluator();
            let setting = change(evaluator.thresholds().setting)?;
            let previous = evaluator.set_thresholds(setting, origin)?;
            // Under the evaluator's lock, so that this is the newest reading there is.
            let Latest { reading, reserved, .. } = *self.latest();
            let evaluation = evaluator.evaluate(&reading, reserved, self.clock.now(), true);
            if let Some(evaluation) = &evaluation {
                self.publish(reading, reserved, evaluation);
            }
            (previous, evaluator.thresholds(), evaluation, evaluator.level())
        };
        use crate::report::ReportThresholds;
        let change = ThresholdChange {
            thresholds: ReportThresholds::of(current.marks, current.origin),
            previous: ReportThresholds::of(previous.marks, previous.origin),
            status: level,
        };
        tracing::info!(
            warning_bytes = current.marks.warning_bytes(),
            critical_bytes = current.marks.critical_bytes(),
            source = current.origin.as_str(),
            "thresholds changed"
        );
        self.events.publish(EventKind::Thresholds, &change);
        if let Some(evaluation) = &evaluation {
            self.engine.forget_futility();
            self.act(evaluation, self.clock.now());
        }
        // A fresh look, and a period that fits the new lines.
        self.sampler.wake();
        self.wake_worker();
        Ok(change)
    }

    /// Whether nobody has looked for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        self.reading_age().is_some_and(|age| age > self.longest_reading_age())
    }

    /// Time since the newest reading; `None` before the first.
    pub(crate) fn reading_age(&self) -> Option<Duration> {
        let latest = self.latest();
        latest.evaluation?;
        Some(self.clock.now().saturating_sub(latest.reading.taken_at))
    }

    fn longest_reading_age(&self) -> Duration {
        let period = self.latest().evaluation.map(|evaluation| evaluation.period);
        period.unwrap_or(self.check_interval) + VERDICT_GRACE
    }

    pub(crate) fn level(&self) -> PressureLevel {
        self.ledger.level()
    }

    /// Waits for a reading taken after now.
    pub(crate) async fn fresh_reading(&self) -> Option<MemoryReading> {
        let (answer, reading) = oneshot::channel();
        self.sampler.ask(Box::new(move |reading| {
            let _ = answer.send(reading);
        }));
        tokio::time::timeout(LONGEST_READING, reading).await.ok()?.ok()?
    }

    /// The same for a thread of our own.
    pub(crate) fn fresh_reading_blocking(&self) -> Option<MemoryReading> {
        let (answer, reading) = std::sync::mpsc::sync_channel(1);
        self.sampler.ask(Box::new(move |reading| {
            let _ = answer.try_send(reading);
        }));
        reading.recv_timeout(LONGEST_READING).ok()?
    }

    /// What the rings, the alerts and the queues hold.
    pub(crate) fn monitor_bytes(&self) -> u64 {
        self.history.bytes()
            + self.events.bytes()
            + self.alerts.bytes()
            + self.leak().watched.bytes()
            + size_of::<Self>() as u64
            + size_of::<Ledger>() as u64
            + self.ledger.watchlist_bytes()
    }
}

impl Surroundings for Shared {
    async fn fresh_figure(&self) -> Option<u64> {
        let reading = self.fresh_reading().await?;
        let metric = self.latest().evaluation?.metric;
        reading.figure(metric)
    }

    fn plausible_bytes(&self) -> Option<u64> {
        let reading = self.latest().reading;
        let peak = self.latest().peak;
        [reading.rss_bytes, reading.working_set_bytes, peak].into_iter().flatten().max()
    }

    fn goal_bytes(&self) -> u64 {
        release_line(self.evaluator().thresholds().marks.warning_bytes())
    }

    fn wake_releases(&self) {
        self.wake_worker();
    }

    fn finished(&self, record: &CleanupRecord) {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).add(record);
        self.history.push_cleanup(record.clone(), self.clock.now());
        self.events.publish(EventKind::Cleanup, record);
        self.wake_worker();
    }
}
