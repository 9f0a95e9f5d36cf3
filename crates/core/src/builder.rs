//! From settings to a running [`Plimsoll`].

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    alerts::{AlertConfig, AlertDesk, AlertSink},
    clock::Clock,
    engine::{CleanupEngine, DEFAULT_PRUNER_DEADLINE, EngineParts},
    env::{
        CHECK_INTERVAL_RANGE, DEFAULT_ALERT_COOLDOWN, DEFAULT_ALERT_REPEAT_INTERVAL,
        DEFAULT_CHECK_INTERVAL, DEFAULT_CLEANUP_COOLDOWN, EnvError, EnvSettings,
    },
    evaluate::{Evaluator, decision_metric},
    events::Events,
    history::History,
    kernel_events::{self, EventsGate},
    ledger::Ledger,
    machine::DEFAULT_DWELL,
    meter::AllocationMeter,
    plimsoll::Plimsoll,
    pruner::{CleanupLevel, Holding, PruneError, PruneRequest, Pruned, Pruner},
    reading::{MemoryMetric, MemoryReading},
    registry::CleanupRegistry,
    release::Releaser,
    sampler::{self, Reader, SamplerGate},
    shared::{Latest, Shared},
    sockets::SocketSlot,
    source::{HeapSource, MemorySource, ReleaseBackend, SourceError},
    thresholds::{ThresholdError, ThresholdOrigin, Thresholds},
    worker,
};

/// Settings of a [`Plimsoll`] that is not running yet; see [`Plimsoll::builder`].
#[must_use = "nothing runs until it is started"]
pub struct PlimsollBuilder {
    env: EnvSettings,
    thresholds: Option<Thresholds>,
    metric: Option<MemoryMetric>,
    check_interval: Option<Duration>,
    cleanup_cooldown: Option<Duration>,
    release_interval: Option<Duration>,
    alert_cooldown: Option<Duration>,
    alert_repeat_interval: Option<Duration>,
    pruner_deadline: Duration,
    automatic_cleanup: bool,
    registry: CleanupRegistry,
    heap: Option<Arc<dyn HeapSource>>,
    meter: Option<Arc<dyn AllocationMeter>>,
    backends: Vec<Arc<dyn ReleaseBackend>>,
    sinks: Vec<Arc<dyn AlertSink>>,
    instance: Option<String>,
    clock: Clock,
}

