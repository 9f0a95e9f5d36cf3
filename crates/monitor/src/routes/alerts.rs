//! `/api/monitoring/alerts`: what is wrong, and who was told.

use std::time::Duration;

use plimsoll_core::{
    Plimsoll,
    alerts::{AlertName, AlertState, LogSink, Silence, SinkTest},
    parse_millis,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::memory::invalid_member;
use crate::{
    post,
    problem::Problem,
    reply::{self, Reply},
};

#[derive(Serialize)]
struct Alerts {
    active: Vec<AlertState>,
    /// Resolved ones, newest first.
    history: Vec<AlertState>,
    silences: Vec<Silence>,
    sinks: Vec<Sink>,
}

/// What became of the notifications of one sink.
#[derive(Serialize)]
struct Sink {
    name: String,
    delivered: u64,
    failed: u64,
    dropped: u64,
    withdrawn: u64,
    waiting: usize,
}

#[derive(Serialize)]
struct Resolved<'a> {
    id: &'a str,
    active: Vec<AlertState>,
}

#[derive(Serialize)]
struct Silences {
    silences: Vec<Silence>,
}

#[derive(Serialize)]
struct Tested {
    sinks: Vec<SinkTest>,
}

/// GET: everything.
pub(crate) fn show(plimsoll: &Plimsoll) -> Reply {
    let desk = plimsoll.alerts();
    let log = Sink {
        name: LogSink::NAME.to_owned(),
        delivered: desk.sinks().logged(),
        failed: 0,
        dropped: 0,
        withdrawn: 0,
        waiting: 0,
    };
    let others = desk.sinks().stats().into_iter().map(|(name, stats)| Sink {
        name: name.to_owned(),
        delivered: stats.delivered,
        failed: stats.failed,
        dropped: stats.dropped,
        withdrawn: stats.withdrawn,
        waiting: stats.waiting,
    });
    let alerts = Alerts {
        active: desk.active(),
        history: desk.history(),
        silences: desk.silences(),
        sinks: std::iter::once(log).chain(others).collect(),
    };
    reply::data(plimsoll, &alerts)
}

/// POST: resolves one by hand.
pub(crate) fn resolve(plimsoll: &Plimsoll, id: &str) -> Reply {
    plimsoll.resolve_alert(id).map_err(|error| Problem::not_found(error.to_string()))?;
    let message = format!("Resolved {id}");
    reply::done(plimsoll, &message, &Resolved { id, active: plimsoll.alerts().active() })
}

/// POST: holds back the notifications of a rule for a while; for 0 minutes ends that.
pub(crate) fn silence(plimsoll: &Plimsoll, body: &[u8]) -> Reply {
    let members = post::object(body)?;
    let name = rule(&members)?;
    let span = span(&members)?;
    let message = if span.is_zero() {
        plimsoll.lift_silence(name);
        format!("{name} is no longer silenced")
    } else {
        plimsoll.silence_alert(name, span).map_err(|_| out_of_range(&members))?;
        format!("{name} is silenced for {} min", span.as_secs().div_ceil(60))
    };
    reply::done(plimsoll, &message, &Silences { silences: plimsoll.alerts().silences() })
}

/// What is accepted for how long.
const FOR: &str = "must be a duration such as \"1h\", at most 24h";
const MINUTES: &str = "must be a whole number such as 60, at most 1440";

fn rule(members: &Map<String, Value>) -> Result<AlertName, Problem> {
    let name = members.get("name").and_then(Value::as_str).unwrap_or_default();
    let names = || AlertName::ALL.map(AlertName::as_str).join(", ");
    name.parse().map_err(|_| invalid_member("name", &format!("must be one of {}", names())))
}

fn out_of_range(members: &Map<String, Value>) -> Problem {
    match members.contains_key("for") {
        true => invalid_member("for", FOR),
        false => invalid_member("minutes", MINUTES),
    }
}

fn span(members: &Map<String, Value>) -> Result<Duration, Problem> {
    let refused = |name, form| Err(invalid_member(name, form));
    match (members.get("minutes"), members.get("for")) {
        (Some(_), Some(_)) => refused("for", "must not stand beside minutes"),
        (Some(minutes), None) => match minutes.as_u64().and_then(|m| m.checked_mul(60)) {
            Some(seconds) => Ok(Duration::from_secs(seconds)),
            None => refused("minutes", MINUTES),
        },
        (None, Some(Value::String(text))) => match parse_millis(text) {
            Ok(span) => Ok(span),
            Err(_) => refused("for", FOR),
        },
        (None, Some(_)) => refused("for", FOR),
        (None, None) => refused("for", "must say for how long, such as \"1h\", at most 24h"),
    }
}

/// POST: tries every sink.
pub(crate) async fn test(plimsoll: &Plimsoll) -> Reply {
    let sinks = plimsoll.alerts().test().await;
    let delivered = sinks.iter().filter(|sink| sink.delivered).count();
    let message = format!("Delivered to {delivered} of {} sinks", sinks.len());
    reply::done(plimsoll, &message, &Tested { sinks })
}
