//! Why there is no connection, and what the client is told.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use plimsoll_core::PressureLevel;

/// When a client should come back where nothing better is known.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many connections as allowed are there.
    #[error("the server has {most} connections, its most")]
    Full {
        /// The cap.
        most: usize,
    },
    /// The peer has as many connections as it may.
    #[error("the peer has {most} connections, its most")]
    PeerFull {
        /// The cap per peer.
        most: usize,
    },
    /// Memory is too short for another connection.
    #[error("memory is short ({level}), try again in {retry_after:?}")]
    Memory {
        /// The pressure level.
        level: PressureLevel,
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The registry was shut down.
    #[error("the server is going away")]
    ShuttingDown,
}

impl Refused {
    /// When trying again makes sense: what memory says, else 5 s.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Memory { retry_after, .. } => *retry_after,
            _ => DEFAULT_RETRY_AFTER,
        }
    }

    /// The word in events.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::PeerFull { .. } => "peer full",
            Self::Memory { .. } => "memory",
            Self::ShuttingDown => "shutting down",
        }
    }

    /// The answer to the request that asked for the connection: 503 with `Retry-After` and
    /// `application/problem+json`. It tells no figure of the server.
    pub fn response(&self) -> Response<Bytes> {
        let retry_after = self.retry_after();
        // Whole seconds, rounded up: coming early is coming in vain.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        let body = serde_json::json!({
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": match self {
                Self::PeerFull { .. } => "too many connections from here",
                Self::ShuttingDown => "the server is going away",
                _ => "no room for another connection, try again later",
            },
            "success": false,
            "error": "no room for another connection",
            "retryAfterMs": crate::entry::millis(retry_after),
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
