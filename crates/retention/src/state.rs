//! What the report tells of the rules, kept as they run.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plimsoll_core::{RetentionOutcome, RetentionReport, RetentionRuleFigures, RetentionRun};

use crate::{database::Batch, plan::Plan};

/// The report, changed in place.
#[derive(Debug)]
pub(crate) struct State(Mutex<RetentionReport>);

/// Rows that were left, as far as they were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    Unchanged,
    /// Another instance knows.
    Unknown,
    Counted {
        rows: u64,
        capped: bool,
    },
}

impl State {
    pub(crate) fn new(database: &str, interval: Duration, plans: &[Plan]) -> Self {
        let mut report = RetentionReport::default();
        report.database = database.to_owned();
        report.interval_ms = millis(interval);
        report.rules = plans
            .iter()
            .map(|plan| {
                let mut figures = RetentionRuleFigures::default();
                figures.rule.clone_from(&plan.name);
                figures.older_than_seconds = plan.older_than.as_secs();
                figures
            })
            .collect();
        Self(Mutex::new(report))
    }

    fn lock(&self) -> MutexGuard<'_, RetentionReport> {
        // Whole after each step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self) -> RetentionReport {
        self.lock().clone()
    }

    pub(crate) fn run_begins(&self, wall: Duration) {
        let mut report = self.lock();
        report.running = true;
        report.last_run = Some(millis(wall));
    }

    pub(crate) fn run_ended(&self) {
        self.lock().running = false;
    }

    pub(crate) fn next_run(&self, wall: Option<Duration>) {
        self.lock().next_run = wall.map(millis);
    }

    pub(crate) fn paused(&self, why: Option<&str>) {
        self.lock().paused = why.map(str::to_owned);
    }

    pub(crate) fn batch(&self, at: usize, batch: &Batch) {
        if let Some(rule) = self.lock().rules.get_mut(at) {
            rule.deleted_total = rule.deleted_total.saturating_add(batch.deleted);
            let reprieved = batch.selected.saturating_sub(batch.deleted);
            rule.reprieved_total = rule.reprieved_total.saturating_add(reprieved);
        }
    }

    pub(crate) fn rule_ended(
        &self,
        at: usize,
        run: &RetentionRun,
        backlog: Backlog,
        wall: Duration,
    ) {
        let mut report = self.lock();
        let Some(rule) = report.rules.get_mut(at) else { return };
        match backlog {
            Backlog::Unchanged => {}
            Backlog::Unknown => (rule.backlog, rule.backlog_capped) = (None, false),
            Backlog::Counted { rows, capped } => {
                (rule.backlog, rule.backlog_capped) = (Some(rows), capped);
            }
        }
        if run.outcome == RetentionOutcome::Ok {
            rule.last_success = Some(millis(wall));
        }
        rule.last = Some(run.clone());
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
