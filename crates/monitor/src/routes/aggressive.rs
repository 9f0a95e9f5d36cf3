//! `/api/cleanup/aggressive`: database rules, then the aggressive cleanup.

use http::request::Parts;
use plimsoll_core::{CleanupLevel, CleanupRecord, Plimsoll, PressureLevel};
use serde::Serialize;
use serde_json::Value;

use super::memory;
use crate::{
    post, query,
    reply::{self, Reply},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    dry_run: bool,
    database: Database,
    memory: Memory<'a>,
}

/// What the database rules did, in the order they ran; empty while none are registered.
#[derive(Serialize)]
struct Database {
    rules: Vec<Value>,
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
    let rules = rules(plimsoll);
    let trigger = memory::trigger(&head.headers);
    let record = memory::run(plimsoll, CleanupLevel::Aggressive, trigger, dry_run).await?;
    let done = Done {
        dry_run,
        database: Database { rules },
        memory: Memory { cleanup: &record, status: plimsoll.level() },
    };
    reply::done(plimsoll, &record.message(), &done)
}

/// Those that the report names.
fn rules(plimsoll: &Plimsoll) -> Vec<Value> {
    match plimsoll.report().retention {
        Some(Value::Object(mut retention)) => match retention.remove("rules") {
            Some(Value::Array(rules)) => rules,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
