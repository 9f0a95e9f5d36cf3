//! `/api/cleanup/aggressive`: database rules, then the aggressive cleanup.

use http::{StatusCode, request::Parts};
use plimsoll_core::{
    CleanupLevel, CleanupRecord, Plimsoll, PressureLevel, RetentionOutcome, RetentionRun,
};
use serde::Serialize;

use super::memory;
use crate::{
    post,
    problem::Problem,
    query,
    reply::{self, Reply},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    dry_run: bool,
    database: Database,
    memory: Memory<'a>,
}

/// What the database rules did, in the order they ran; empty while none are attached.
#[derive(Serialize)]
struct Database {
    rules: Vec<RetentionRun>,
}

#[derive(Serialize)]
struct Memory<'a> {
    cleanup: &'a CleanupRecord,
    status: PressureLevel,
}

/// POST: cleans up, or tells what would be dropped when the query or the body asks for a dry run.
pub(crate) async fn act(plimsoll: &Plimsoll, head: &Parts, body: &[u8]) -> Reply {
    let members = post::object(body)?;
    let dry_run = query::switch(&head.uri, "dryRun")? | memory::dry_run(&members)?;
    if plimsoll.is_shutting_down() {
        return Err(memory::shutting_down());
    }
    let rules = plimsoll.run_retention(dry_run).await.unwrap_or_default();
    if !rules.is_empty() && rules.iter().all(|run| run.outcome == RetentionOutcome::Elsewhere) {
        return Err(elsewhere(Database { rules }));
    }
    let trigger = memory::trigger(&head.headers);
    let record = memory::run(plimsoll, CleanupLevel::Aggressive, trigger, dry_run).await?;
    let failed = failures(&rules);
    let done = Done {
        dry_run,
        database: Database { rules },
        memory: Memory { cleanup: &record, status: plimsoll.level() },
    };
    match failed {
        None => reply::done(plimsoll, &record.message(), &done),
        Some(detail) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "database-rules-failed",
            "Database rules failed",
            detail,
        )
        .with("report", &done)),
    }
}

/// Names the rules that failed; why is in the report, which an operator may see.
fn failures(rules: &[RetentionRun]) -> Option<String> {
    let failed: Vec<_> = rules
        .iter()
        .filter(|run| run.outcome == RetentionOutcome::Failed)
        .map(|run| run.rule.as_str())
        .collect();
    (!failed.is_empty()).then(|| {
        let all = rules.len();
        format!("{} of {all} database rules failed: {}", failed.len(), failed.join(", "))
    })
}

/// Nothing was done: memory is not cleaned either, so that a later call does both.
fn elsewhere(database: Database) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "database-rules-elsewhere",
        "Database rules run elsewhere",
        "another instance is working on every database rule; nothing was done here",
    )
    .with("database", database)
}
