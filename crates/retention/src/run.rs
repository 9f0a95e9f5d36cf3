//! One rule from its cutoff to its last batch.

use std::{fmt, time::Duration};

use plimsoll_core::{Admission, Clock, PressureLevel, RetentionOutcome, RetentionRun};
use tokio::sync::watch;

use crate::{
    brakes::{Brakes, Matching},
    database::{Batch, BatchError, Database},
    pace::{Pace, Progress, pause},
    plan::{Cutoff, Plan},
    state::{Backlog, State, millis},
};

/// Batches in a row that may find the database busy.
const MOST_BUSY: u32 = 5;
pub(crate) const CRITICAL: &str = "memory is critical: deleting rows would need more of it";

/// What a run works with.
pub(crate) struct Surroundings {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) admission: Admission,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) state: State,
    pub(crate) brakes: Brakes,
}

/// A rule's run under way.
pub(crate) struct RuleRun<'a> {
    around: &'a Surroundings,
    plan: &'a Plan,
    at: usize,
    began: Duration,
    tally: RetentionRun,
    position: Option<String>,
    /// Whether it goes on where an earlier run had come to, and so leaves what lies before.
    resumed: bool,
    busy: u32,
}

/// How the batches ended.
struct End {
    outcome: RetentionOutcome,
    more: bool,
    detail: Option<String>,
}

impl Surroundings {
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn is_critical(&self) -> bool {
        self.admission.level() == PressureLevel::Critical
    }

    /// Waits, but not beyond a stop.
    pub(crate) async fn wait(&self, span: Duration) {
        let mut stop = self.stop.subscribe();
        // Whichever comes first; the sender is ours, so it is not gone.
        let _ = tokio::time::timeout(span, stop.wait_for(|stopped| *stopped)).await;
    }
}

impl<'a> RuleRun<'a> {
    pub(crate) fn new(around: &'a Surroundings, plan: &'a Plan, at: usize) -> Self {
        let mut tally = RetentionRun::default();
        tally.rule.clone_from(&plan.name);
        let began = around.clock.now();
        Self { around, plan, at, began, tally, position: None, resumed: false, busy: 0 }
    }

    /// Deletes what the rule matches, as far as brakes and circumstances allow.
    pub(crate) async fn go(mut self, progress: &mut Progress) -> RetentionRun {
        self.position = progress.position.take();
        self.resumed = self.position.is_some();
        let (end, backlog) = match self.halted() {
            Some(end) => (end, Backlog::Unchanged),
            None => match self.begin().await {
                Ok((cutoff, matching)) => {
                    let end = match self.refused(&matching, cutoff).await {
                        Ok(None) => self.batches(cutoff, &mut progress.pace).await,
                        Ok(Some(refusal)) => refusal,
                        Err(error) => failed(&error),
                    };
                    let backlog = self.backlog(&end, &matching, cutoff).await;
                    (end, backlog)
                }
                Err(end) => (end, Backlog::Unchanged),
            },
        };
        if end.outcome == RetentionOutcome::Ok && end.more {
            progress.position = self.position.take();
        }
        if self.tally.deleted > 0 {
            self.around.database.after_deleting(&self.around.clock).await;
        }
        let more = match backlog {
            Backlog::Counted { rows, .. } => rows > 0,
            _ => end.more,
        };
        self.finish(End { more, ..end }, backlog)
    }

    /// Counts, names some keys, and writes nothing.
    pub(crate) async fn preview(mut self) -> RetentionRun {
        let end = match self.count_all().await {
            Ok(end) => end,
            Err(error) => failed(&error),
        };
        self.close(end)
    }

    async fn count_all(&mut self) -> Result<End, sqlx::Error> {
        let Some(cutoff) = self.cutoff().await? else { return Ok(clockless()) };
        let matching = Matching::all(&self.around.database, self.plan, cutoff).await?;
        self.tally.selected = matching.rows;
        self.tally.sample_keys =
            self.around.brakes.sample(&self.around.database, self.plan, cutoff).await?;
        if let Some(refusal) = self.refused(&matching, cutoff).await? {
            return Ok(refusal);
        }
        let detail = Some(format!("older than {}", Span(self.plan.older_than)));
        Ok(End { outcome: RetentionOutcome::Ok, more: matching.rows > 0, detail })
    }

    async fn begin(&mut self) -> Result<(Cutoff, Matching), End> {
        let counted = async {
            let Some(cutoff) = self.cutoff().await? else { return Ok(None) };
            let matching = Matching::capped(&self.around.database, self.plan, cutoff).await?;
            Ok(Some((cutoff, matching)))
        };
        match counted.await {
            Ok(Some(begun)) => Ok(begun),
            Ok(None) => Err(clockless()),
            Err(error) => Err(failed::<sqlx::Error>(&error)),
        }
    }

    /// `None` when the database's clock is of no use.
    async fn cutoff(&mut self) -> Result<Option<Cutoff>, sqlx::Error> {
        let now = self.around.database.now().await?;
        let cutoff = Cutoff::before(now, self.plan.older_than);
        if let Some(cutoff) = cutoff {
            self.tally.cutoff = cutoff.rfc3339();
        }
        Ok(cutoff)
    }

    async fn refused(
        &self,
        matching: &Matching,
        cutoff: Cutoff,
    ) -> Result<Option<End>, sqlx::Error> {
        let Surroundings { brakes, database, .. } = self.around;
        let refusal = brakes.refuse(database, self.plan, matching, cutoff).await?;
        Ok(refusal.map(|detail| End {
            outcome: RetentionOutcome::Refused,
            more: true,
            detail: Some(detail),
        }))
    }

