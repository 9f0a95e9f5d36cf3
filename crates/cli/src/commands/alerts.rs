//! `alerts`: lists them, tries the sinks, silences a rule, resolves an alert.

use serde_json::json;

use super::connect;
use crate::{
    args::{AlertsArgs, Global},
    client::Client,
    exit::Exit,
    failure::Failure,
    output::Output,
    render,
    wire::{Alerts, Tested},
};

/// The list; the other routes lie below it.
pub(super) const ROUTE: &str = "/api/monitoring/alerts";

/// Runs `alerts`.
pub(super) fn run(
    global: &Global,
    options: &AlertsArgs,
    output: &mut Output,
) -> Result<Exit, Failure> {
    // Before the server is asked, so that a slip is told whether or not it is up.
    let resolved = options.resolve.as_deref().map(resolve_route).transpose()?;
    let client = connect(global)?;
    match (&options.silence, resolved) {
        (Some(name), _) => {
            let span = options.span.unwrap_or_default().as_millis().to_string();
            let body = json!({"name": name, "for": format!("{span}ms")});
            change(&client, &format!("{ROUTE}/silence"), &body, output)
        }
        (None, Some(route)) => change(&client, &route, &json!({}), output),
        (None, None) if options.test => test(&client, output),
        (None, None) => list(&client, output),
    }
}

fn list(client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    let reply = client.get(ROUTE)?;
    let alerts = reply.read::<Alerts>()?.data.ok_or_else(|| reply.foreign())?;
    if output.json {
        output.document(&reply.document)?;
    } else {
        output.data(&render::alerts(&output.look, &alerts))?;
    }
    Ok(Exit::Done)
}

/// Each sink is tried for at most 5 s, all at once.
fn test(client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    let reply = client.work(&format!("{ROUTE}/test"), &json!({}))?;
    let tested = reply.read::<Tested>()?.data.ok_or_else(|| reply.foreign())?;
    if output.json {
        output.document(&reply.document)?;
    } else {
        output.data(&render::sinks_tested(&output.look, &tested.sinks))?;
    }
    let failed = tested.sinks.iter().filter(|sink| !sink.is_delivered()).count();
    match failed {
        0 => Ok(Exit::Done),
        failed => Err(Failure::FailedActions { failed, total: tested.sinks.len() }),
    }
}

/// Changes something, and says so in the server's words.
fn change(
    client: &Client,
    route: &str,
    body: &serde_json::Value,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let reply = client.change(route, body)?;
    if output.json {
        output.document(&reply.document)?;
    } else {
        let message = reply.read::<Alerts>()?.message.ok_or_else(|| reply.foreign())?;
        output.data(&format!("{}\n", output.look.foreign(&message)))?;
    }
    Ok(Exit::Done)
}

/// An id becomes part of a path, so it may hold nothing that means something there.
fn resolve_route(id: &str) -> Result<String, Failure> {
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if id.is_empty() || id.len() > 200 || !id.chars().all(is_id) {
        return Err(Failure::Usage {
            message: format!("`{}` is not the id of an alert", id.escape_debug()),
            help: "`plimsoll alerts` lists them; an id is made of letters, digits and dashes"
                .to_owned(),
        });
    }
    Ok(format!("{ROUTE}/{id}/resolve"))
}
