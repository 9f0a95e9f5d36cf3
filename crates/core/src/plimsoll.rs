//! The handle to the whole.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    admission::Admission,
    alerts::{AlertDesk, AlertName, SilenceError, UnknownAlert},
    builder::PlimsollBuilder,
    clock::{Clock, saturating_millis},
    engine::{CleanupError, CleanupTicket},
    env::EnvSettings,
    events::{Event, Listener},
    forecast::Forecast,
    history::Sample,
    level::PressureLevel,
    meter::AllocationMeter,
    pruner::{CleanupLevel, CleanupTrigger},
    reading::MemoryReading,
    record::CleanupRecord,
    registry::{CleanupRegistry, PrunerFigures, Registration},
    released::{ReleaseError, Released},
    report::{
        Cooldown, GuardFigures, GuardMode, MonitorFigures, ReadingError, ReleaseFigures, Report,
        ReportBytes, ReportThresholds, ThresholdBytes, ThresholdChange,
    },
    retention::{RetentionAttached, RetentionRun, RetentionRunner},
    routes::RouteFigures,
    shared::Shared,
    sockets::SocketSource,
    telemetry::{Cursor, emit},
    thresholds::{Threshold, ThresholdError, ThresholdOrigin, Thresholds},
};

/// Cleanups shown in the report.
const REPORTED_CLEANUPS: usize = 5;
/// Passes of a release that somebody asks for.
const RELEASE_PASSES: u32 = 3;
/// Such a release is waited for as long as a cleanup's is.
const LONGEST_RELEASE: Duration = Duration::from_secs(10);
/// A shutdown waits this long for a running cleanup, for alerts and for its threads.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Watches the memory of this process, cleans up, and tells layers and people.
///
/// A cheap clone of a handle: all clones are the same Plimsoll. It runs until
/// [`Plimsoll::shutdown`], or until the last handle is dropped; a guard layer keeps one.
#[derive(Clone)]
pub struct Plimsoll {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

/// Stops the threads with the last handle.
struct Owner {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    _history: Registration,
    ended: Vec<oneshot::Receiver<()>>,
}

/// Emits the metrics to one recorder; see [`Plimsoll::telemetry`].
pub struct Telemetry {
    shared: Arc<Shared>,
    cursor: Mutex<Cursor>,
}

impl Plimsoll {
    /// Starts with the defaults; nothing runs until the builder's `start`.
    pub fn builder() -> PlimsollBuilder {
        PlimsollBuilder::new()
    }

    pub(crate) fn running(
        shared: Arc<Shared>,
        history: Registration,
        ended: Vec<oneshot::Receiver<()>>,
    ) -> Self {
        let running = Mutex::new(Some(Running { _history: history, ended }));
        let owner = Arc::new(Owner { shared: Arc::clone(&shared), running });
        Self { shared, owner }
    }

    /// The pressure level: one load.
    pub fn level(&self) -> PressureLevel {
        self.shared.level()
    }

    /// The newest reading; taken at most a check interval ago while the sampler runs.
    pub fn reading(&self) -> MemoryReading {
        self.shared.latest().reading
    }

    /// Who tells what the current thread allocates; `None` where no such allocator is installed.
    /// Kept for the life of the process, so that a request reaches it without counting references.
    pub fn allocation_meter(&self) -> Option<&'static dyn AllocationMeter> {
        self.shared.ledger.meter()
    }

    /// Takes a reading now and returns it; `None` when it fails or takes over 2 s.
    pub async fn check(&self) -> Option<MemoryReading> {
        self.shared.fresh_reading().await
    }

    /// Attaches whoever runs the database rules: the report, the metrics and the alerts tell of
    /// them, [`Plimsoll::run_retention`] runs them, a shutdown stops them. No cleanup runs them.
    ///
    /// # Errors
    /// When one is attached already.
    pub fn attach_retention(
        &self,
        runner: Arc<dyn RetentionRunner>,
    ) -> Result<(), RetentionAttached> {
        let attached = self.shared.retention.set(Arc::clone(&runner));
        if self.is_shutting_down() {
            runner.stop();
        }
        attached.map_err(|_| RetentionAttached)
    }

    /// Runs every database rule now and tells what each did; `None` when no runner is attached.
    /// A dry run counts and deletes nothing.
    pub async fn run_retention(&self, dry_run: bool) -> Option<Vec<RetentionRun>> {
        Some(Arc::clone(self.shared.retention.get()?).run(dry_run).await)
    }

