//! What is told about an alert: its state, and the notifications of its changes.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::rules::{AlertName, Severity};

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "an alert knows no fourth state")]
pub enum AlertPhase {
    /// Its condition holds, but not yet for long enough.
    Pending,
    /// Its condition holds.
    Firing,
    /// Its condition has cleared, or an operator has resolved it.
    Resolved,
}

impl AlertPhase {
    /// The word on the wire: `pending`, `firing` or `resolved`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert as reports and the stream show it. Times are the wall clock since 1970, as JSON
/// RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AlertState {
    /// Unique among the alerts of this process; made of letters, digits and dashes.
    pub id: String,
    /// The rule.
    pub name: AlertName,
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlertPhase,
    /// One line that a human can act on.
    pub summary: String,
    /// Since when the condition holds, or held.
    #[serde(with = "wall_time")]
    pub since: Duration,
    /// When it was resolved.
    #[serde(with = "optional_wall_time", default)]
    pub resolved_at: Option<Duration>,
    /// The cleanup that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_id: Option<String>,
    /// Notifications held back by the cooldown or a silence since the last one that was sent.
    pub suppressed: u64,
    /// Until when notifications are silenced.
    #[serde(with = "optional_wall_time", default, skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Duration>,
}

/// A rule whose notifications are held back for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Silence {
    /// The rule.
    pub name: AlertName,
    /// When it ends, on the wall clock since 1970.
    #[serde(with = "wall_time")]
    pub until: Duration,
}

impl Silence {
    pub(super) fn new(name: AlertName, until: Duration) -> Self {
        Self { name, until }
    }
}

/// Why a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NotificationKind {
    /// The alert has begun to fire.
    Firing,
    /// It fires still; a reminder.
    Repeat,
    /// It fires no more.
    Resolved,
    /// Somebody tries out the sinks; there is no alert.
    Test,
}

impl NotificationKind {
    /// The word on the wire, such as `firing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Repeat => "repeat",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// What a sink is told. `Display` is one line for people, such as
/// `🔴 MemoryCritical shop@host: workingSet 3100MB ≥ critical 3000MB`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AlertNotification {
    /// The alert's id, the same from firing to resolved.
    pub id: String,
    /// The rule; for a test the one that it pretends to be of.
    pub name: AlertName,
    /// How bad it is.
    pub severity: Severity,
    /// Why this is sent.
    pub kind: NotificationKind,
    /// Which process this is about, such as `shop@host`; empty when nobody has said.
    pub instance: String,
    /// One line that a human can act on.
    pub summary: String,
    /// Since when the condition holds, or held, on the wall clock since 1970.
    #[serde(with = "wall_time")]
    pub since: Duration,
    /// When it was resolved.
    #[serde(with = "optional_wall_time")]
    pub resolved_at: Option<Duration>,
    /// The cleanup that this is about.
    pub cleanup_id: Option<String>,
    /// Notifications of this rule held back since the last one.
    pub suppressed: u64,
}

impl AlertNotification {
    /// A notification that says it is only a test, for trying out sinks.
    pub fn test(instance: &str, wall: Duration) -> Self {
        Self {
            id: format!("test-{}", wall.as_millis()),
            name: AlertName::MemoryWarning,
            severity: Severity::Info,
            kind: NotificationKind::Test,
            instance: instance.to_owned(),
            summary: "this is a test, nothing is wrong".to_owned(),
            since: wall,
            resolved_at: None,
            cleanup_id: None,
            suppressed: 0,
        }
    }
}

impl AlertNotification {
    /// What `Display` begins with, such as `🔴 MemoryCritical`: for messages in parts.
    pub fn subject(&self) -> impl fmt::Display {
        Subject { kind: self.kind, severity: self.severity, name: self.name }
    }
}

