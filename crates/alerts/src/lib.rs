//! Alert sinks of Plimsoll: the webhook body of Alertmanager, and Slack.
//!
//! ```
//! use plimsoll_alerts::{AlertUrl, WebhookSink};
//!
//! let url: AlertUrl = "http://127.0.0.1:9093/hook?key=s3cret".parse()?;
//! let pager = WebhookSink::new(url)?.signed_with("a long shared secret").named("pager");
//! // Plimsoll::builder().alert_sink(pager)
//! assert!(!format!("{pager:?}").contains("s3cret"));
//! # Ok::<(), plimsoll_alerts::AlertUrlError>(())
//! ```
//!
//! A closure is a sink too: [`FnSink`] of the core, here again.
//!
//! **What it does:** one `POST` for each notification. Queue, bounds, tries, `Retry-After` and the
//! rule that "resolved" follows only a delivered "firing" are those of
//! [`AlertSinks`](plimsoll_core::alerts::AlertSinks): 64 notifications wait for a sink at most, each
//! is tried three times for at most 5 s, on a task that holds up nobody.
//!
//! **Under pressure:** a payload is written into a buffer of 16 KiB that each sink allocates when it
//! is made, with every text cut to a bound, so that the alert about missing memory asks for next to
//! none. The answer's body is not read.
//!
//! **Secrets:** a URL is shown by nothing here: not by `Debug`, not by errors, not by what a failed
//! delivery says. Redirects are not followed, since the new place was not chosen by the operator.
//!
//! # Why not a ready HTTP client
//! A notification every few minutes needs neither a pool nor HTTP/2. `hyper`, which a server has
//! anyway, speaks HTTP over one connection in the delivery's own future: a try that is given up takes
//! its connection with it, which a client on threads (ureq) or with background tasks cannot promise.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tls` | no | `https://` URLs, by rustls with the system's certificate authorities (or those of the file that `SSL_CERT_FILE` names) |
//!
//! The minimum supported Rust version is the workspace's `rust-version`.
#![forbid(unsafe_code)]

mod answer;
mod client;
mod env;
mod fingerprint;
mod payload;
mod signature;
mod slack;
mod text;
#[cfg(feature = "tls")]
mod tls;
mod url;
mod webhook;

pub use plimsoll_core::alerts::{AlertNotification, AlertSink, FnSink, SinkError};

#[cfg(feature = "tls")]
pub use self::tls::PemError;
pub use self::{
    env::{EnvSinkError, EnvSinks},
    signature::{SIGNATURE_HEADER, verify_signature},
    slack::SlackSink,
    url::{AlertUrl, AlertUrlError},
    webhook::WebhookSink,
};