/// Why a [`Plimsoll`] did not start.
///
/// Its `Debug` is its `Display` with the causes: that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Pruners and alert sinks run on a Tokio runtime, and there is none here.
    #[error("no tokio runtime here; call start inside #[tokio::main] or after Runtime::enter")]
    NoRuntime,
    /// The Tokio runtime has no timer.
    #[error("the tokio runtime has no timer; build it with enable_all or enable_time")]
    NoTimer,
    /// The first reading failed.
    #[error("the first memory reading failed")]
    Source(#[from] SourceError),
    /// The figure asked for is not known here.
    #[error("memory metric {metric} is not available here; available are {available}")]
    Metric {
        /// The metric asked for.
        metric: MemoryMetric,
        /// Those that could be asked for.
        available: String,
    },
    /// The thresholds cannot be used.
    #[error(transparent)]
    Thresholds(#[from] ThresholdError),
    /// The thresholds that the environment sets cannot be used.
    #[error(
        "{variables} cannot be used; accepted are MB such as 2000, a size such as 1.5GB or \
         1500MiB, or a share of the memory limit such as 70%, with warning below critical"
    )]
    EnvThresholds {
        /// The variables that are set, with their values.
        variables: String,
        /// Why not.
        source: ThresholdError,
    },
    /// A variable of the environment has a value that only shows to be of no use where it is
    /// used, such as the URL of an alert sink.
    #[error("{variable}: {message}")]
    Variable {
        /// The variable's name.
        variable: &'static str,
        /// What is wrong, with the accepted forms; secret values are not shown.
        message: String,
    },
    /// A duration is out of range.
    #[error("{name} is {given:?}; accepted are {least:?} to {most:?}")]
    Interval {
        /// Which setting.
        name: &'static str,
        /// The value given.
        given: Duration,
        /// The shortest accepted.
        least: Duration,
        /// The longest accepted.
        most: Duration,
    },
    /// The system refused a thread.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl PlimsollBuilder {
    pub(crate) fn new() -> Self {
        Self {
            env: EnvSettings::default(),
            thresholds: None,
            metric: None,
            check_interval: None,
            cleanup_cooldown: None,
            release_interval: None,
            alert_cooldown: None,
            alert_repeat_interval: None,
            pruner_deadline: DEFAULT_PRUNER_DEADLINE,
            automatic_cleanup: true,
            registry: CleanupRegistry::new(),
            heap: None,
            meter: None,
            backends: Vec::new(),
            sinks: Vec::new(),
            instance: None,
            clock: Clock::system(),
        }
    }

    /// Reads the environment; what is set in code wins over it, in whatever order.
    ///
    /// # Errors
    /// Names every variable with a bad value, the value and the accepted forms.
    pub fn env(self) -> Result<Self, EnvError> {
        Ok(self.env_settings(EnvSettings::from_process()?))
    }

    /// Takes settings read from elsewhere as if they stood in the environment.
    pub fn env_settings(mut self, settings: EnvSettings) -> Self {
        self.env = settings;
        self
    }

    /// What the environment said so far; empty unless the builder was told to read it.
    pub fn settings(&self) -> &EnvSettings {
        &self.env
    }

    /// Adds a warning that is logged at the start, beside those of the environment.
    pub fn warn_at_start(mut self, warning: impl Into<String>) -> Self {
        self.env.warnings.push(warning.into());
        self
    }

    /// Sets where warning and critical start. Default: the environment, else 2000 and 3000 MB,
    /// else 70 % and 85 % of a container limit that these would not fit.
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = Some(thresholds);
        self
    }

    /// Sets the figure held against the thresholds. Default: the environment, else the
    /// container's working set where a limit acts on it, else this process's resident set.
    pub fn metric(mut self, metric: MemoryMetric) -> Self {
        self.metric = Some(metric);
        self
    }

    /// Sets the longest gap between two readings, 10 ms to 10 min. Default: the environment,
    /// else 10 s. Near a threshold readings come sooner.
    pub fn check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = Some(interval);
        self
    }

    /// Sets how long an automatic cleanup of a level waits for the next. Default: the
    /// environment, else 30 s.
    pub fn cleanup_cooldown(mut self, cooldown: Duration) -> Self {
        self.cleanup_cooldown = Some(cooldown);
        self
    }

    /// Sets the time between proactive releases of unused pages; zero turns them off. Default:
    /// the environment, else off.
    pub fn release_interval(mut self, interval: Duration) -> Self {
        self.release_interval = Some(interval);
        self
    }

    /// Sets the least time between two notifications of one alert. Default: the environment,
    /// else 30 s.
    pub fn alert_cooldown(mut self, cooldown: Duration) -> Self {
        self.alert_cooldown = Some(cooldown);
        self
    }

    /// Sets after how long a firing alert is told again. Default: the environment, else 10 min.
    pub fn alert_repeat_interval(mut self, interval: Duration) -> Self {
        self.alert_repeat_interval = Some(interval);
        self
    }

    /// Sets the time that one pruner's pass may take. Default: 5 s.
    pub fn pruner_deadline(mut self, deadline: Duration) -> Self {
        self.pruner_deadline = deadline;
        self
    }

    /// Turns automatic cleanup, and release under load, off or on. Default: on.
    pub fn automatic_cleanup(mut self, automatic: bool) -> Self {
        self.automatic_cleanup = automatic;
        self
    }

    /// Sets the registry whose pruners are run. Default: an empty one, reachable by
    /// [`Plimsoll::registry`].
    pub fn registry(mut self, registry: CleanupRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// Sets who tells the allocator's figures. Default: nobody, so they are not known.
    pub fn heap_source(mut self, heap: Arc<dyn HeapSource>) -> Self {
        self.heap = Some(heap);
        self
    }

    /// As [`PlimsollBuilder::heap_source`], unless one was set.
    pub fn default_heap_source(mut self, heap: Arc<dyn HeapSource>) -> Self {
        self.heap.get_or_insert(heap);
        self
    }

    /// Sets who tells what a request allocates. Default: nobody, so it is not known.
    pub fn allocation_meter(mut self, meter: Arc<dyn AllocationMeter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// As [`PlimsollBuilder::allocation_meter`], unless one was set.
    pub fn default_allocation_meter(mut self, meter: Arc<dyn AllocationMeter>) -> Self {
        self.meter.get_or_insert(meter);
        self
    }

    /// Adds an allocator that gives pages back; a process can have two, such as jemalloc and
    /// the C library's.
    pub fn release_backend(mut self, backend: Arc<dyn ReleaseBackend>) -> Self {
        self.backends.push(backend);
        self
    }

    /// Adds a sink for alerts, beside the log.
    pub fn alert_sink(mut self, sink: impl AlertSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Sets the name that tells this process from others. Default: the program's name and a
    /// random number.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets the clock that decisions are made by. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Takes a first reading of `source` and starts the sampler, the worker, and for the source's
    /// kernel events, if it has any, a third thread.
    ///
    /// The facade's `start` calls this with the source and the allocator of the system. The
    /// threads run until [`Plimsoll::shutdown`] or until the last handle is dropped.
    ///
    /// # Errors
    /// Without a Tokio runtime, when the first reading fails or lacks the metric asked for, and
    /// for settings out of range. Nothing runs then.
    pub fn start_with(self, source: impl MemorySource) -> Result<Plimsoll, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        // There is no other way to ask: a runtime without a timer panics at the first timeout.
        std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)))
            .map_err(|_| StartError::NoTimer)?;
        let check_interval =
            self.check_interval.or(self.env.check_interval).unwrap_or(DEFAULT_CHECK_INTERVAL);
        let (least, most) = (*CHECK_INTERVAL_RANGE.start(), *CHECK_INTERVAL_RANGE.end());
        if !CHECK_INTERVAL_RANGE.contains(&check_interval) {
            let name = "the check interval";
            return Err(StartError::Interval { name, given: check_interval, least, most });
        }
        let metric = self.metric.or(self.env.metric);
        let mut reader = Reader::new(Box::new(source), self.heap.clone(), metric);
        let first = reader.read(&self.clock, true)?;
        require_metric(metric, &first)?;
        let explicit = self.explicit_thresholds(first.limit_bytes)?;
        let evaluator =
            Evaluator::new(metric, explicit, first.limit_bytes, check_interval, DEFAULT_DWELL)?;
        for warning in &self.env.warnings {
            tracing::warn!("{warning}");
        }
        let shared = self.assemble(runtime, evaluator, check_interval, reader.describe());
        // It has the decision figure: that was asked for above.
        let decided = shared.take_reading(first, 0);
        let wait = decided.map_or(check_interval, |evaluation| evaluation.period);
        shared.sampler.is_due(shared.clock.now() + wait);
        start_threads(shared, reader)
    }

    /// Code wins over the environment, side by side; `None` when neither says anything.
    fn explicit_thresholds(
        &self,
        limit: Option<u64>,
    ) -> Result<Option<(Thresholds, ThresholdOrigin)>, StartError> {
        if let Some(thresholds) = self.thresholds {
            return Ok(Some((thresholds, ThresholdOrigin::Api)));
        }
        let (warning, critical) = (self.env.warning, self.env.critical);
        if warning.is_none() && critical.is_none() {
            return Ok(None);
        }
        let merged = Thresholds::defaults_for(limit).merged(warning, critical);
        // Resolved here too, so that a share without a limit is blamed on its variable.
        match merged.and_then(|merged| merged.resolve(limit).map(|_| merged)) {
            Ok(merged) => Ok(Some((merged, ThresholdOrigin::Env))),
            Err(source) => {
                let named = [
                    ("MEMORY_WARNING_THRESHOLD", warning),
                    ("MEMORY_CRITICAL_THRESHOLD", critical),
                ];
                let named = named
                    .iter()
                    .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
                let variables = named.collect::<Vec<_>>().join(" with ");
                Err(StartError::EnvThresholds { variables, source })
            }
        }
    }

    fn assemble(
        self,
        runtime: Handle,
        evaluator: Evaluator,
        check_interval: Duration,
        source: String,
    ) -> Arc<Shared> {
        let env = &self.env;
        let instance = self.instance.unwrap_or_else(default_instance);
        let releaser = Arc::new(Releaser::new(self.backends));
        let engine = CleanupEngine::new(EngineParts {
            registry: self.registry.clone(),
            releaser: Arc::clone(&releaser),
            clock: self.clock.clone(),
            runtime: runtime.clone(),
            instance: instance.clone(),
            pruner_deadline: self.pruner_deadline,
            cooldown: self
                .cleanup_cooldown
                .or(env.cleanup_cooldown)
                .unwrap_or(DEFAULT_CLEANUP_COOLDOWN),
        });
        let alerts = AlertConfig {
            cooldown: self.alert_cooldown.or(env.alert_cooldown).unwrap_or(DEFAULT_ALERT_COOLDOWN),
            repeat_interval: self
                .alert_repeat_interval
                .or(env.alert_repeat_interval)
                .unwrap_or(DEFAULT_ALERT_REPEAT_INTERVAL),
            instance: instance.clone(),
            ..AlertConfig::default()
        };
        let alerts = AlertDesk::new(alerts, self.sinks, &runtime, &self.clock);
        Arc::new(Shared {
            // Kept for the life of the process: see `Admission`.
            ledger: Box::leak(Box::new(Ledger::new(self.clock.clone(), self.meter))),
            clock: self.clock,
            sampler: SamplerGate::default(),
            kernel_events: EventsGate::default(),
            releaser,
            registry: self.registry,
            engine: Arc::new(engine),
            history: History::new(),
            events: Events::new(),
            alerts,
            instance,
            source,
            check_interval,
            release_interval: self
                .release_interval
                .or(env.release_interval)
                .filter(|interval| !interval.is_zero()),
            automatic_cleanup: self.automatic_cleanup,
            settings: self.env,
            guard_mode: std::sync::atomic::AtomicU8::new(0),
            sockets: SocketSlot::default(),
            upkeep: Mutex::default(),
            retention: OnceLock::new(),
            worker: OnceLock::new(),
            totals: Mutex::default(),
            evaluator: Mutex::new(evaluator),
            latest: Mutex::new(Latest::default()),
            leak: Mutex::default(),
            cancelling: Mutex::default(),
        })
    }
}

