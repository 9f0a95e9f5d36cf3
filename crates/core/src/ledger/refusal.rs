//! What a refused request is told.

use std::time::Duration;

use crate::level::PressureLevel;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// It does not fit under its priority's load line now.
    Pressure,
    /// It would not fit even with nothing else in flight and the process healthy.
    NeverFits,
    /// It was admitted, and ended later since memory stayed critical.
    Cancelled,
}

impl RefusalReason {
    /// The label of `plimsoll_requests_shed_total`: `memory`, `too_large` or `cancelled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pressure => "memory",
            Self::NeverFits => "too_large",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a refused request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The pressure level.
    pub level: PressureLevel,
    /// When trying again makes sense, jittered so that refused clients do not return together.
    pub retry_after: Duration,
}
