//! `/api/monitoring/memory`: the report, cleanups, thresholds.

use http::{HeaderMap, StatusCode, header::USER_AGENT, request::Parts};
use plimsoll_core::{
    CleanupError, CleanupLevel, CleanupRecord, CleanupTrigger, Plimsoll, PressureLevel,
    ReleaseError, Threshold, ThresholdError, whole_mb,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    monitoring::Monitoring,
    post,
    problem::{Fault, Problem},
    reply::{self, Reply},
};

/// The actions of POST.
const ACTIONS: [&str; 3] = ["cleanup", "release", "updateThresholds"];

/// A cleanup, and how things stand after it.
#[derive(Serialize)]
struct CleanedUp<'a> {
    #[serde(flatten)]
    record: &'a CleanupRecord,
    status: PressureLevel,
}

/// GET: the report.
pub(crate) async fn report(monitoring: &Monitoring) -> Reply {
    monitoring.refresh().await;
    reply::data(&monitoring.plimsoll, &monitoring.plimsoll.report())
}

/// POST: the action that the body names.
pub(crate) async fn act(monitoring: &Monitoring, head: &Parts, body: &[u8]) -> Reply {
    let members = post::object(body)?;
    match members.get("action").and_then(Value::as_str) {
        Some("cleanup") => {
            monitoring.refresh().await;
            cleanup(&monitoring.plimsoll, &head.headers, &members).await
        }
        Some("release") => release(&monitoring.plimsoll).await,
        Some("updateThresholds") => update_thresholds(&monitoring.plimsoll, &members),
        _ => Err(unknown_action(members.get("action"))),
    }
}

fn unknown_action(action: Option<&Value>) -> Problem {
    let accepted = ACTIONS.join(", ");
    let detail = match action {
        None => format!("the body names no action; accepted are {accepted}"),
        Some(_) => format!("the action is not known; accepted are {accepted}"),
    };
    Problem::new(StatusCode::BAD_REQUEST, "unknown-action", "Unknown action", detail)
        .with("allowed", ACTIONS)
}

async fn cleanup(plimsoll: &Plimsoll, headers: &HeaderMap, members: &Map<String, Value>) -> Reply {
    let level = requested_level(members)?;
    let dry_run = dry_run(members)?;
    let level = level.unwrap_or_else(|| CleanupLevel::deserved_by(plimsoll.level()));
    let record = run(plimsoll, level, trigger(headers), dry_run).await?;
    let done = CleanedUp { record: &record, status: plimsoll.level() };
    reply::done(plimsoll, &record.message(), &done)
}

/// Gives free pages back; nothing is dropped.
async fn release(plimsoll: &Plimsoll) -> Reply {
    let released = plimsoll.release().await.map_err(|error| match error {
        ReleaseError::NoBackend => Problem::new(
            StatusCode::CONFLICT,
            "no-release",
            "Nothing can release",
            error.to_string(),
        ),
        _ => Problem::unavailable("release-unanswered", "Not released", error.to_string(), 5),
    })?;
    let message = match released.freed_memory {
        Some(freed) => format!("Released {}MB ({})", whole_mb(freed), released.backends.join(", ")),
        None => format!("Released n/a ({})", released.backends.join(", ")),
    };
    reply::done(plimsoll, &message, &released)
}

/// Runs a cleanup to its end, or joins the one that runs. It goes on when the client has left.
pub(super) async fn run(
    plimsoll: &Plimsoll,
    level: CleanupLevel,
    trigger: CleanupTrigger,
    dry_run: bool,
) -> Result<CleanupRecord, Problem> {
    let record = if dry_run {
        plimsoll.preview_cleanup(level, trigger).await
    } else {
        match plimsoll.start_cleanup(level, trigger) {
            Ok(ticket) => ticket.finished().await,
            Err(error) => Err(error),
        }
    };
    record.map_err(|error| match error {
        CleanupError::ShutDown => shutting_down(),
        _ => Problem::internal(error.to_string()),
    })
}

/// Nothing is begun any more.
pub(super) fn shutting_down() -> Problem {
    let detail = CleanupError::ShutDown.to_string();
    Problem::unavailable("shutting-down", "Shutting down", detail, 5)
}

/// The command line tool names itself.
pub(super) fn trigger(headers: &HeaderMap) -> CleanupTrigger {
    let agent = headers.get(USER_AGENT).map(|agent| agent.as_bytes());
    match agent {
        Some(agent) if agent.starts_with(b"plimsoll-cli/") => CleanupTrigger::Cli,
        _ => CleanupTrigger::Api,
    }
}

