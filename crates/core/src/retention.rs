//! What database rules tell, and how whoever runs them is attached.
//!
//! Nothing here deletes rows, and no cleanup of memory runs these rules: deleting rows needs
//! memory before it gives any back. They run by their own schedule or because somebody asked.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Runs database rules; attached by
/// [`Plimsoll::attach_retention`](crate::Plimsoll::attach_retention).
pub trait RetentionRunner: Send + Sync + 'static {
    /// What the report shows. Must be cheap: it reads no database.
    fn report(&self) -> RetentionReport;

    /// Runs every rule once and tells what each did, in their order. A dry run counts and
    /// changes nothing.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the run to go on by itself, and never half a batch.
    fn run(
        self: Arc<Self>,
        dry_run: bool,
    ) -> Pin<Box<dyn Future<Output = Vec<RetentionRun>> + Send>>;

    /// Asks a run to end after its batch and the schedule to end; must not block.
    fn stop(&self);

    /// Waits until nothing runs any more after [`RetentionRunner::stop`].
    fn stopped(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The database rules of this process; `retention` in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RetentionReport {
    /// The kind of database: `sqlite` or `postgres`.
    pub database: String,
    /// Whether the rules are being run.
    pub running: bool,
    /// Why the schedule waits, in words; `None` while it does not.
    pub paused: Option<String>,
    /// Time from one scheduled run to the next, in milliseconds.
    pub interval_ms: u64,
    /// When the last run began, in milliseconds since 1970.
    pub last_run: Option<u64>,
    /// When the next run is due, in milliseconds since 1970; `None` without a schedule.
    pub next_run: Option<u64>,
    /// The rules in the order in which they run.
    pub rules: Vec<RetentionRuleFigures>,
}

/// One rule since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RetentionRuleFigures {
    /// The rule's name.
    pub rule: String,
    /// Rows older than this are deleted, in seconds.
    pub older_than_seconds: u64,
    /// Rows that matched and were left when it last ran; `None` before it was counted.
    pub backlog: Option<u64>,
    /// Whether counting stopped at `backlog`, so that there may be more.
    pub backlog_capped: bool,
    /// When it last ran without a failure, in milliseconds since 1970.
    pub last_success: Option<u64>,
    /// Rows deleted.
    pub deleted_total: u64,
    /// Rows that had stopped matching when their turn came, and stayed.
    pub reprieved_total: u64,
    /// Its last run.
    pub last: Option<RetentionRun>,
}

/// What one rule did in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RetentionRun {
    /// The rule's name.
    pub rule: String,
    /// Rows before this moment are old, RFC 3339 by the database's clock; empty when the
    /// database could not be asked.
    pub cutoff: String,
    /// Rows that matched when they were looked for; in a dry run all that match.
    pub selected: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows that had stopped matching when their turn came, and stayed.
    pub reprieved: u64,
    /// Transactions that deleted.
    pub batches: u64,
    /// How long it took, in milliseconds, pauses included.
    pub duration_ms: u64,
    /// Whether rows that match are left.
    pub more: bool,
    /// How it ended.
    pub outcome: RetentionOutcome,
    /// A word for people; the reason when it did not run to its end.
    pub detail: Option<String>,
    /// Keys of some rows that match, in a dry run.
    #[serde(default)]
    pub sample_keys: Vec<String>,
    /// The longest that a transaction took, from beginning to commit. Not on the wire.
    #[serde(skip)]
    pub longest_batch: Duration,
}

/// How a rule's run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RetentionOutcome {
    /// It ran to its end or to its limit.
    #[default]
    Ok,
    /// Another instance is running this rule.
    #[serde(rename = "skipped:elsewhere")]
    Elsewhere,
    /// A shutdown ended it between two batches.
    Stopped,
    /// Memory is critical, so it waits.
    Paused,
    /// The database answered with an error. What was committed before stays.
    Failed,
    /// It would have deleted most of its table.
    Refused,
}

impl RetentionOutcome {
    /// The word on the wire, such as `skipped:elsewhere`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Elsewhere => "skipped:elsewhere",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

impl RetentionReport {
    /// Rules that have rows to delete and have not succeeded for more than three intervals, with
    /// their backlog. `since` is when the process started, `now` the present, both since 1970.
    pub(crate) fn stalled(&self, since: Duration, now: Duration) -> Vec<(&str, u64)> {
        let patience = self.interval_ms.saturating_mul(STALLED_INTERVALS);
        let (since, now) =
            (crate::clock::saturating_millis(since), crate::clock::saturating_millis(now));
        let is_late = |rule: &RetentionRuleFigures| {
            now.saturating_sub(rule.last_success.unwrap_or(since)) > patience
        };
        let late = self.rules.iter().filter(|rule| is_late(rule));
        late.filter_map(|rule| {
            // A rule that never got to count may have any number of rows waiting.
            let failing =
                rule.last.as_ref().is_some_and(|run| run.outcome == RetentionOutcome::Failed);
            match rule.backlog {
                Some(0) => None,
                Some(rows) => Some((rule.rule.as_str(), rows)),
                None => failing.then_some((rule.rule.as_str(), 0)),
            }
        })
        .collect()
    }
}

/// Intervals without a success after which a backlog counts as stalled.
const STALLED_INTERVALS: u64 = 3;

/// A second runner was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("database rules are attached already; give one runner all rules of a process")]
pub struct RetentionAttached;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(backlog: Option<u64>, last_success: Option<u64>, failed: bool) -> RetentionReport {
        let outcome = if failed { RetentionOutcome::Failed } else { RetentionOutcome::Ok };
        let last = Some(RetentionRun { outcome, ..RetentionRun::default() });
        let rule = RetentionRuleFigures {
            rule: "r".to_owned(),
            backlog,
            last_success,
            last,
            ..RetentionRuleFigures::default()
        };
        RetentionReport { interval_ms: 1_000, rules: vec![rule], ..RetentionReport::default() }
    }

    #[test]
    fn a_rule_is_stalled_after_three_intervals_with_rows_waiting() {
        let s = Duration::from_secs;
        // Backlog, last success in ms, failed, now in s (started at 10 s) -> stalled rows.
        for (backlog, success, failed, now, rows) in [
            (Some(5), Some(20_000), false, 23, None),
            (Some(5), Some(20_000), false, 24, Some(5)),
            (Some(0), Some(20_000), false, 99, None),
            (Some(5), None, true, 13, None),
            (Some(5), None, true, 14, Some(5)),
            // Never counted: stalled only if that is because it fails.
            (None, None, true, 14, Some(0)),
            (None, None, false, 99, None),
        ] {
            let report = report(backlog, success, failed);
            let stalled = report.stalled(s(10), s(now));
            let expected: Vec<_> = rows.map(|rows| ("r", rows)).into_iter().collect();
            assert_eq!(stalled, expected, "{backlog:?} {success:?} {failed} {now}");
        }
    }

    #[test]
    fn outcomes_have_one_word_each() {
        for outcome in [
            RetentionOutcome::Ok,
            RetentionOutcome::Elsewhere,
            RetentionOutcome::Stopped,
            RetentionOutcome::Paused,
            RetentionOutcome::Failed,
            RetentionOutcome::Refused,
        ] {
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("\"{}\"", outcome.as_str()));
        }
    }
}
