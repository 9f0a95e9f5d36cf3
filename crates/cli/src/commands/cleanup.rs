//! `cleanup`: gives memory back now.

use serde_json::{Map, Value, json};

use super::MEMORY;
use crate::{
    args::{CleanupArgs, Level},
    client::{Client, Reply},
    exit::Exit,
    failure::Failure,
    output::Output,
    render,
    wire::Aggressive,
};

/// Runs `cleanup`.
pub(super) fn run(
    client: &Client,
    options: &CleanupArgs,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let mut body = Map::new();
    body.insert("action".to_owned(), json!("cleanup"));
    match options.level {
        Level::Auto => None,
        Level::Moderate => Some("moderate"),
        Level::Aggressive => Some("aggressive"),
    }
    .map(|level| body.insert("level".to_owned(), json!(level)));
    if options.dry_run {
        body.insert("dryRun".to_owned(), json!(true));
    }
    let reply = client.work(MEMORY, &Value::Object(body))?;
    show(&reply, options.dry_run, output)
}

/// Prints what a cleanup did, with the database part if there is one.
pub(super) fn show(reply: &Reply, dry_run: bool, output: &mut Output) -> Result<Exit, Failure> {
    let envelope = reply.read::<Aggressive>()?;
    let done = envelope.data.unwrap_or_default();
    if output.json {
        output.document(&reply.document)?;
    } else if done.cleanup.is_none() && done.rules.is_empty() {
        // Accepted, but nothing to tell yet: the server's own words are all there is.
        let message = envelope.message.ok_or_else(|| reply.foreign())?;
        output.data(&format!("{}\n", output.look.foreign(&message)))?;
    } else {
        let mut text = render::rules(&output.look, &done.rules, dry_run);
        if let Some(record) = &done.cleanup {
            text.push_str(&render::cleanup(&output.look, record, dry_run));
        }
        output.data(&text)?;
    }
    match done.failed_of_total() {
        (0, _) => Ok(Exit::Done),
        (failed, total) => Err(Failure::FailedActions { failed, total }),
    }
}
