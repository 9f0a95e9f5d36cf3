//! `report`: the state now, and the newest cleanups.

use serde_json::Value;

use super::fetch_report;
use crate::{
    args::ReportArgs,
    client::Client,
    exit::Exit,
    failure::Failure,
    output::Output,
    render,
    wire::{Record, Report},
};

/// Where cleanups older than the report's stand; a day is more than the server keeps by default.
const HISTORY: &str = "/api/monitoring/history?minutes=1440";

/// Cleanups in the report itself.
const IN_REPORT: usize = 5;

/// Runs `report`.
pub(super) fn run(
    client: &Client,
    options: &ReportArgs,
    verbose: u8,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let (reply, _, mut report) = fetch_report(client)?;
    let limit = usize::from(options.history);
    let older = if limit > IN_REPORT && !options.check { older(client, output)? } else { None };
    if output.json {
        match older {
            Some(older) => output.document(&with_history(&reply.document, older, limit))?,
            None => output.document(&reply.document)?,
        }
    } else if options.check {
        output.data(&render::check(&output.look, &report))?;
    } else {
        if let Some(older) = older {
            adopt(&mut report, older);
        }
        let mut text = render::report(&output.look, &report, limit);
        if verbose > 0 {
            text.push_str(&render::details(&output.look, &report));
        }
        output.data(&text)?;
    }
    Ok(if options.check { Exit::of_status(&report.status()) } else { Exit::Done })
}

/// The longer list of cleanups, newest first; `None` if the server has none to give.
fn older(client: &Client, output: &Output) -> Result<Option<Vec<Value>>, Failure> {
    let reply = match client.get(HISTORY) {
        Ok(reply) => reply,
        // The report was answered, so it is shown; the reader learns what it lacks.
        Err(failure) => {
            let failure = output.look.foreign(&failure.to_string());
            output.talk(&format!("note: only the report's own cleanups are shown: {failure}"));
            return Ok(None);
        }
    };
    let data = reply.read::<Value>()?.data.unwrap_or_default();
    let list = ["cleanups", "cleanupHistory"].into_iter().find_map(|name| data[name].as_array());
    Ok(list.map(|list| {
        let mut list = list.clone();
        list.sort_by_key(|record| std::cmp::Reverse(record["timestamp"].as_i64()));
        list
    }))
}

fn adopt(report: &mut Report, older: Vec<Value>) {
    let older: Vec<Record> =
        older.into_iter().filter_map(|record| serde_json::from_value(record).ok()).collect();
    if older.len() > report.cleanup_history.len() {
        report.cleanup_history = older;
    }
}

/// The report's document with the longer list in the place of its own.
fn with_history(document: &str, mut older: Vec<Value>, limit: usize) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(document) else {
        return document.to_owned();
    };
    older.truncate(limit);
    match value.pointer_mut("/data/cleanupHistory") {
        Some(Value::Array(own)) if own.len() < older.len() => {
            *own = older;
            value.to_string()
        }
        _ => document.to_owned(),
    }
}