struct Subject {
    kind: NotificationKind,
    severity: Severity,
    name: AlertName,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let icon = match (self.kind, self.severity) {
            (NotificationKind::Resolved, _) => "✅",
            (_, Severity::Critical) => "🔴",
            (_, Severity::Warning) => "⚠️",
            (_, Severity::Info) => "ℹ️",
        };
        write!(f, "{icon} ")?;
        match self.kind {
            NotificationKind::Test => f.write_str("Test"),
            NotificationKind::Resolved => write!(f, "{} resolved", self.name),
            NotificationKind::Firing | NotificationKind::Repeat => write!(f, "{}", self.name),
        }
    }
}

impl fmt::Display for AlertNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject())?;
        if !self.instance.is_empty() {
            write!(f, " {}", self.instance)?;
        }
        write!(f, ": {}", self.summary)?;
        if self.suppressed > 0 {
            write!(f, " ({} earlier notifications held back)", self.suppressed)?;
        }
        Ok(())
    }
}

/// What one step of the book changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlertChanges {
    /// Alerts that changed their phase, their silence or their summary's cause; for the stream.
    pub states: Vec<AlertState>,
    /// What to tell the sinks, in this order.
    pub notifications: Vec<AlertNotification>,
}

impl AlertChanges {
    /// Whether nothing changed and nobody is to be told.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty() && self.notifications.is_empty()
    }
}

mod wall_time {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// The last second of the year 9999, past which RFC 3339 ends.
    const LATEST: Duration = Duration::from_secs(253_402_300_799);

    pub(super) fn serialize<S: Serializer>(
        wall: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let time = UNIX_EPOCH + (*wall).min(LATEST);
        serializer.collect_str(&humantime::format_rfc3339_seconds(time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: SystemTime = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        time.duration_since(UNIX_EPOCH).map_err(D::Error::custom)
    }
}

mod optional_wall_time {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wall(#[serde(with = "super::wall_time")] Duration);

    pub(super) fn serialize<S: Serializer>(
        wall: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        wall.map(Wall).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Wall>::deserialize(deserializer)?.map(|wall| wall.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> AlertState {
        AlertState {
            id: "MemoryCritical-1".to_owned(),
            name: AlertName::MemoryCritical,
            severity: Severity::Critical,
            state: AlertPhase::Firing,
            summary: "full".to_owned(),
            since: Duration::from_secs(1_767_868_200),
            resolved_at: None,
            cleanup_id: None,
            suppressed: 0,
            silenced_until: None,
        }
    }

    #[test]
    fn a_state_is_camel_case_with_rfc_3339_times_and_reads_back() {
        let json = serde_json::to_value(state()).unwrap();
        let expected = serde_json::json!({
            "id": "MemoryCritical-1", "name": "MemoryCritical", "severity": "critical",
            "state": "firing", "summary": "full", "since": "2026-01-08T10:30:00Z",
            "resolvedAt": null, "suppressed": 0,
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<AlertState>(json).unwrap(), state());

        let full = AlertState {
            resolved_at: Some(Duration::from_secs(1_767_868_201)),
            cleanup_id: Some("c1".to_owned()),
            silenced_until: Some(Duration::from_secs(0)),
            ..state()
        };
        let json = serde_json::to_value(&full).unwrap();
        assert_eq!(json["resolvedAt"], "2026-01-08T10:30:01Z");
        assert_eq!(json["silencedUntil"], "1970-01-01T00:00:00Z");
        assert_eq!(serde_json::from_value::<AlertState>(json).unwrap(), full);
    }

    #[test]
    fn a_clock_gone_mad_still_serializes() {
        let mad = AlertState { since: Duration::MAX, ..state() };
        assert_eq!(serde_json::to_value(mad).unwrap()["since"], "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_notification_is_one_line_for_people() {
        let test = AlertNotification::test("shop@host", Duration::ZERO);
        assert_eq!(test.to_string(), "ℹ️ Test shop@host: this is a test, nothing is wrong");
        let resolved = AlertNotification {
            kind: NotificationKind::Resolved,
            instance: String::new(),
            suppressed: 2,
            ..test
        };
        assert_eq!(
            resolved.to_string(),
            "✅ MemoryWarning resolved: this is a test, nothing is wrong \
             (2 earlier notifications held back)"
        );
    }
}