    /// Tells everything, from the newest reading.
    pub fn report(&self) -> Report {
        let shared = &self.shared;
        let latest = shared.latest().clone();
        let level = shared.level();
        let thresholds = shared.evaluator().thresholds();
        let ledger = shared.ledger;
        let sockets = shared.sockets.report();
        let queued = sockets.as_ref().map_or(0, |sockets| sockets.queued_bytes);
        let bytes = ReportBytes::from_reading(
            &latest.reading,
            ledger.buffered_bytes().saturating_add(queued),
            ledger.reserved_bytes(),
        );
        let cleanup_history = shared.history.cleanups(REPORTED_CLEANUPS);
        let cooldown = shared.engine.cooldown_left(CleanupLevel::deserved_by(level));
        let age_ms = shared.reading_age().map(saturating_millis);
        let metric = latest.evaluation.map(|evaluation| evaluation.metric);
        Report {
            status: level,
            metric: metric.unwrap_or(crate::reading::MemoryMetric::Rss),
            checked_at: latest.checked_at.map(rfc3339),
            instance: shared.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: shared.clock.now().as_secs(),
            current: bytes.in_mb(),
            bytes,
            thresholds: ReportThresholds::of(thresholds.marks, thresholds.origin),
            threshold_bytes: ThresholdBytes {
                warning: thresholds.marks.warning_bytes(),
                critical: thresholds.marks.critical_bytes(),
            },
            cleanup_in_progress: shared.engine.is_running(),
            last_cleanup: cleanup_history.first().map(|record| record.timestamp),
            cooldown: Cooldown { remaining_ms: saturating_millis(cooldown) },
            cleanup_history,
            alerts: shared.alerts.active(),
            forecast: shared.forecast(),
            guard: self.guard_figures(),
            sockets,
            retention: shared.retention.get().map(|runner| runner.report()),
            release: ReleaseFigures {
                backends: shared.releaser.backend_names(),
                heaps: shared.releaser.figures(),
            },
            monitor: MonitorFigures { bytes: shared.monitor_bytes() },
            source: shared.source.clone(),
            events: shared.kernel_events.figures(),
            reading_error: latest.error.map(|message| ReadingError { message, age_ms }),
        }
    }

    fn guard_figures(&self) -> GuardFigures {
        let ledger = self.shared.ledger;
        GuardFigures {
            mode: match self.shared.guard_mode.load(Ordering::Relaxed) {
                0 => GuardMode::Off,
                1 => GuardMode::Observe,
                _ => GuardMode::Enforce,
            },
            in_flight: ledger.in_flight(),
            reserved_bytes: ledger.reserved_bytes(),
            admitted: ledger.admitted_total(),
            shed: ledger.shed_total(),
            would_have_shed: ledger.would_have_shed_total(),
            cancelled: ledger.cancelled_total(),
            attributed: ledger.meter().is_some(),
        }
    }

    /// Replaces both thresholds and judges the newest reading by them at once.
    ///
    /// # Errors
    /// When a share cannot be resolved for want of a limit, or the two are out of order;
    /// nothing changes then.
    pub fn set_thresholds(
        &self,
        thresholds: Thresholds,
    ) -> Result<ThresholdChange, ThresholdError> {
        self.shared.set_thresholds(|_| Ok(thresholds), ThresholdOrigin::Api)
    }

    /// Replaces one threshold or both, in one step.
    ///
    /// # Errors
    /// As [`Plimsoll::set_thresholds`].
    pub fn update_thresholds(
        &self,
        warning: Option<Threshold>,
        critical: Option<Threshold>,
    ) -> Result<ThresholdChange, ThresholdError> {
        self.shared.set_thresholds(|now| now.merged(warning, critical), ThresholdOrigin::Api)
    }

    /// Runs a cleanup and waits for its end. One runs at a time: if one is running, this waits
    /// for that one and returns its record.
    ///
    /// # Errors
    /// [`CleanupError`] when Plimsoll was shut down or its runtime ended.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the cleanup.
    pub async fn cleanup(&self, level: CleanupLevel) -> Result<CleanupRecord, CleanupError> {
        self.start_cleanup(level, CleanupTrigger::Program)?.finished().await
    }

    /// Starts a cleanup, or joins the running one, without waiting.
    ///
    /// # Errors
    /// [`CleanupError::ShutDown`].
    pub fn start_cleanup(
        &self,
        level: CleanupLevel,
        trigger: CleanupTrigger,
    ) -> Result<CleanupTicket, CleanupError> {
        self.shared.engine.start(level, trigger, false, &self.shared)
    }

    /// Tells what a cleanup would drop, and drops nothing. It does not join a running one.
    ///
    /// # Errors
    /// [`CleanupError`] when Plimsoll was shut down or its runtime ended.
    pub async fn preview_cleanup(
        &self,
        level: CleanupLevel,
        trigger: CleanupTrigger,
    ) -> Result<CleanupRecord, CleanupError> {
        self.shared.engine.start(level, trigger, true, &self.shared)?.finished().await
    }

