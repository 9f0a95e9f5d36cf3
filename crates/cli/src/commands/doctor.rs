//! `doctor`: checks the set-up; each finding comes with its fix.

use serde_json::json;

use super::{MEMORY, alerts, fetch_report};
use crate::{
    client::Client,
    exit::Exit,
    failure::Failure,
    look::{Look, Mark},
    output::Output,
    render,
    render::{Finding, findings, outlook},
    text,
    wire::Alerts,
};

/// An action that no server knows: whether the refusal is about the scope or about the action
/// tells if a change would be allowed, and nothing is changed.
const NO_ACTION: &str = "doctor";

/// Runs `doctor`.
pub(super) fn run(client: &Client, output: &mut Output) -> Result<Exit, Failure> {
    // A server that cannot be asked is the one finding, and ends as every command does then.
    let (found, unasked) = match examine(client, &output.look) {
        Ok(found) => (found, None),
        Err(failure) => (vec![unanswered(&failure)], Some(failure.exit())),
    };
    let errors = found.iter().filter(|finding| finding.mark == Mark::Bad).count();
    let warnings = found.iter().filter(|finding| finding.mark == Mark::Fair).count();
    if output.json {
        let checks: Vec<_> = found
            .iter()
            .map(|finding| {
                let outcome = match finding.mark {
                    Mark::Good => "ok",
                    Mark::Fair => "warning",
                    Mark::Bad => "error",
                };
                json!({"name": finding.name, "outcome": outcome, "detail": finding.detail, "help": finding.help})
            })
            .collect();
        let document = json!({
            "success": errors == 0,
            "url": client.base().to_string(),
            "checks": checks,
            "errors": errors,
            "warnings": warnings,
        });
        output.document(&document.to_string())?;
    } else {
        output.data(&render::doctor(&output.look, &found))?;
        output.data(&match (errors, warnings) {
            (0, 0) => "all checks passed\n".to_owned(),
            _ => {
                format!("{}, {}\n", text::count(errors, "error"), text::count(warnings, "warning"))
            }
        })?;
    }
    let of_findings = match (errors, warnings) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Warning,
        _ => Exit::Critical,
    };
    Ok(unasked.unwrap_or(of_findings))
}

fn examine(client: &Client, look: &Look) -> Result<Vec<Finding>, Failure> {
    let (reply, envelope, report) = fetch_report(client)?;
    let mut found = vec![
        findings::server(&client.base().to_string(), &report, reply.waited),
        access(client),
        findings::memory(&report, envelope.timestamp.as_deref()),
        findings::release(&report),
    ];
    found.extend(findings::events(&report));
    found.extend(findings::guard(&report));
    found.push(findings::limit(&report));
    found.push(findings::cleanup(&report, look));
    found.extend(outlook::retention(&report, envelope.timestamp.as_deref()));
    found.push(outlook::forecast(&report));
    found.extend(sinks(client));
    Ok(found)
}

/// Who is told. `None` where the server does not tell, as one of an earlier release.
fn sinks(client: &Client) -> Option<Finding> {
    match client.get(alerts::ROUTE).and_then(|reply| reply.read::<Alerts>()) {
        Ok(envelope) => outlook::alerts(&envelope.data.unwrap_or_default()),
        Err(failure) => Some(Finding {
            mark: Mark::Fair,
            name: "alerts",
            detail: format!("n/a: {failure}"),
            help: failure
                .help()
                .or_else(|| Some("look for the reason in the server's log".to_owned())),
        }),
    }
}

/// The check that failed when there is no report: access if the server refused, else the server.
fn unanswered(failure: &Failure) -> Finding {
    let name = if failure.exit() == Exit::NotAllowed { "access" } else { "server" };
    let help = match failure {
        // The general help points to this very command.
        Failure::Unreachable { .. } => {
            Some("start the server, or set PLIMSOLL_URL to its address".to_owned())
        }
        Failure::TimedOut { .. } => {
            Some("`--timeout` waits longer; is the server overloaded?".to_owned())
        }
        _ => failure.help(),
    };
    Finding { mark: Mark::Bad, name, detail: failure.to_string(), help }
}

fn access(client: &Client) -> Finding {
    let way = match (client.has_token(), client.base().is_loopback()) {
        (true, _) => "token",
        (false, true) => "loopback",
        (false, false) => "no token",
    };
    match client.change(MEMORY, &json!({"action": NO_ACTION})) {
        Err(failure) if failure.exit() == Exit::Refused => {
            if client.has_token() && !client.base().is_loopback() {
                return Finding {
                    mark: Mark::Fair,
                    name: "access",
                    detail: "scopes read+operate, but the token crosses the network in the clear"
                        .to_owned(),
                    help: Some("reach the server through an SSH tunnel".to_owned()),
                };
            }
            Finding::good("access", format!("{way}, scopes read+operate"))
        }
        Err(failure) if failure.exit() == Exit::NotAllowed => Finding {
            mark: Mark::Fair,
            name: "access",
            detail: format!("{way}, scope read only"),
            help: Some(
                "for cleanups and thresholds set PLIMSOLL_TOKEN to the server's MONITOR_TOKEN"
                    .to_owned(),
            ),
        },
        Err(failure) => Finding {
            mark: Mark::Fair,
            name: "access",
            detail: format!("{way}, scope read; operate not known: {failure}"),
            help: failure.help(),
        },
        Ok(_) => Finding {
            mark: Mark::Fair,
            name: "access",
            detail: format!("{way}, scope read; the server accepts actions that do not exist"),
            help: Some("is another service listening there?".to_owned()),
        },
    }
}
