//! What a cleanup did, as it is kept in the history and sent over the wire.

use serde::{Deserialize, Serialize};

use crate::{
    pruner::{CleanupLevel, CleanupTrigger},
    units::whole_mb,
};

/// One cleanup, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CleanupRecord {
    /// Unique among the cleanups of this process.
    pub id: String,
    /// When it started, in milliseconds since 1970.
    pub timestamp: u64,
    /// How hard it tried.
    pub level: CleanupLevel,
    /// What started it.
    pub trigger: CleanupTrigger,
    /// Whether it only said what it would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// By how much the decision figure fell, in bytes: measured, clamped at 0; `None` when no
    /// reading could be had.
    pub freed_memory: Option<u64>,
    /// The decision figure before, in bytes.
    pub before_bytes: Option<u64>,
    /// The decision figure after, in bytes.
    pub after_bytes: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// One line for each action that ran, such as `socket_events: 950 removed`.
    pub actions: Vec<String>,
    /// Every action with its outcome.
    pub results: Vec<ActionResult>,
    /// A word for people, such as `grew 12MB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One action of a cleanup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ActionResult {
    /// The pruner's name, or `release_memory`.
    pub name: String,
    /// Entries dropped, or passes of a release.
    pub removed: Option<u64>,
    /// Bytes freed: claimed by a pruner, measured for `release_memory`.
    pub freed_bytes: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub outcome: ActionOutcome,
    /// A word for people; the reason of a failure.
    pub detail: Option<String>,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ActionOutcome {
    /// It ran.
    Ok,
    /// It returned an error.
    Failed,
    /// It panicked.
    Panicked,
    /// It outlived its deadline and was dropped.
    TimedOut,
    /// It claimed more bytes than the process holds; the claim is not passed on.
    Implausible,
    /// It was not needed, or there is nothing that could do it.
    Skipped,
    /// It only said what it would do.
    DryRun,
}

impl ActionOutcome {
    /// Whether somebody should look into it.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Panicked | Self::TimedOut | Self::Implausible)
    }
}

impl ActionResult {
    /// The line in [`CleanupRecord::actions`].
    pub(crate) fn action_line(&self) -> String {
        let what = match (self.outcome, self.removed) {
            (ActionOutcome::Ok | ActionOutcome::Implausible, Some(removed))
                if self.name == crate::release::RELEASE_ACTION =>
            {
                format!("{removed} {}", if removed == 1 { "pass" } else { "passes" })
            }
            (ActionOutcome::Ok | ActionOutcome::Implausible, Some(removed)) => {
                format!("{removed} removed")
            }
            (ActionOutcome::Ok | ActionOutcome::Implausible, None) => "done".to_owned(),
            (ActionOutcome::DryRun, Some(removed)) => format!("would remove {removed}"),
            (ActionOutcome::DryRun, None) => "would run".to_owned(),
            (ActionOutcome::Failed, _) => "failed".to_owned(),
            (ActionOutcome::Panicked, _) => "panicked".to_owned(),
            (ActionOutcome::TimedOut, _) => "timed out".to_owned(),
            (ActionOutcome::Skipped, _) => "skipped".to_owned(),
        };
        format!("{}: {what}", self.name)
    }
}

/// Growth in whole MB; what rounds to nothing is not worth a word.
pub(crate) fn grown_mb(before: u64, after: u64) -> u64 {
    whole_mb(after.saturating_sub(before))
}

impl CleanupRecord {
    /// The sentence for people: `Freed 800MB (6 actions)`, with the growth if it grew.
    pub fn message(&self) -> String {
        let actions = self.actions.len();
        let plural = if actions == 1 { "action" } else { "actions" };
        if self.dry_run {
            return format!("Dry run ({actions} {plural})");
        }
        let freed = match (self.freed_memory, self.before_bytes, self.after_bytes) {
            (Some(_), Some(before), Some(after)) if grown_mb(before, after) > 0 => {
                format!("Freed 0MB (grew {}MB)", grown_mb(before, after))
            }
            (Some(freed), ..) => format!("Freed {}MB", whole_mb(freed)),
            (None, ..) => "Freed n/a".to_owned(),
        };
        format!("{freed} ({actions} {plural})")
    }

    /// Whether any action failed.
    pub fn has_failures(&self) -> bool {
        self.results.iter().any(|result| result.outcome.is_failure())
    }
}
