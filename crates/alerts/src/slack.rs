//! Slack's incoming webhooks, and what takes the same body (Mattermost, Rocket.Chat).

use std::fmt::{self, Display};

use bytes::Bytes;
use plimsoll_core::alerts::{AlertNotification, AlertSink, Delivery};
use serde::{Serialize, Serializer};

use crate::{
    client::Client,
    payload::{INSTANCE, PayloadBuffer, SUMMARY},
    text::{Line, SlackEscaped},
    url::{AlertUrl, AlertUrlError},
    webhook::LONGEST_SETTING,
};

/// Slack cuts a header at 150 characters.
const HEADER: usize = 140;

/// Posts each notification as one Slack message.
///
/// `text` alone is enough to read: it is the line that the log gets. Beside it stand blocks: the
/// alert and where, its summary, its severity and time. All text of the program is plain text in
/// it, or escaped, so that a name can neither link nor mention anybody.
pub struct SlackSink {
    name: String,
    dashboard: String,
    client: Client,
    buffer: PayloadBuffer,
}

impl SlackSink {
    /// A sink named `slack`.
    ///
    /// # Errors
    /// As [`WebhookSink::new`](crate::WebhookSink::new).
    pub fn new(url: AlertUrl) -> Result<Self, AlertUrlError> {
        Ok(Self {
            name: "slack".to_owned(),
            dashboard: String::new(),
            client: Client::new(url)?,
            buffer: PayloadBuffer::new(),
        })
    }

    /// Sets the name in logs, metrics and test results. Default: `slack`.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the address of the dashboard, shown below each message, cut to 500 characters.
    /// Default: none.
    #[must_use]
    pub fn dashboard(mut self, url: impl Into<String>) -> Self {
        self.dashboard = url.into();
        self
    }

    /// As [`WebhookSink::trust_pem`](crate::WebhookSink::trust_pem).
    ///
    /// # Errors
    /// When the text holds no certificate, or one that cannot be trusted.
    #[cfg(feature = "tls")]
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, crate::PemError> {
        self.client.trust_pem(pem)?;
        Ok(self)
    }

    fn payload(&self, notification: &AlertNotification) -> Bytes {
        let text = Shown { notification, dashboard: &self.dashboard };
        self.buffer.write(&Body {
            text: AsText(SlackEscaped(text)),
            blocks: (
                Block { kind: "header", text: Plain::new(Head(notification)) },
                Block {
                    kind: "section",
                    text: Plain::new(Line::new(&notification.summary, SUMMARY)),
                },
                Context { kind: "context", elements: [Plain::new(Foot(text))] },
            ),
        })
    }
}

impl AlertSink for SlackSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver(&self, notification: AlertNotification) -> Delivery<'_> {
        Box::pin(async move {
            let body = self.payload(&notification);
            self.client.post(body, None).await
        })
    }
}

impl fmt::Debug for SlackSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlackSink")
            .field("name", &self.name)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(bound = "")]
struct Body<T: Display, H: Display, S: Display, F: Display> {
    text: AsText<T>,
    blocks: (Block<H>, Block<S>, Context<F>),
}

#[derive(Serialize)]
#[serde(bound = "")]
struct Block<T: Display> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: Plain<T>,
}

#[derive(Serialize)]
#[serde(bound = "")]
struct Context<T: Display> {
    #[serde(rename = "type")]
    kind: &'static str,
    elements: [Plain<T>; 1],
}

/// Text in which Slack looks for no markup.
#[derive(Serialize)]
#[serde(bound = "")]
struct Plain<T: Display> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: AsText<T>,
    emoji: bool,
}

impl<T: Display> Plain<T> {
    fn new(text: T) -> Self {
        // Without it a name such as `:fire:` stays what it is.
        Self { kind: "plain_text", text: AsText(text), emoji: false }
    }
}

struct AsText<T>(T);

impl<T: Display> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The whole message in one line.
#[derive(Clone, Copy)]
struct Shown<'a> {
    notification: &'a AlertNotification,
    dashboard: &'a str,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AlertNotification { summary, suppressed, .. } = self.notification;
        write!(f, "{}: {}", Head(self.notification), Line::new(summary, SUMMARY))?;
        if *suppressed > 0 {
            write!(f, " ({suppressed} earlier notifications held back)")?;
        }
        if !self.dashboard.is_empty() {
            write!(f, ". {}", Line::new(self.dashboard, LONGEST_SETTING))?;
        }
        Ok(())
    }
}