    /// Gives pages that nobody uses back to the system: at most three passes over the allocators,
    /// fewer when one brings little. Drops nothing, and is no cleanup: no record is kept.
    ///
    /// # Errors
    /// [`ReleaseError`] when no allocator can, or it takes longer than a cleanup would wait.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws a release that has not begun.
    pub async fn release(&self) -> Result<Released, ReleaseError> {
        let backends = self.shared.releaser.backend_names();
        if backends.is_empty() {
            return Err(ReleaseError::NoBackend);
        }
        let report = self.shared.releaser.ask(RELEASE_PASSES);
        self.shared.wake_worker();
        match tokio::time::timeout(LONGEST_RELEASE, report).await {
            Ok(Ok(report)) => Ok(Released::of(&report, backends)),
            _ => Err(ReleaseError::Unanswered),
        }
    }

    /// The registry whose pruners are run.
    pub fn registry(&self) -> &CleanupRegistry {
        &self.shared.registry
    }

    /// Every pruner with what it holds and did.
    pub fn pruners(&self) -> Vec<PrunerFigures> {
        self.shared.registry.figures()
    }

    /// Every route that has seen a request, by name.
    pub fn routes(&self) -> Vec<RouteFigures> {
        self.shared.ledger.route_figures()
    }

    /// Samples of the last `span`, oldest first; at most an hour is kept: one each 10 s, each
    /// second for the last two minutes.
    pub fn samples(&self, span: Duration) -> Vec<Sample> {
        self.shared.history.samples(span, self.shared.clock.wall())
    }

    /// The newest cleanups, newest first; 50 are kept.
    pub fn cleanups(&self, most: usize) -> Vec<CleanupRecord> {
        self.shared.history.cleanups(most)
    }

    /// Where memory is going, as of at most 10 s ago; `None` in the first 20 min.
    pub fn forecast(&self) -> Option<Forecast> {
        self.shared.forecast()
    }

    /// The alerts: which are active, what was, silences and sinks.
    pub fn alerts(&self) -> &AlertDesk {
        &self.shared.alerts
    }

    /// Resolves an active alert by hand; it comes back only once its condition has cleared and
    /// returned. One that was resolved before stays as it is.
    ///
    /// # Errors
    /// When no alert has this id.
    pub fn resolve_alert(&self, id: &str) -> Result<(), UnknownAlert> {
        self.shared.alerts.resolve(&self.shared.events, id)
    }

    /// Holds back the notifications of a rule for a while, at most 24 h.
    ///
    /// # Errors
    /// For zero and for more than 24 h.
    pub fn silence_alert(&self, name: AlertName, span: Duration) -> Result<(), SilenceError> {
        self.shared.alerts.silence(&self.shared.events, name, span)
    }

    /// Ends the silence of a rule before its time.
    pub fn lift_silence(&self, name: AlertName) {
        self.shared.alerts.lift_silence(&self.shared.events, name);
    }

    /// Listens to events from now on. `after` asks for those since an event heard earlier;
    /// `None` in return says that they are gone and a snapshot is needed.
    pub fn listen(&self, after: Option<u64>) -> (Option<Vec<Event>>, Listener) {
        self.shared.events.listen(after)
    }

    /// The number of the newest event, 0 before the first.
    pub fn last_event(&self) -> u64 {
        self.shared.events.last_sequence()
    }

    /// Returns the handle by which a middleware admits work, and notes what it does with work
    /// that does not fit.
    pub fn admission(&self, mode: GuardMode) -> Admission {
        let mode = match mode {
            GuardMode::Off => 0,
            GuardMode::Observe => 1,
            GuardMode::Enforce => 2,
        };
        self.shared.guard_mode.fetch_max(mode, Ordering::Relaxed);
        Admission::new(self.shared.ledger)
    }

    /// Stops (false) or resumes refusing work; it is counted either way.
    pub fn set_enforcing(&self, enforcing: bool) {
        self.shared.ledger.set_enforcing(enforcing);
    }

    /// Whether work that does not fit is refused.
    pub fn is_enforcing(&self) -> bool {
        self.shared.ledger.enforcing()
    }

    /// Whether the sampler has not looked for too long; refusals are suspended then.
    pub fn is_stalled(&self) -> bool {
        self.shared.is_stalled()
    }

    /// Has the report, the metrics and the alerts tell of a registry of connections, in place of
    /// the one attached before, if any. It is held weakly, and is gone from them when it is
    /// dropped.
    pub fn attach_sockets(&self, source: &Arc<dyn SocketSource>) {
        self.shared.sockets.attach(source);
    }

    /// The registry of connections that is attached.
    pub fn sockets(&self) -> Option<Arc<dyn SocketSource>> {
        self.shared.sockets.get()
    }

