//! Cleanup: release → prune → release → measure, one at a time.

mod credit;
mod policy;
mod run;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

use self::{credit::LagCredit, policy::AutomaticPolicy};
use crate::{
    clock::Clock,
    level::PressureLevel,
    pruner::{CleanupLevel, CleanupTrigger},
    record::CleanupRecord,
    registry::CleanupRegistry,
    release::Releaser,
};

/// Default time for one pruner's pass.
pub const DEFAULT_PRUNER_DEADLINE: Duration = Duration::from_secs(5);

/// What the engine needs from the rest while it runs.
pub(crate) trait Surroundings: Send + Sync + 'static {
    /// Reads the decision figure afresh; `None` when that fails or takes too long.
    fn fresh_figure(&self) -> impl Future<Output = Option<u64>> + Send;
    /// Bytes the process holds at most, to judge claims by.
    fn plausible_bytes(&self) -> Option<u64>;
    /// The figure below which an automatic cleanup has done its job.
    fn goal_bytes(&self) -> u64;
    /// Wakes the thread that serves releases.
    fn wake_releases(&self);
    /// Takes the record of a finished cleanup.
    fn finished(&self, record: &CleanupRecord);
}

/// Runs cleanups one at a time.
pub(crate) struct CleanupEngine {
    registry: CleanupRegistry,
    releaser: Arc<Releaser>,
    clock: Clock,
    runtime: Handle,
    instance: String,
    pruner_deadline: Duration,
    state: Mutex<State>,
}

struct State {
    running: Option<Running>,
    policy: AutomaticPolicy,
    credit: LagCredit,
    started: u64,
    closed: bool,
}

#[derive(Clone)]
struct Running {
    id: String,
    record: watch::Receiver<Option<Arc<CleanupRecord>>>,
}

/// A cleanup that is under way; several may wait for the same one.
#[derive(Clone, Debug)]
pub struct CleanupTicket {
    id: String,
    record: watch::Receiver<Option<Arc<CleanupRecord>>>,
}

/// Why a cleanup did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CleanupError {
    /// Plimsoll was shut down.
    #[error("cleanup refused: plimsoll is shut down")]
    ShutDown,
    /// The Tokio runtime that runs pruners ended in the middle.
    #[error("cleanup {id} did not finish: its tokio runtime has ended")]
    Interrupted {
        /// The cleanup's id.
        id: String,
    },
}

impl CleanupTicket {
    /// The cleanup's id, the same for all who joined it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the end of the cleanup.
    ///
    /// # Errors
    /// [`CleanupError::Interrupted`] when the runtime ended first.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the cleanup.
    pub async fn finished(mut self) -> Result<CleanupRecord, CleanupError> {
        let record = match self.record.wait_for(Option::is_some).await {
            Ok(record) => record.as_deref().cloned(),
            Err(_) => None,
        };
        record.ok_or(CleanupError::Interrupted { id: self.id })
    }
}

/// What the engine is made of.
pub(crate) struct EngineParts {
    pub(crate) registry: CleanupRegistry,
    pub(crate) releaser: Arc<Releaser>,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    pub(crate) instance: String,
    pub(crate) pruner_deadline: Duration,
    pub(crate) cooldown: Duration,
}

impl CleanupEngine {
    pub(crate) fn new(parts: EngineParts) -> Self {
        Self {
            registry: parts.registry,
            releaser: parts.releaser,
            clock: parts.clock,
            runtime: parts.runtime,
            instance: parts.instance,
            pruner_deadline: parts.pruner_deadline,
            state: Mutex::new(State {
                running: None,
                policy: AutomaticPolicy::new(parts.cooldown),
                credit: LagCredit::default(),
                started: 0,
                closed: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the cleanup that `level` deserves, if its cooldown is over and none is running.
    pub(crate) fn consider<S: Surroundings>(
        self: &Arc<Self>,
        level: PressureLevel,
        surroundings: &Arc<S>,
    ) {
        if level == PressureLevel::Healthy {
            return;
        }
        let wanted = CleanupLevel::deserved_by(level);
        let now = self.clock.now();
        let mut state = self.lock();
        if state.closed || state.running.is_some() || !state.policy.is_due(wanted, now) {
            return;
        }
        state.policy.started(wanted, now);
        // Nobody waits for it here.
        let _ = self.start_locked(state, wanted, CleanupTrigger::Threshold, false, surroundings);
    }

    /// Whether the last automatic cleanup of this level freed next to nothing.
    fn was_futile(&self, level: CleanupLevel) -> bool {
        self.lock().policy.was_futile(level)
    }

    /// Notes a fresh rise to critical: a leak that is fast must not win by the cooldown.
    pub(crate) fn note_critical_edge(&self) {
        self.lock().policy.escalated(CleanupLevel::Aggressive);
    }

    /// Lets the next automatic cleanup come after its cooldown again, however futile the last.
    pub(crate) fn forget_futility(&self) {
        self.lock().policy.forget_futility();
    }

    /// Starts a cleanup, or joins the one that is running.
    pub(crate) fn start<S: Surroundings>(
        self: &Arc<Self>,
        level: CleanupLevel,
        trigger: CleanupTrigger,
        dry_run: bool,
        surroundings: &Arc<S>,
    ) -> Result<CleanupTicket, CleanupError> {
        let state = self.lock();
        if state.closed {
            return Err(CleanupError::ShutDown);
        }
        if let Some(Running { id, record }) = state.running.clone() {
            return Ok(CleanupTicket { id, record });
        }
        Ok(self.start_locked(state, level, trigger, dry_run, surroundings))
    }

    /// Starts a cleanup while none is running.
    fn start_locked<S: Surroundings>(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        level: CleanupLevel,
        trigger: CleanupTrigger,
        dry_run: bool,
        surroundings: &Arc<S>,
    ) -> CleanupTicket {
        state.started += 1;
        let id = format!("{}-{}", self.instance, state.started);
        let (sender, record) = watch::channel(None);
        // A dry run changes nothing, so a real cleanup does not join it.
        if !dry_run {
            state.running = Some(Running { id: id.clone(), record: record.clone() });
        }
        drop(state);
        let end = RunEnd { engine: Arc::clone(self), counts: !dry_run };
        let run = run::Run {
            engine: Arc::clone(self),
            surroundings: Arc::clone(surroundings),
            id: id.clone(),
            level,
            trigger,
            dry_run,
        };
        self.runtime.spawn(async move {
            // Dropped with the task, also when the runtime ends before its first poll.
            let end = end;
            let record = run.go().await;
            if !dry_run {
                end.engine.lock().policy.finished(&record);
                run.surroundings.finished(&record);
            }
            drop(end);
            let _ = sender.send(Some(Arc::new(record)));
        });
        CleanupTicket { id, record }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock().running.is_some()
    }

    /// Time until an automatic cleanup of this level may run again.
    pub(crate) fn cooldown_left(&self, level: CleanupLevel) -> Duration {
        self.lock().policy.left(level, self.clock.now())
    }

    /// Refuses further cleanups; the running one goes on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The running cleanup, to be waited for at shutdown.
    pub(crate) fn running(&self) -> Option<CleanupTicket> {
        let running = self.lock().running.clone();
        running.map(|Running { id, record }| CleanupTicket { id, record })
    }
}

/// Says that a run is over, however it ended.
struct RunEnd {
    engine: Arc<CleanupEngine>,
    counts: bool,
}

impl Drop for RunEnd {
    fn drop(&mut self) {
        if self.counts {
            self.engine.lock().running = None;
        }
    }
}
