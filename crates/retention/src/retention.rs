//! The handle to running rules.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use plimsoll_core::{RetentionOutcome, RetentionReport, RetentionRun, RetentionRunner};
use tokio::{runtime::Handle, sync::Mutex};

#[cfg(feature = "postgres")]
use crate::postgres::Postgres;
#[cfg(feature = "sqlite")]
use crate::sqlite::Sqlite;
use crate::{
    builder::RetentionBuilder,
    database::Database,
    pace::Progress,
    plan::Plan,
    run::{RuleRun, Surroundings},
};

/// Rules that are attached to a [`Plimsoll`](plimsoll_core::Plimsoll). A cheap clone of a handle;
/// they run until that is shut down, whether or not a handle is kept.
#[derive(Clone)]
pub struct Retention {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) around: Surroundings,
    pub(crate) interval: Duration,
    plans: Vec<Plan>,
    warnings: Vec<String>,
    runtime: Handle,
    /// Held while rules run: one run at a time. What each rule remembers outlives it.
    progress: Mutex<Vec<Progress>>,
}

impl Retention {
    /// Begins with the rules of a SQLite database. The pool needs a connection for a batch; with
    /// `journal_mode = WAL` readers are not held up.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(pool: sqlx::SqlitePool) -> RetentionBuilder {
        RetentionBuilder::new(Database::Sqlite(Sqlite::new(pool)))
    }

    /// Begins with the rules of a PostgreSQL database. The role needs SELECT, UPDATE (to lock rows)
    /// and DELETE on the rules' tables; a pooler in transaction mode may stand between.
    #[cfg(feature = "postgres")]
    pub fn postgres(pool: sqlx::PgPool) -> RetentionBuilder {
        RetentionBuilder::new(Database::Postgres(Postgres::new(pool)))
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// What should be known of the rules although they run: cascades, missing indexes. Logged at
    /// the start too.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// What the report shows.
    pub fn report(&self) -> RetentionReport {
        self.inner.around.state.report()
    }

    /// Runs every rule now, after a run that is under way, and tells what each did.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the run.
    pub async fn run(&self) -> Vec<RetentionRun> {
        RetentionRunner::run(Arc::clone(&self.inner), false).await
    }

    /// Tells what a run would delete, and deletes nothing.
    pub async fn preview(&self) -> Vec<RetentionRun> {
        RetentionRunner::run(Arc::clone(&self.inner), true).await
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(
        around: Surroundings,
        plans: Vec<Plan>,
        warnings: Vec<String>,
        interval: Duration,
        runtime: Handle,
    ) -> Self {
        let progress = Mutex::new(vec![Progress::default(); plans.len()]);
        Self { around, interval, plans, warnings, runtime, progress }
    }

    /// Runs every rule once, in order.
    pub(crate) async fn run_all(&self) -> Vec<RetentionRun> {
        let mut progress = self.progress.lock().await;
        let _running = Running::begin(&self.around);
        let mut runs = Vec::with_capacity(self.plans.len());
        for (at, (plan, progress)) in self.plans.iter().zip(progress.iter_mut()).enumerate() {
            runs.push(RuleRun::new(&self.around, plan, at).go(progress).await);
        }
        runs
    }

    async fn preview_all(&self) -> Vec<RetentionRun> {
        let mut runs = Vec::with_capacity(self.plans.len());
        for (at, plan) in self.plans.iter().enumerate() {
            runs.push(RuleRun::new(&self.around, plan, at).preview().await);
        }
        runs
    }

    /// When the task that ran them came to nothing.
    fn interrupted(&self) -> Vec<RetentionRun> {
        let run = |plan: &Plan| {
            let mut run = RetentionRun::default();
            run.rule.clone_from(&plan.name);
            run.outcome = RetentionOutcome::Failed;
            run.detail = Some("its tokio runtime has ended, or it panicked".to_owned());
            run
        };
        self.plans.iter().map(run).collect()
    }
}

/// Says in the report that rules run, until it is dropped.
struct Running<'a>(&'a Surroundings);

impl<'a> Running<'a> {
    fn begin(around: &'a Surroundings) -> Self {
        around.state.run_begins(around.clock.wall());
        Self(around)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state.run_ended();
    }
}

/// The handle that Plimsoll holds; the runs themselves hold it too.
impl RetentionRunner for Inner {
    fn report(&self) -> RetentionReport {
        self.around.state.report()
    }

    fn run(
        self: Arc<Self>,
        dry_run: bool,
    ) -> Pin<Box<dyn Future<Output = Vec<RetentionRun>> + Send>> {
        Box::pin(async move {
            if dry_run {
                return self.preview_all().await;
            }
            // A task of its own: whoever asked may hang up.
            let inner = Arc::clone(&self);
            let run = self.runtime.spawn(async move { inner.run_all().await });
            run.await.unwrap_or_else(|_| self.interrupted())
        })
    }

    fn stop(&self) {
        self.around.stop.send_replace(true);
    }

    fn stopped(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let _ended = self.progress.lock().await;
        })
    }
}