    async fn batches(&mut self, cutoff: Cutoff, pace: &mut Pace) -> End {
        loop {
            if let Some(end) = self.halted() {
                return end;
            }
            let spent = self.around.clock.now().saturating_sub(self.began);
            let Some(left) = self.around.brakes.left(self.tally.selected, spent) else {
                return End { outcome: RetentionOutcome::Ok, more: true, detail: None };
            };
            let rows = pace.rows(self.around.admission.level()).min(left);
            let started = self.around.clock.now();
            let from = self.position.as_deref();
            let result = self.around.database.batch(self.plan, cutoff, from, rows).await;
            let took = self.around.clock.now().saturating_sub(started);
            self.tally.longest_batch = self.tally.longest_batch.max(took);
            match result {
                Ok(None) => return elsewhere(),
                Ok(Some(batch)) => {
                    self.busy = 0;
                    let was_last = batch.selected < u64::from(rows);
                    self.note(batch);
                    if was_last {
                        return End { outcome: RetentionOutcome::Ok, more: false, detail: None };
                    }
                    pace.learn(rows, took);
                }
                Err(error @ BatchError::Busy(_)) => {
                    pace.back_off();
                    self.busy += 1;
                    tracing::debug!(rule = %self.plan.name, error = %Chain(&error), "batch gave way");
                    if self.busy >= MOST_BUSY {
                        return failed(&error);
                    }
                }
                Err(error) => return failed(&error),
            }
            let least = self.around.brakes.pause;
            self.around.wait(pause(took, least, fastrand::f64())).await;
        }
    }

    /// Why no batch may begin now.
    fn halted(&self) -> Option<End> {
        let (outcome, detail) = if self.around.is_stopped() {
            (RetentionOutcome::Stopped, "shutting down")
        } else if self.around.is_critical() {
            (RetentionOutcome::Paused, CRITICAL)
        } else {
            return None;
        };
        Some(End { outcome, more: true, detail: Some(detail.to_owned()) })
    }

    fn note(&mut self, batch: Batch) {
        self.around.state.batch(self.at, &batch);
        self.tally.batches += u64::from(batch.selected > 0);
        self.tally.selected += batch.selected;
        self.tally.deleted += batch.deleted;
        self.tally.reprieved += batch.selected.saturating_sub(batch.deleted);
        self.position = batch.position.or(self.position.take());
    }

    async fn backlog(&self, end: &End, matching: &Matching, cutoff: Cutoff) -> Backlog {
        match end.outcome {
            RetentionOutcome::Elsewhere => Backlog::Unknown,
            RetentionOutcome::Ok if !end.more && !self.resumed => {
                Backlog::Counted { rows: 0, capped: false }
            }
            // What was counted at first is known to be too little: count again.
            RetentionOutcome::Ok if matching.capped => {
                match Matching::capped(&self.around.database, self.plan, cutoff).await {
                    Ok(left) => Backlog::Counted { rows: left.rows, capped: left.capped },
                    Err(_) => Backlog::Unchanged,
                }
            }
            _ => Backlog::Counted {
                rows: matching.rows.saturating_sub(self.tally.selected),
                capped: matching.capped,
            },
        }
    }

    fn finish(self, end: End, backlog: Backlog) -> RetentionRun {
        let (around, at) = (self.around, self.at);
        let run = self.close(end);
        around.state.rule_ended(at, &run, backlog, around.clock.wall());
        let (rule, detail) = (run.rule.as_str(), run.detail.as_deref().unwrap_or(""));
        match run.outcome {
            RetentionOutcome::Failed | RetentionOutcome::Refused => {
                tracing::warn!(rule, deleted = run.deleted, detail, "database rule did not run");
            }
            outcome => tracing::info!(
                rule,
                outcome = outcome.as_str(),
                selected = run.selected,
                deleted = run.deleted,
                reprieved = run.reprieved,
                batches = run.batches,
                duration_ms = run.duration_ms,
                detail,
                "database rule ran"
            ),
        }
        run
    }

    fn close(self, end: End) -> RetentionRun {
        let mut run = self.tally;
        run.duration_ms = millis(self.around.clock.now().saturating_sub(self.began));
        (run.outcome, run.more, run.detail) = (end.outcome, end.more, end.detail);
        run
    }
}

fn elsewhere() -> End {
    let detail = Some("another instance is working on this rule".to_owned());
    End { outcome: RetentionOutcome::Elsewhere, more: true, detail }
}

fn clockless() -> End {
    let detail = Some("the database's clock is before 1970".to_owned());
    End { outcome: RetentionOutcome::Failed, more: true, detail }
}

fn failed<E: std::error::Error + 'static>(error: &E) -> End {
    let detail = Some(Chain(error).to_string());
    End { outcome: RetentionOutcome::Failed, more: true, detail }
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors say what their cause says.
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// A span in the largest unit that it is a whole number of.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        // Days from three on: people say 24 and 48 hours.
        match seconds {
            s if s.is_multiple_of(86_400) && s >= 3 * 86_400 => write!(f, "{}d", s / 86_400),
            s if s.is_multiple_of(3_600) => write!(f, "{}h", s / 3_600),
            s if s.is_multiple_of(60) => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        for (seconds, text) in
            [(7_200, "2h"), (86_400, "24h"), (259_200, "3d"), (90, "90s"), (5_400, "90m")]
        {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
