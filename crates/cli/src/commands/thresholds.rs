//! `thresholds`: shows the two thresholds, or changes them.

use serde_json::{Value, json};

use super::{MEMORY, connect, fetch_report};
use crate::{
    args::{Global, ThresholdsArgs},
    exit::Exit,
    failure::Failure,
    output::Output,
    render,
    threshold::Change,
    wire::ThresholdsChanged,
};

/// Runs `thresholds`.
pub(super) fn run(
    global: &Global,
    options: &ThresholdsArgs,
    output: &mut Output,
) -> Result<Exit, Failure> {
    // Before anything else, so that a slip is told whether or not the server is up.
    let change = Change::parse(&options.values)?;
    let client = connect(global)?;
    let Some(change) = change else {
        let (reply, _, report) = fetch_report(&client)?;
        if output.json {
            output.document(&thresholds_of(&reply.document))?;
        } else {
            output.data(&render::thresholds(&output.look, &report))?;
        }
        return Ok(Exit::Done);
    };
    let body = json!({"action": "updateThresholds", "thresholds": change.wire()});
    let reply = client.change(MEMORY, &body)?;
    if output.json {
        output.document(&reply.document)?;
    } else {
        let changed = reply.read::<ThresholdsChanged>()?.data.ok_or_else(|| reply.foreign())?;
        output.data(&render::thresholds_changed(&output.look, &changed))?;
    }
    Ok(Exit::Done)
}

/// The thresholds out of a report, in the shape of the answer to a change.
fn thresholds_of(document: &str) -> String {
    let report: Value = serde_json::from_str(document).unwrap_or_default();
    let data = &report["data"];
    json!({
        "success": true,
        "timestamp": report["timestamp"],
        "data": {
            "thresholds": data["thresholds"],
            "thresholdBytes": data["thresholdBytes"],
            "status": data["status"],
        },
    })
    .to_string()
}
