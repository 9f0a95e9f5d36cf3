//! Alerts, silences and sinks.

use serde::Deserialize;

use super::lenient;

/// `data` of the alerts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alerts {
    /// Pending or firing.
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) active: Vec<AlertState>,
    /// Resolved, newest first.
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) history: Vec<AlertState>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) silences: Vec<Silence>,
    /// `None` if the server does not tell.
    #[serde(deserialize_with = "lenient::member")]
    sinks: Option<Vec<SinkState>>,
}

impl Alerts {
    /// The sinks, the log first; `None` if the server does not tell.
    pub(crate) fn sinks(&self) -> Option<&[SinkState]> {
        self.sinks.as_deref()
    }
}

/// One alert.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AlertState {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) id: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) severity: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) state: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) summary: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) since: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) resolved_at: Option<String>,
}

/// A rule that is not notified of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Silence {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) until: Option<String>,
}

/// What became of the notifications of one sink.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SinkState {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) delivered: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) failed: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) dropped: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) withdrawn: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) waiting: Option<u64>,
}

/// `data` of a test of the sinks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tested {
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) sinks: Vec<SinkTest>,
}

/// How one sink fared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SinkTest {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) sink: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    delivered: Option<bool>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) error: Option<String>,
}

impl SinkTest {
    /// True if the server says so, and only then.
    pub(crate) fn is_delivered(&self) -> bool {
        self.delivered == Some(true)
    }
}
