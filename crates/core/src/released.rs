//! What somebody who asks for a release gets: pages that nobody uses go back to the system.

use serde::Serialize;
use thiserror::Error;

use crate::{clock::saturating_millis, release::ReleaseReport};

/// What a release gave back; see [`Plimsoll::release`](crate::Plimsoll::release).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Released {
    /// By how much the resident set fell, in bytes: measured, clamped at 0; `None` when it could
    /// not be read.
    pub freed_memory: Option<u64>,
    /// The resident set before, in bytes.
    pub before_bytes: Option<u64>,
    /// The resident set after, in bytes.
    pub after_bytes: Option<u64>,
    /// Passes over the allocators, 1..=3.
    pub passes: u32,
    /// The allocators that were asked.
    pub backends: Vec<&'static str>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Why nothing was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// No allocator that can give pages back is wired in.
    #[error(
        "no allocator here can give memory back; wire one in with ReleaseBackend (glibc, jemalloc and mimalloc have one)"
    )]
    NoBackend,
    /// The worker did not answer in time, or has ended.
    #[error("the release was not finished in time, or Plimsoll was shut down")]
    Unanswered,
}

impl Released {
    pub(crate) fn of(report: &ReleaseReport, backends: Vec<&'static str>) -> Self {
        Self {
            freed_memory: report.freed(),
            before_bytes: report.before,
            after_bytes: report.after,
            passes: report.passes,
            duration_ms: saturating_millis(report.took),
            backends,
        }
    }
}
