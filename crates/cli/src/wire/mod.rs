//! The parts of the server's answers that the tool shows.
//!
//! These types are the tool's own: it must read servers of other releases, so every figure can be
//! missing, members of the wrong type count as missing, and unknown members are ignored.

mod alerts;
mod cleanup;
mod lenient;
#[cfg(feature = "tui")]
mod live;
mod outlook;
mod report;

use serde::Deserialize;

#[cfg(feature = "tui")]
pub(crate) use self::live::{Live, Route, Routes, Sample, Snapshot, Sockets};
pub(crate) use self::{
    alerts::{AlertState, Alerts, SinkState, SinkTest, Tested},
    cleanup::{ActionResult, Aggressive, Record, Rule},
    outlook::{Forecast, Retention, RetentionRule},
    report::{Guard, Report, Thresholds, ThresholdsChanged},
};

/// What every success is wrapped in.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned")]
pub(crate) struct Envelope<T> {
    #[serde(default, deserialize_with = "lenient::member")]
    pub(crate) timestamp: Option<String>,
    #[serde(default, deserialize_with = "lenient::member")]
    pub(crate) message: Option<String>,
    /// A failure in the middle of the work calls it `report`.
    #[serde(default, alias = "report", deserialize_with = "lenient::member")]
    pub(crate) data: Option<T>,
}

/// The pressure level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Healthy,
    Warning,
    Critical,
    /// A word of a later release; shown as it is.
    Other(String),
    Missing,
}

impl Status {
    /// Reads the word on the wire.
    pub(crate) fn of(word: Option<&str>) -> Self {
        match word {
            Some("healthy") => Self::Healthy,
            Some("warning") => Self::Warning,
            Some("critical") => Self::Critical,
            Some(other) => Self::Other(other.to_owned()),
            None => Self::Missing,
        }
    }

    /// The word; foreign if it is another release's.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Healthy => "healthy".to_owned(),
            Self::Warning => "warning".to_owned(),
            Self::Critical => "critical".to_owned(),
            Self::Other(word) => word.clone(),
            Self::Missing => "n/a".to_owned(),
        }
    }
}

/// What a refusal says (RFC 9457, with the members of this service).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) title: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) detail: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) error: Option<String>,
    /// A failure in the middle of the work still tells what was done.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) data: Option<Aggressive>,
    /// The same, as the aggressive route says it when database rules failed.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) report: Option<Aggressive>,
}
