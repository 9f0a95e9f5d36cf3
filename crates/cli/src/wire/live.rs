//! What only the full screen shows: the event stream, routes, sockets.

use serde::Deserialize;
use serde_json::Value;

use super::{AlertState, Forecast, Record, Report, Retention, Status, lenient};

/// The first event of a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshot {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) report: Option<Value>,
    /// Oldest first.
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) samples: Vec<Sample>,
    /// Newest first.
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) cleanups: Vec<Record>,
}

/// One point of the chart.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Sample {
    /// Milliseconds since 1970, on the server's clock.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) timestamp: Option<i64>,
    /// The decision figure in bytes.
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) figure: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    level: Option<String>,
}

impl Sample {
    /// The pressure level.
    pub(crate) fn level(&self) -> Status {
        Status::of(self.level.as_deref())
    }
}

/// A report with the members that only the full screen shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) report: Report,
    pub(crate) parts: Parts,
}

impl Live {
    /// Reads a report; `None` if the document is another service's.
    pub(crate) fn of(report: Value) -> Option<Self> {
        let parts = serde_json::from_value(report.clone()).unwrap_or_default();
        let report: Report = serde_json::from_value(report).ok()?;
        (!report.is_foreign()).then_some(Self { report, parts })
    }
}

/// Members of the report that can be absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Parts {
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) alerts: Vec<AlertState>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) sockets: Option<Sockets>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) retention: Option<Retention>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) forecast: Option<Forecast>,
}

/// Connections by state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Sockets {
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) open: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) closing: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) lingering: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) forced: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) refused: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) bytes: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) queued_messages: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) queued_bytes: Option<u64>,
}

/// `data` of the routes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Routes {
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) routes: Vec<Route>,
}

/// One route since the start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Route {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) route: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) in_flight: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    reserved_bytes: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) admitted: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) shed: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    memory: Option<RouteMemory>,
}

/// What the requests of a route were seen to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteMemory {
    #[serde(deserialize_with = "lenient::figure")]
    live_bytes: Option<u64>,
}

impl Route {
    /// What its requests hold: seen where allocations are attributed, else reserved.
    pub(crate) fn held_bytes(&self) -> Option<u64> {
        self.memory.as_ref().and_then(|memory| memory.live_bytes).max(self.reserved_bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_is_absent_and_a_bad_member_hides_no_other() {
        let live = Live::of(json!({
            "status": "healthy", "sockets": null, "retention": 7,
            "forecast": {"slopeBytesPerSecond": "fast", "criticalInSeconds": 40, "leakSuspected": true},
            "alerts": [3, {"id": "a", "name": "MemoryWarning"}],
        }))
        .unwrap();
        assert!(live.parts.sockets.is_none() && live.parts.retention.is_none());
        let forecast = live.parts.forecast.unwrap();
        assert_eq!(forecast.critical_in_seconds, Some(40));
        assert_eq!(forecast.slope_bytes_per_second, None);
        assert_eq!(live.parts.alerts.len(), 1);
        assert!(Live::of(json!({"id": 3})).is_none());
    }

    #[test]
    fn a_route_holds_what_was_seen_or_else_what_was_reserved() {
        let route = |value| serde_json::from_value::<Route>(value).unwrap().held_bytes();
        assert_eq!(route(json!({"reservedBytes": 5, "memory": null})), Some(5));
        assert_eq!(route(json!({"reservedBytes": 5, "memory": {"liveBytes": 9}})), Some(9));
        assert_eq!(route(json!({"reservedBytes": null, "memory": null})), None);
    }
}