/// `🔴 MemoryCritical shop@host`: the notification's own words before its summary.
struct Head<'a>(&'a AlertNotification);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.subject().fmt(f)?;
        let AlertNotification { instance, .. } = self.0;
        if !instance.is_empty() {
            write!(f, " {}", Line::new(instance, HEADER - 40))?;
        }
        Ok(())
    }
}

/// Severity, since when, until when, and where to look.
struct Foot<'a>(Shown<'a>);

impl Display for Foot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { notification, dashboard } = self.0;
        let time = |wall| humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + wall);
        write!(f, "{} since {}", notification.severity.as_str(), time(notification.since))?;
        if let Some(at) = notification.resolved_at {
            write!(f, ", resolved {}", time(at))?;
        }
        let instance = &notification.instance;
        if !instance.is_empty() {
            write!(f, ", {}", Line::new(instance, INSTANCE))?;
        }
        if !dashboard.is_empty() {
            write!(f, ", {}", Line::new(dashboard, LONGEST_SETTING))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plimsoll_core::alerts::{AlertName, NotificationKind, Severity};
    use serde_json::{Value, json};

    use super::*;
    use crate::payload::CAPACITY;

    fn sink() -> SlackSink {
        SlackSink::new("http://127.0.0.1:9/T0/B0/s3cret".parse().unwrap()).unwrap()
    }

    fn firing(summary: &str) -> AlertNotification {
        let mut firing = AlertNotification::test("shop@host", Duration::from_secs(1_767_868_200));
        firing.name = AlertName::MemoryCritical;
        firing.kind = NotificationKind::Firing;
        firing.severity = Severity::Critical;
        firing.summary = summary.to_owned();
        firing
    }

    fn body(sink: &SlackSink, notification: &AlertNotification) -> Value {
        serde_json::from_slice(&sink.payload(notification)).unwrap()
    }

    #[test]
    fn the_text_alone_is_enough_and_the_blocks_say_the_same() {
        let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
        let sink = sink().dashboard("https://shop.example/monitoring/");
        let expected = json!({
            "text": "🔴 MemoryCritical shop@host: rss 3100MB ≥ critical 3000MB. https://shop.example/monitoring/",
            "blocks": [
                {"type": "header", "text": plain("🔴 MemoryCritical shop@host")},
                {"type": "section", "text": plain("rss 3100MB ≥ critical 3000MB")},
                {"type": "context", "elements": [plain(
                    "critical since 2026-01-08T10:30:00Z, shop@host, https://shop.example/monitoring/"
                )]},
            ],
        });
        assert_eq!(body(&sink, &firing("rss 3100MB ≥ critical 3000MB")), expected);
    }

    #[test]
    fn an_end_and_a_test_say_what_they_are() {
        let mut resolved = firing("back");
        resolved.kind = NotificationKind::Resolved;
        resolved.resolved_at = Some(Duration::from_secs(1_767_868_260));
        let resolved = body(&sink(), &resolved);
        assert_eq!(resolved["text"], "✅ MemoryCritical resolved shop@host: back");
        let foot = resolved["blocks"][2]["elements"][0]["text"].as_str().unwrap();
        assert!(foot.contains("resolved 2026-01-08T10:31:00Z"), "{foot}");
        let test = AlertNotification::test("", Duration::ZERO);
        assert_eq!(body(&sink(), &test)["text"], "ℹ️ Test: this is a test, nothing is wrong");
    }

    #[test]
    fn hostile_names_are_text_and_fit() {
        let mut hostile = firing(&"<!channel>\u{1b}[31m\n& \"𝔘\\".repeat(1_000));
        hostile.instance = "<@U1|x> :fire:".repeat(1_000);
        let sink = sink().dashboard("&".repeat(9_000));
        let payload = sink.payload(&hostile);
        assert!(payload.len() <= CAPACITY, "{}", payload.len());
        let body: Value = serde_json::from_slice(&payload).unwrap();
        let text = body["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>', '\u{1b}', '\n']), "{text}");
        let header = body["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(header.chars().count() <= 150, "{header}");
        assert!(!format!("{sink:?}").contains("s3cret"));
    }
}
