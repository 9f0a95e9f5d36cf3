//! Members of the report about what is to come: where memory goes, and rows that wait for a rule.

use serde::Deserialize;

use super::lenient;

/// Database rules.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Retention {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) running: Option<bool>,
    /// Why it waits.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) paused: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) last_run: Option<i64>,
    /// Milliseconds between two runs.
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) interval_ms: Option<u64>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) rules: Vec<RetentionRule>,
}

/// One database rule in the report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RetentionRule {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) rule: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) backlog: Option<u64>,
    /// True if there are at least as many.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) backlog_capped: Option<bool>,
    /// Milliseconds since 1970.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) last_success: Option<i64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) last: Option<RetentionRun>,
}

/// The newest run of a rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RetentionRun {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) outcome: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) detail: Option<String>,
}

/// Where memory is going.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Forecast {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) slope_bytes_per_second: Option<f64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) critical_in_seconds: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) leak_suspected: Option<bool>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) window_seconds: Option<u64>,
}