    /// How long the sampler's next look is overdue, whether or not its source can be read; near
    /// zero unless its thread is stuck or starved.
    pub fn sampler_overdue(&self) -> Duration {
        self.shared.sampler.overdue(self.shared.clock.now())
    }

    /// Whether cleanups and releases start by themselves; see
    /// [`PlimsollBuilder::automatic_cleanup`](crate::PlimsollBuilder::automatic_cleanup).
    pub fn cleans_by_itself(&self) -> bool {
        self.shared.automatic_cleanup
    }

    /// Whether [`Plimsoll::shutdown`] was called.
    pub fn is_shutting_down(&self) -> bool {
        self.shared.engine.is_closed()
    }

    /// Time since the newest reading; `None` before the first.
    pub fn reading_age(&self) -> Option<Duration> {
        self.shared.reading_age()
    }

    /// Readings that failed since the start.
    pub fn failed_readings(&self) -> u64 {
        self.shared.sampler.failures()
    }

    /// Requests admitted only because the sampler had stalled.
    pub fn admitted_unchecked(&self) -> u64 {
        self.shared.ledger.expired_total()
    }

    /// What the environment said; empty unless the builder was told to read it.
    pub fn settings(&self) -> &EnvSettings {
        &self.shared.settings
    }

    /// This process among others and its own earlier lives.
    pub fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Runs `upkeep` every 5 s on the worker thread; for what else must go on without traffic.
    pub fn every_few_seconds(&self, upkeep: impl Fn() + Send + Sync + 'static) {
        self.shared.upkeep().push(Arc::new(upkeep));
    }

    /// Returns an emitter of the metrics for a recorder of one's own. The global recorder, if
    /// one is installed, is told once a second without it.
    pub fn telemetry(&self) -> Telemetry {
        Telemetry { shared: Arc::clone(&self.shared), cursor: Mutex::default() }
    }

    /// Ends: no more cleanups start, a running one is waited for, alerts are flushed, event
    /// streams end, all threads are joined. Takes at most 10 s. Guards admit everything from
    /// then on. Further calls return at once.
    pub async fn shutdown(&self) {
        let running = self.owner.take_running();
        self.shared.engine.close();
        // However this ends, also when it is dropped in the middle: streams end, threads stop.
        let stopping = Stopping(&self.owner);
        if let Some(retention) = self.shared.retention.get() {
            retention.stop();
        }
        let (cleanup, batch) =
            futures_util::future::join(self.cleanup_ended(), self.retention_ended()).await;
        if !cleanup {
            tracing::warn!("a cleanup is still running; it is left to end by itself");
        }
        if !batch {
            tracing::warn!("a database rule's batch is still running; it is left to end by itself");
        }
        self.shared.alerts.flush(SHUTDOWN_DEADLINE / 4).await;
        drop(stopping);
        let threads = async {
            for thread in running.into_iter().flat_map(|running| running.ended) {
                // An error is a thread that ended by a panic: it has ended too.
                let _ = thread.await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_DEADLINE / 4, threads).await.is_err() {
            tracing::warn!("a thread is still busy; it is left to end by itself");
        }
    }

    /// Whether no cleanup is running, waited for.
    async fn cleanup_ended(&self) -> bool {
        let Some(cleanup) = self.shared.engine.running() else { return true };
        // Its record is in the history; an interruption was logged.
        tokio::time::timeout(SHUTDOWN_DEADLINE / 2, cleanup.finished()).await.is_ok()
    }

    /// Whether no database rule is running, waited for.
    async fn retention_ended(&self) -> bool {
        let Some(runner) = self.shared.retention.get() else { return true };
        tokio::time::timeout(SHUTDOWN_DEADLINE / 2, runner.stopped()).await.is_ok()
    }
}

struct Stopping<'a>(&'a Owner);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl std::fmt::Debug for Plimsoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plimsoll")
            .field("instance", &self.shared.instance)
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}

impl Owner {
    fn take_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn stop(&self) {
        self.shared.events.end();
        if let Some(retention) = self.shared.retention.get() {
            retention.stop();
        }
        self.shared.sampler.stop();
        self.shared.kernel_events.stop();
        self.shared.wake_worker();
        // Without a sampler every verdict is old; do not make requests find out one by one.
        self.shared.ledger.set_enforcing(false);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.engine.close();
        self.stop();
    }
}

impl Telemetry {
    /// Emits every metric to the current recorder of this thread: a local one where
    /// `metrics::with_local_recorder` set it, else the global one.
    pub fn emit(&self) {
        emit(&self.shared, &mut self.cursor.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// A moment of the wall clock as RFC 3339 in UTC, to the second.
pub fn rfc3339(since_1970: Duration) -> String {
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_1970).to_string()
}