impl std::fmt::Debug for PlimsollBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlimsollBuilder")
            .field("thresholds", &self.thresholds)
            .field("metric", &self.metric)
            .field("check_interval", &self.check_interval)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

fn require_metric(metric: Option<MemoryMetric>, reading: &MemoryReading) -> Result<(), StartError> {
    let wanted = decision_metric(metric, reading);
    if reading.figure(wanted).is_some() {
        return Ok(());
    }
    let all = [MemoryMetric::WorkingSet, MemoryMetric::Rss, MemoryMetric::HeapUsed];
    let available: Vec<_> = all
        .into_iter()
        .filter(|metric| reading.figure(*metric).is_some())
        .map(MemoryMetric::as_str)
        .collect();
    let available = if available.is_empty() { "none".to_owned() } else { available.join(", ") };
    Err(StartError::Metric { metric: wanted, available })
}

/// Samples older than 15 minutes are worth less than the memory they hold.
struct HistoryPruner(std::sync::Weak<Shared>);

impl Pruner for HistoryPruner {
    async fn prune(&self, _: PruneRequest) -> Result<Pruned, PruneError> {
        let removed = self.0.upgrade().map_or(0, |shared| shared.history.compact());
        // The ring keeps its storage, so nothing is freed to the process.
        Ok(Pruned::entries(removed as u64).bytes(0))
    }

