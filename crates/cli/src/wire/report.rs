//! The report.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Forecast, Record, Retention, Status, lenient};
use crate::text;

/// `data` of the report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Report {
    #[serde(deserialize_with = "lenient::member")]
    status: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) metric: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) checked_at: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) instance: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) version: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) uptime_seconds: Option<u64>,
    /// Whole megabytes.
    #[serde(deserialize_with = "lenient::figures")]
    current: BTreeMap<String, u64>,
    #[serde(deserialize_with = "lenient::figures")]
    bytes: BTreeMap<String, u64>,
    #[serde(deserialize_with = "lenient::member")]
    thresholds: Option<Thresholds>,
    #[serde(deserialize_with = "lenient::figures")]
    threshold_bytes: BTreeMap<String, u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) cleanup_in_progress: Option<bool>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) last_cleanup: Option<i64>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) cleanup_history: Vec<Record>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) alerts: Vec<Alert>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) forecast: Option<Forecast>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) retention: Option<Retention>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) guard: Option<Guard>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) release: Option<Release>,
    #[serde(deserialize_with = "lenient::figures")]
    pub(crate) monitor: BTreeMap<String, u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) events: Option<Events>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) reading_error: Option<ReadingError>,
}

/// Why the figures are old.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReadingError {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) message: Option<String>,
}

/// The two thresholds, in megabytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Thresholds {
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) warning: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) critical: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) source: Option<String>,
}

/// `data` of a change of thresholds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ThresholdsChanged {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) thresholds: Option<Thresholds>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) previous: Option<Thresholds>,
    #[serde(deserialize_with = "lenient::member")]
    status: Option<String>,
}

/// An alert that has not ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alert {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) state: Option<String>,
}

/// Admission counters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Guard {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) mode: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) in_flight: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) reserved_bytes: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) admitted: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) shed: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) would_have_shed: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) attributed: Option<bool>,
}

/// What can give freed pages back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Release {
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) backends: Vec<String>,
}

/// Which kernel events wake the sampler.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Events {
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) active: Vec<String>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) missing: Vec<String>,
}

impl Report {
    /// True if nothing in it is what a report holds, so that another service answered.
    pub(crate) fn is_foreign(&self) -> bool {
        self.status.is_none() && self.current.is_empty() && self.bytes.is_empty()
    }

    /// The pressure level.
    pub(crate) fn status(&self) -> Status {
        Status::of(self.status.as_deref())
    }

    /// A figure in whole megabytes.
    pub(crate) fn megabytes(&self, name: &str) -> Option<u64> {
        self.current.get(name).copied().or_else(|| self.bytes(name).map(text::to_megabytes))
    }

    /// A figure in bytes.
    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        self.bytes.get(name).copied()
    }

    /// The figure held against the thresholds, in whole megabytes.
    pub(crate) fn decision(&self) -> Option<u64> {
        let name = self.metric.as_deref()?;
        self.bytes(name).map(text::to_megabytes).or_else(|| self.current.get(name).copied())
    }

    /// The figure held against the thresholds, in bytes.
    #[cfg(feature = "tui")]
    pub(crate) fn decision_bytes(&self) -> Option<u64> {
        let name = self.metric.as_deref()?;
        let whole = || self.current.get(name)?.checked_mul(text::MB);
        self.bytes(name).or_else(whole)
    }

    /// Takes over thresholds that somebody has changed; their bytes come with the next report.
    #[cfg(feature = "tui")]
    pub(crate) fn take_thresholds(&mut self, thresholds: Thresholds, change: &ThresholdsChanged) {
        for (name, side) in [("warning", thresholds.warning), ("critical", thresholds.critical)] {
            if let Some(bytes) = side.and_then(|side| side.checked_mul(text::MB)) {
                self.threshold_bytes.insert(name.to_owned(), bytes);
            }
        }
        self.thresholds = Some(thresholds);
        if change.status.is_some() {
            self.status.clone_from(&change.status);
        }
    }

    /// A threshold in whole megabytes: `warning` or `critical`.
    pub(crate) fn threshold(&self, name: &str) -> Option<u64> {
        let shown = self.thresholds.as_ref().and_then(|thresholds| match name {
            "warning" => thresholds.warning,
            _ => thresholds.critical,
        });
        shown.or_else(|| self.threshold_bytes(name).map(text::to_megabytes))
    }

    /// A threshold in bytes: `warning` or `critical`.
    pub(crate) fn threshold_bytes(&self, name: &str) -> Option<u64> {
        self.threshold_bytes.get(name).copied()
    }

    /// What set the thresholds.
    pub(crate) fn threshold_source(&self) -> Option<&str> {
        self.thresholds.as_ref()?.source.as_deref()
    }
}

impl ThresholdsChanged {
    /// The pressure level under the new thresholds.
    pub(crate) fn status(&self) -> Status {
        Status::of(self.status.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Report {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_bad_member_hides_no_other() {
        let report = read(
            r#"{"status":7,"current":{"rss":"many","heapUsed":5},"bytes":null,"thresholds":[],
                "cleanupHistory":[3,{"timestamp":"x","freedMemory":1}],"later":{"a":1},
                "release":{"backends":["glibc",4]}}"#,
        );
        assert_eq!(report.status(), Status::Missing);
        assert_eq!(report.megabytes("heapUsed"), Some(5));
        assert_eq!(report.megabytes("rss"), None);
        assert_eq!(report.cleanup_history.len(), 1);
        assert_eq!(report.release.unwrap().backends, ["glibc"]);
    }

    #[test]
    fn the_decision_metric_is_the_named_one() {
        let both = r#""current":{"rss":1400},"bytes":{"rss":1399600000,"workingSet":1849900000}"#;
        assert_eq!(read(&format!(r#"{{"metric":"workingSet",{both}}}"#)).decision(), Some(1850));
        assert_eq!(read(&format!(r#"{{"metric":"rss",{both}}}"#)).decision(), Some(1400));
        assert_eq!(read(r#"{"metric":"rss","current":{"rss":7}}"#).decision(), Some(7));
        assert_eq!(read(&format!(r#"{{"metric":"later",{both}}}"#)).decision(), None);
    }

    #[test]
    fn another_service_is_recognised() {
        assert!(read(r#"{"id":1}"#).is_foreign());
        assert!(!read(r#"{"status":"healthy"}"#).is_foreign());
    }
}
