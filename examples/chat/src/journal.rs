//! What the server remembers of itself: socket events, errors and latencies, all bounded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plimsoll::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

/// Entries of each log that are shown.
const SHOWN: usize = 50;

/// The collections that Plimsoll may prune. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) socket_events: BoundedRing<SocketEvent>,
    pub(crate) errors: BoundedRing<ErrorEntry>,
    pub(crate) latencies: LatencyWindows,
}

/// Something that happened to a socket.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SocketEvent {
    /// Unix time in seconds.
    at: u64,
    name: String,
    event: &'static str,
}

/// Something that went wrong.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorEntry {
    /// Unix time in seconds.
    at: u64,
    part: &'static str,
    error: String,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            socket_events: BoundedRing::socket_events()
                .with_weigher(|event: &SocketEvent| event.name.capacity()),
            errors: BoundedRing::error_logs()
                .with_weigher(|entry: &ErrorEntry| entry.error.capacity()),
            latencies: LatencyWindows::new(),
        }
    }

    /// Notes what happened to somebody's socket.
    pub(crate) fn socket(&self, name: &str, event: &'static str) {
        self.socket_events.push(SocketEvent { at: now(), name: name.to_owned(), event });
    }

    /// Notes what went wrong in a part of the server.
    pub(crate) fn error(&self, part: &'static str, error: String) {
        tracing::warn!(part, error, "failed");
        self.errors.push(ErrorEntry { at: now(), part, error });
    }

    /// Notes how long a request to a route took.
    pub(crate) fn latency(&self, route: &str, took: Duration) {
        self.latencies.record(route, took);
    }

    /// The newest of everything, newest first.
    pub(crate) fn newest(&self) -> Value {
        json!({
            "socketEvents": self.socket_events.snapshot(SHOWN),
            "errors": self.errors.snapshot(SHOWN),
            "latencies": self.latencies.snapshot(),
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