fn requested_level(members: &Map<String, Value>) -> Result<Option<CleanupLevel>, Problem> {
    let level = match members.get("level") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(word)) if word == CleanupLevel::Moderate.as_str() => {
            CleanupLevel::Moderate
        }
        Some(Value::String(word)) if word == CleanupLevel::Aggressive.as_str() => {
            CleanupLevel::Aggressive
        }
        Some(_) => {
            return Err(invalid_member("level", "must be moderate or aggressive, or left out"));
        }
    };
    Ok(Some(level))
}

/// Whether the body asks to change nothing. A value that cannot be read must not mean "no", nor
/// a name with other capitals; members that mean nothing to us are ignored.
pub(super) fn dry_run(members: &Map<String, Value>) -> Result<bool, Problem> {
    let misspelt = members.keys().find(|name| {
        let letters = name.replace(['_', '-'], "");
        letters.eq_ignore_ascii_case("dryRun") && *name != "dryRun"
    });
    if let Some(name) = misspelt {
        return Err(invalid_member(name, "is not known; did you mean dryRun?"));
    }
    match members.get("dryRun") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(dry_run)) => Ok(*dry_run),
        Some(_) => Err(invalid_member("dryRun", "must be true or false")),
    }
}

/// A refusal that is about one member of the body.
pub(super) fn invalid_member(name: &str, detail: &str) -> Problem {
    let fault = Fault { pointer: format!("/{name}"), detail: detail.to_owned() };
    Problem::invalid("invalid-value", "Invalid value", format!("{name} {detail}"), &[fault])
}

fn update_thresholds(plimsoll: &Plimsoll, members: &Map<String, Value>) -> Reply {
    let Some(Value::Object(asked)) = members.get("thresholds") else {
        return Err(invalid_thresholds(
            "thresholds must be an object with warning, critical or both",
            vec![fault("", "must be an object with warning, critical or both")],
        ));
    };
    let mut faults: Vec<_> = asked
        .keys()
        .filter(|name| !["warning", "critical"].contains(&name.as_str()))
        // A JSON pointer (RFC 6901) writes these two signs in another way.
        .map(|name| name.replace('~', "~0").replace('/', "~1"))
        .map(|name| fault(&name, "is not known; accepted are warning and critical"))
        .collect();
    let mut side = |name| match asked.get(name) {
        None | Some(Value::Null) => None,
        Some(value) => serde_json::from_value::<Threshold>(value.clone())
            .map_err(|error| faults.push(fault(name, &error.to_string())))
            .ok(),
    };
    let (warning, critical) = (side("warning"), side("critical"));
    if let Some(first) = faults.first() {
        let detail =
            format!("{}: {}", first.pointer.trim_start_matches("/thresholds/"), first.detail);
        return Err(invalid_thresholds(&detail, faults));
    }
    if warning.is_none() && critical.is_none() {
        let detail = "must have warning, critical or both";
        return Err(invalid_thresholds(&format!("thresholds {detail}"), vec![fault("", detail)]));
    }
    let change = plimsoll
        .update_thresholds(warning, critical)
        .map_err(|error| invalid_thresholds(&error.to_string(), faults_of(&error)))?;
    let now = &change.thresholds;
    let message = format!(
        "Thresholds set to {}{unit} and {}{unit}",
        now.warning,
        now.critical,
        unit = now.unit
    );
    reply::done(plimsoll, &message, &change)
}

fn invalid_thresholds(detail: &str, faults: Vec<Fault>) -> Problem {
    Problem::invalid("invalid-thresholds", "Invalid thresholds", detail, &faults)
}

fn fault(side: &str, detail: &str) -> Fault {
    let pointer =
        if side.is_empty() { "/thresholds".to_owned() } else { format!("/thresholds/{side}") };
    Fault { pointer, detail: detail.to_owned() }
}

fn faults_of(error: &ThresholdError) -> Vec<Fault> {
    let side = error.field().unwrap_or_default();
    let detail = match error {
        ThresholdError::WrongOrder { warning, field: "critical", .. } => {
            format!("must be higher than warning ({warning})")
        }
        ThresholdError::WrongOrder { critical, .. } => {
            format!("must be lower than critical ({critical})")
        }
        other => other.to_string(),
    };
    vec![fault(side, &detail)]
}
