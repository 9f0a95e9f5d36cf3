//! The webhook body of Alertmanager, version 4, so that whatever takes alerts from Alertmanager
//! takes ours.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use plimsoll_core::alerts::{AlertNotification, AlertSink, Delivery, NotificationKind};
use serde::Serialize;

use crate::{
    client::Client,
    fingerprint::fingerprint,
    payload::{ID, INSTANCE, PayloadBuffer, SUMMARY},
    signature::{SIGNATURE_HEADER, Signer},
    text::Line,
    url::{AlertUrl, AlertUrlError},
};

/// The zero time of Go, which Alertmanager sends as the end of what has not ended.
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";
/// What a test calls itself: no rule's name, so that nobody is woken by one.
const TEST_ALERT: &str = "PlimsollTest";
/// A test ends by itself after this long, for receivers that go by `endsAt`.
const TEST_LASTS: Duration = Duration::from_secs(300);
/// Bytes of a dashboard's address and of a receiver's name.
pub(crate) const LONGEST_SETTING: usize = 500;

/// Posts each notification as the body of an [Alertmanager webhook], version 4, with one alert in it.
///
/// Labels are `alertname`, `instance` and `severity`; annotations `summary`, `alertId` and, where
/// there is one, `cleanupId`. The fingerprint is the one that Alertmanager gives these labels. A
/// reminder has the fingerprint and `startsAt` of the first notification. A test of the sinks has
/// the alert name `PlimsollTest` and ends by itself after 5 min.
///
/// Answers other than 2xx fail; 408, 425, 429 and 5xx are tried again, after `Retry-After` where
/// it is given.
///
/// [Alertmanager webhook]: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
pub struct WebhookSink {
    name: String,
    receiver: String,
    dashboard: String,
    client: Client,
    signer: Option<Signer>,
    buffer: PayloadBuffer,
}

impl WebhookSink {
    /// A sink named `webhook` that signs nothing.
    ///
    /// # Errors
    /// For an `https` URL without the feature `tls`, and for one whose host can have no certificate.
    pub fn new(url: AlertUrl) -> Result<Self, AlertUrlError> {
        Ok(Self {
            name: "webhook".to_owned(),
            receiver: "plimsoll".to_owned(),
            dashboard: String::new(),
            client: Client::new(url)?,
            signer: None,
            buffer: PayloadBuffer::new(),
        })
    }

    /// Sets the name in logs, metrics and test results, which tells two webhooks apart. Default:
    /// `webhook`.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets `receiver` in the body, cut to 500 characters. Default: `plimsoll`.
    #[must_use]
    pub fn receiver(mut self, receiver: impl Into<String>) -> Self {
        self.receiver = receiver.into();
        self
    }

    /// Sets the address of the dashboard, for `externalURL` and `generatorURL`, cut to 500
    /// characters. Default: empty.
    #[must_use]
    pub fn dashboard(mut self, url: impl Into<String>) -> Self {
        self.dashboard = url.into();
        self
    }

    /// Signs each body with HMAC-SHA256 in the header [`SIGNATURE_HEADER`]; receivers check it with
    /// [`verify_signature`](crate::verify_signature). A try that is repeated has the same body and
    /// signature. Default: no signature.
    #[must_use]
    pub fn signed_with(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.signer = Some(Signer::new(secret.as_ref()));
        self
    }

    /// Trusts the certificate authorities in `pem` beside the system's, for a receiver inside the
    /// house. Without effect for `http`.
    ///
    /// # Errors
    /// When the text holds no certificate, or one that cannot be trusted.
    #[cfg(feature = "tls")]
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, crate::PemError> {
        self.client.trust_pem(pem)?;
        Ok(self)
    }

    fn payload(&self, notification: &AlertNotification) -> Bytes {
        let alert = Alert::of(notification, Line::new(&self.dashboard, LONGEST_SETTING));
        self.buffer.write(&Body {
            version: "4",
            group_key: GroupKey(alert.labels.alertname),
            truncated_alerts: 0,
            status: alert.status,
            receiver: Line::new(&self.receiver, LONGEST_SETTING),
            group_labels: GroupLabels { alertname: alert.labels.alertname },
            common_labels: alert.labels,
            common_annotations: alert.annotations,
            external_url: alert.generator_url,
            alerts: [alert],
        })
    }
}

impl AlertSink for WebhookSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver(&self, notification: AlertNotification) -> Delivery<'_> {
        Box::pin(async move {
            let body = self.payload(&notification);
            let signature =
                self.signer.as_ref().map(|signer| (SIGNATURE_HEADER, signer.sign(&body)));
            self.client.post(body, signature).await
        })
    }
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink")
            .field("name", &self.name)
            .field("client", &self.client)
            .field("signed", &self.signer.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'static str,
    group_key: GroupKey<'a>,
    truncated_alerts: u64,
    status: &'static str,
    receiver: Line<'a>,
    group_labels: GroupLabels<'a>,
    common_labels: Labels<'a>,
    common_annotations: Annotations<'a>,
    #[serde(rename = "externalURL")]
    external_url: Line<'a>,
    alerts: [Alert<'a>; 1],
}

/// `{}` is the route, of which we have one; then the labels that group.
struct GroupKey<'a>(&'a str);

impl Serialize for GroupKey<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{{}}:{{alertname=\"{}\"}}", self.0))
    }
}

#[derive(Serialize)]
struct GroupLabels<'a> {
    alertname: &'a str,
}

#[derive(Clone, Copy, Serialize)]
struct Labels<'a> {
    alertname: &'a str,
    instance: Line<'a>,
    severity: &'a str,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotations<'a> {
    summary: Line<'a>,
    alert_id: Line<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup_id: Option<Line<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: Labels<'a>,
    annotations: Annotations<'a>,
    starts_at: Moment,
    ends_at: Moment,
    #[serde(rename = "generatorURL")]
    generator_url: Line<'a>,
    fingerprint: Fingerprint,
}

impl<'a> Alert<'a> {
    fn of(notification: &'a AlertNotification, dashboard: Line<'a>) -> Self {
        let is_test = notification.kind == NotificationKind::Test;
        let resolved = notification.kind == NotificationKind::Resolved;
        let labels = Labels {
            alertname: if is_test { TEST_ALERT } else { notification.name.as_str() },
            instance: Line::new(&notification.instance, INSTANCE),
            severity: notification.severity.as_str(),
        };
        let ends_at = match notification.resolved_at {
            Some(at) => Some(at),
            None if is_test => Some(notification.since + TEST_LASTS),
            None => None,
        };
        Self {
            status: if resolved { "resolved" } else { "firing" },
            labels,
            annotations: Annotations {
                summary: Line::new(&notification.summary, SUMMARY),
                alert_id: Line::new(&notification.id, ID),
                cleanup_id: notification.cleanup_id.as_deref().map(|id| Line::new(id, ID)),
            },
            starts_at: Moment(Some(notification.since)),
            ends_at: Moment(ends_at),
            generator_url: dashboard,
            fingerprint: Fingerprint(fingerprint(&[
                ("alertname", &labels.alertname),
                ("instance", &labels.instance),
                ("severity", &labels.severity),
            ])),
        }
    }
}

/// A moment of the wall clock since 1970, or the end of what goes on.
struct Moment(Option<Duration>);

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(wall) => {
                serializer.collect_str(&humantime::format_rfc3339_millis(UNIX_EPOCH + wall))
            }
            None => serializer.serialize_str(NOT_ENDED),
        }
    }
}

/// Sixteen hexadecimal digits.
struct Fingerprint(u64);

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

#[cfg(test)]
mod tests;
