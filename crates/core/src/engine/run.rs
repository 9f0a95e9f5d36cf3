//! One cleanup from start to record.

use std::{sync::Arc, time::Duration};

use super::{
    CleanupEngine, Surroundings,
    credit::{Freed, LagCredit},
};
use crate::{
    clock::saturating_millis,
    pruner::{CleanupLevel, CleanupTrigger, PruneError, PruneRequest, Pruned},
    record::{ActionOutcome, ActionResult, CleanupRecord, grown_mb},
    registry::Entry,
    release::{RELEASE_ACTION, ReleaseReport},
    units::whole_mb,
};

/// Passes of the release after pruning.
const MODERATE_PASSES: u32 = 1;
const AGGRESSIVE_PASSES: u32 = 3;
/// A release that takes longer is not waited for.
const LONGEST_RELEASE: Duration = Duration::from_secs(10);

pub(super) struct Run<S> {
    pub(super) engine: Arc<CleanupEngine>,
    pub(super) surroundings: Arc<S>,
    pub(super) id: String,
    pub(super) level: CleanupLevel,
    pub(super) trigger: CleanupTrigger,
    pub(super) dry_run: bool,
}

impl<S: Surroundings> Run<S> {
    pub(super) async fn go(&self) -> CleanupRecord {
        let clock = &self.engine.clock;
        let started = clock.now();
        let timestamp = saturating_millis(clock.wall());
        let before = self.surroundings.fresh_figure().await;
        let (results, after) =
            if self.dry_run { (self.preview(), before) } else { self.act(before).await };
        let measured = before.zip(after);
        let record = CleanupRecord {
            id: self.id.clone(),
            timestamp,
            level: self.level,
            trigger: self.trigger,
            dry_run: self.dry_run,
            freed_memory: measured.map(|(before, after)| before.saturating_sub(after)),
            before_bytes: before,
            after_bytes: after,
            duration_ms: saturating_millis(clock.now().saturating_sub(started)),
            actions: results
                .iter()
                .filter(|result| result.outcome != ActionOutcome::Skipped)
                .map(ActionResult::action_line)
                .collect(),
            results,
            detail: measured.and_then(|(before, after)| {
                let grown = grown_mb(before, after);
                (grown > 0).then(|| format!("grew {grown}MB"))
            }),
        };
        self.log(&record);
        record
    }

    /// What is free already goes first: it costs nobody anything and may be enough.
    async fn act(&self, before: Option<u64>) -> (Vec<ActionResult>, Option<u64>) {
        let passes = match self.level {
            CleanupLevel::Moderate => MODERATE_PASSES,
            CleanupLevel::Aggressive => AGGRESSIVE_PASSES,
        };
        let early = self.release(1).await;
        let usage = self.surroundings.fresh_figure().await.or(before);
        let mut target = self.target(usage);
        let mut results = Vec::new();
        for entry in self.engine.registry.plan(self.level) {
            if target == Some(0) {
                results.push(skipped(&entry.name, "enough was free already"));
                continue;
            }
            let result = self.prune(&entry, target).await;
            // Claimed bytes are credited before they show, so that none is pruned twice.
            target = target.map(|bytes| bytes.saturating_sub(result.freed_bytes.unwrap_or(0)));
            results.push(result);
        }
        let late = self.release(passes).await;
        let after = self.surroundings.fresh_figure().await;
        if let Some((before, after)) = usage.zip(after) {
            let held = |release: &Option<ReleaseReport>| release.as_ref()?.allocated;
            let heaps_fell = held(&early).zip(held(&late));
            let freed = Freed {
                claimed: results
                    .iter()
                    .filter_map(|result| result.freed_bytes)
                    .fold(0, u64::saturating_add),
                heaps_fell: heaps_fell.map(|(before, after)| before.saturating_sub(after)),
                before,
                after,
            };
            self.engine.lock().credit = LagCredit::after(freed, self.engine.clock.now());
        }
        results.push(release_result(&self.engine.releaser.backend_names(), [early, late]));
        (results, after)
    }

    /// Bytes that pruning still has to free: only an automatic cleanup has a goal, whoever asks
    /// for one gets all that the level allows.
    fn target(&self, usage: Option<u64>) -> Option<u64> {
        // Claims that did not show last time are not credited again: nobody is spared for them.
        if !self.trigger.is_automatic() || self.engine.was_futile(self.level) {
            return None;
        }
        let usage = usage?;
        // What another cleanup has just freed is on its way out.
        let lag = self.engine.lock().credit.left(usage, self.engine.clock.now());
        Some(usage.saturating_sub(self.surroundings.goal_bytes()).saturating_sub(lag))
    }

    fn request(&self, target_bytes: Option<u64>) -> PruneRequest {
        PruneRequest {
            level: self.level,
            target_bytes,
            deadline: self.engine.pruner_deadline,
            trigger: self.trigger,
        }
    }

