//! Liveness and readiness, in words: what an orchestrator may know without being asked who it is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Response, StatusCode, Uri, header::RETRY_AFTER};
use plimsoll_core::{Plimsoll, PressureLevel};

use crate::{
    body::Answer,
    query,
    reply::{Reply, words},
};

/// A sampler whose next look is overdue for so long will not look again.
const DEAD_AFTER: Duration = Duration::from_secs(30);
/// A whole fleet that is short of memory must not go dark together: after so long unready ...
const UNREADY_AT_MOST: Duration = Duration::from_secs(60);
/// ... a server takes part again for so long, and sheds what it cannot hold.
const READY_AGAIN_FOR: Duration = Duration::from_secs(30);
/// When an unready server should be asked again, in seconds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("5");

/// What the probes remember.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Since when readiness has been refused for memory.
    unready_since: Option<Duration>,
}

/// Why a server is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// Critical, but unready for too long already.
    ReadyAgain,
    Critical,
    Draining,
}

impl Probes {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails only when the sampler is gone, never for memory: a restart would lose the work and
    /// shift the load.
    pub(crate) fn livez(plimsoll: &Plimsoll) -> Response<Answer> {
        if plimsoll.sampler_overdue() > DEAD_AFTER && !plimsoll.is_shutting_down() {
            words(StatusCode::SERVICE_UNAVAILABLE, "the memory sampler has stopped")
        } else {
            words(StatusCode::OK, "ok")
        }
    }

    /// Refused at sustained critical, for a time, and while shutting down.
    pub(crate) fn readyz(&self, plimsoll: &Plimsoll, uri: &Uri) -> Reply {
        let verbose = query::switch(uri, "verbose")?;
        let readiness = self.readiness(plimsoll);
        let text = if verbose { readiness.in_detail() } else { readiness.in_short().to_owned() };
        let status = match readiness {
            Readiness::Ready | Readiness::ReadyAgain => StatusCode::OK,
            Readiness::Critical | Readiness::Draining => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = words(status, text);
        if status != StatusCode::OK {
            response.headers_mut().insert(RETRY_AFTER, ASK_AGAIN);
        }
        Ok(response)
    }

    fn readiness(&self, plimsoll: &Plimsoll) -> Readiness {
        if plimsoll.is_shutting_down() {
            return Readiness::Draining;
        }
        let mut memory = self.lock();
        if !is_critical_for_long(plimsoll) {
            memory.unready_since = None;
            return Readiness::Ready;
        }
        let now = plimsoll.clock().now();
        let since = *memory.unready_since.get_or_insert(now);
        readiness_after(now.saturating_sub(since))
    }
}

fn readiness_after(unready: Duration) -> Readiness {
    let cycle = UNREADY_AT_MOST + READY_AGAIN_FOR;
    if unready.as_millis() % cycle.as_millis() < UNREADY_AT_MOST.as_millis() {
        Readiness::Critical
    } else {
        Readiness::ReadyAgain
    }
}

/// Critical now and at the last two of the samples that are taken each second, so for at least a
/// second.
fn is_critical_for_long(plimsoll: &Plimsoll) -> bool {
    let is_critical = |level| level == PressureLevel::Critical;
    if !is_critical(plimsoll.level()) {
        return false;
    }
    let samples = plimsoll.samples(Duration::from_secs(10));
    let newest = samples.iter().rev().take(2);
    newest.filter(|sample| is_critical(sample.level)).count() == 2
}

impl Readiness {
    fn in_short(self) -> &'static str {
        match self {
            Self::Ready | Self::ReadyAgain => "ok",
            Self::Critical => "not ready: memory is critical",
            Self::Draining => "not ready: shutting down",
        }
    }

    fn in_detail(self) -> String {
        let (memory, shutdown, verdict) = match self {
            Self::Ready => ("[+]memory ok", "[+]shutdown ok", "passed"),
            Self::ReadyAgain => {
                ("[+]memory critical for long: load is shed instead", "[+]shutdown ok", "passed")
            }
            Self::Critical => ("[-]memory critical", "[+]shutdown ok", "failed"),
            Self::Draining => ("[+]memory ok", "[-]shutdown in progress", "failed"),
        };
        format!("{memory}\n{shutdown}\nreadyz check {verdict}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_never_unready_for_long() {
        for (seconds, expected) in [
            (0, Readiness::Critical),
            (59, Readiness::Critical),
            (60, Readiness::ReadyAgain),
            (89, Readiness::ReadyAgain),
            (90, Readiness::Critical),
            (150, Readiness::ReadyAgain),
        ] {
            assert_eq!(readiness_after(Duration::from_secs(seconds)), expected, "{seconds} s");
        }
    }
}