    fn least_level(&self) -> CleanupLevel {
        CleanupLevel::Aggressive
    }

    fn holding(&self) -> Holding {
        let shared = self.0.upgrade();
        Holding::new(
            shared.as_ref().map(|shared| shared.history.len() as u64),
            shared.as_ref().map(|shared| shared.history.bytes()),
        )
    }

    fn preview(&self, _: PruneRequest) -> Option<Pruned> {
        let shared = self.0.upgrade()?;
        Some(Pruned::entries(shared.history.compactable() as u64).bytes(0))
    }
}

fn start_threads(shared: Arc<Shared>, mut reader: Reader) -> Result<Plimsoll, StartError> {
    let events = reader.events();
    let history = HistoryPruner(Arc::downgrade(&shared));
    let registration = shared.registry.register("monitoring_history", history);
    let sampling = Arc::clone(&shared);
    let (sampler_done, sampler_ended) = oneshot::channel();
    let sampler = std::thread::Builder::new()
        .name("plimsoll-sampler".to_owned())
        .spawn(move || {
            sampler::run(&sampling, reader);
            let _ = sampler_done.send(());
        })
        .map_err(StartError::Thread)?;
    shared.ledger.wakes(sampler.thread().clone());
    shared.sampler.attach(sampler.thread().clone());
    let working = Arc::clone(&shared);
    let (worker_done, worker_ended) = oneshot::channel();
    let worker = std::thread::Builder::new().name("plimsoll-worker".to_owned()).spawn(move || {
        worker::run(&working);
        let _ = worker_done.send(());
    });
    let worker = worker.map_err(|error| {
        shared.sampler.stop();
        StartError::Thread(error)
    })?;
    let _ = shared.worker.set(worker.thread().clone());
    worker.thread().unpark();
    let mut ended = vec![sampler_ended, worker_ended];
    if let Some(events) = events {
        ended.extend(kernel_events::start(&shared, events));
    }
    Ok(Plimsoll::running(shared, registration, ended))
}

/// The program's name and a random number: a restart is another instance.
fn default_instance() -> String {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(|path| path.file_stem()).and_then(|s| s.to_str());
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{:08x}", program.unwrap_or("server"), random & 0xffff_ffff)
}