    async fn prune(&self, entry: &Arc<Entry>, target: Option<u64>) -> ActionResult {
        let clock = &self.engine.clock;
        let started = clock.now();
        let Some(pass) = entry.prune(self.request(target)) else {
            return ActionResult {
                outcome: ActionOutcome::TimedOut,
                detail: Some("its last pass still blocks a thread".to_owned()),
                ..skipped(&entry.name, "")
            };
        };
        // A task of its own: a pass that blocks its thread holds up neither this cleanup nor,
        // on a runtime with several threads, the others.
        let mut task = self.engine.runtime.spawn(pass);
        let ended = tokio::time::timeout(self.engine.pruner_deadline, &mut task).await;
        task.abort();
        let spent = clock.now().saturating_sub(started);
        let (outcome, pruned, detail) = match ended {
            Ok(Ok(Ok(pruned))) => {
                let (outcome, believed, detail) = self.believed(pruned);
                entry.learn(&believed, spent);
                (outcome, Some(believed), detail)
            }
            Ok(Ok(Err(error))) => (ActionOutcome::Failed, None, Some(chain(&error))),
            Ok(Err(ended)) => match ended.try_into_panic() {
                Ok(panic) => (ActionOutcome::Panicked, None, Some(panic_text(&*panic))),
                Err(_) => {
                    (ActionOutcome::Failed, None, Some("its tokio runtime has ended".to_owned()))
                }
            },
            Err(_) => {
                let limit = saturating_millis(self.engine.pruner_deadline);
                (ActionOutcome::TimedOut, None, Some(format!("dropped after {limit} ms")))
            }
        };
        ActionResult {
            name: entry.name.clone(),
            removed: pruned.as_ref().map(|pruned| pruned.entries),
            freed_bytes: pruned.as_ref().and_then(|pruned| pruned.bytes),
            duration_ms: saturating_millis(spent),
            outcome,
            detail,
        }
    }

    /// A claim of more than the process holds is not passed on, nor credited.
    fn believed(&self, mut pruned: Pruned) -> (ActionOutcome, Pruned, Option<String>) {
        let most = self.surroundings.plausible_bytes().unwrap_or(u64::MAX);
        match pruned.bytes {
            Some(claimed) if claimed > most => {
                pruned.bytes = None;
                let detail = format!(
                    "claimed {}MB freed, but the process holds {}MB",
                    whole_mb(claimed),
                    whole_mb(most)
                );
                (ActionOutcome::Implausible, pruned, Some(detail))
            }
            _ => {
                let detail = pruned.detail.take();
                (ActionOutcome::Ok, pruned, detail)
            }
        }
    }

    async fn release(&self, passes: u32) -> Option<ReleaseReport> {
        let report = self.engine.releaser.ask(passes);
        self.surroundings.wake_releases();
        tokio::time::timeout(LONGEST_RELEASE, report).await.ok()?.ok()
    }

    fn preview(&self) -> Vec<ActionResult> {
        let plan = self.engine.registry.plan(self.level);
        let mut results: Vec<_> = plan
            .iter()
            .map(|entry| {
                let preview = entry.preview(self.request(None));
                ActionResult {
                    name: entry.name.clone(),
                    removed: preview.as_ref().map(|pruned| pruned.entries),
                    freed_bytes: preview.as_ref().and_then(|pruned| pruned.bytes),
                    duration_ms: 0,
                    outcome: ActionOutcome::DryRun,
                    detail: preview.is_none().then(|| "cannot tell beforehand".to_owned()),
                }
            })
            .collect();
        let backends = self.engine.releaser.backend_names();
        results.push(if backends.is_empty() {
            skipped(RELEASE_ACTION, NO_BACKEND)
        } else {
            ActionResult {
                name: RELEASE_ACTION.to_owned(),
                removed: None,
                freed_bytes: None,
                duration_ms: 0,
                outcome: ActionOutcome::DryRun,
                detail: Some(backends.join(", ")),
            }
        });
        results
    }

    fn log(&self, record: &CleanupRecord) {
        for failed in record.results.iter().filter(|result| result.outcome.is_failure()) {
            tracing::warn!(
                cleanup = %record.id,
                pruner = %failed.name,
                outcome = ?failed.outcome,
                detail = failed.detail.as_deref().unwrap_or(""),
                "cleanup action failed"
            );
        }
        tracing::info!(
            cleanup = %record.id,
            level = record.level.as_str(),
            trigger = record.trigger.as_str(),
            before_bytes = record.before_bytes,
            after_bytes = record.after_bytes,
            duration_ms = record.duration_ms,
            "{}",
            record.message()
        );
    }
}

const NO_BACKEND: &str = "no release backend for this allocator";

fn skipped(name: &str, why: &str) -> ActionResult {
    ActionResult {
        name: name.to_owned(),
        removed: None,
        freed_bytes: None,
        duration_ms: 0,
        outcome: ActionOutcome::Skipped,
        detail: Some(why.to_owned()),
    }
}

/// The release before pruning and the one after it are one action.
fn release_result(backends: &[&str], releases: [Option<ReleaseReport>; 2]) -> ActionResult {
    if backends.is_empty() {
        return skipped(RELEASE_ACTION, NO_BACKEND);
    }
    let asked = releases.len();
    let reports: Vec<_> = releases.into_iter().flatten().collect();
    let freed =
        reports.iter().map(ReleaseReport::freed).try_fold(0, |sum, freed| Some(sum + freed?));
    let answered = reports.len() == asked;
    ActionResult {
        name: RELEASE_ACTION.to_owned(),
        removed: reports.last().map(|last| u64::from(last.passes)),
        freed_bytes: if answered { freed } else { None },
        duration_ms: saturating_millis(reports.iter().map(|report| report.took).sum()),
        outcome: if answered { ActionOutcome::Ok } else { ActionOutcome::TimedOut },
        detail: Some(backends.join(", ")),
    }
}

/// An error with its causes, for people.
fn chain(error: &PruneError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panicked with something other than text".to_owned())
}
