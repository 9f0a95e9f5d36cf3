//! Where notifications go.

use std::{error::Error, fmt, future::Future, pin::Pin, time::Duration};

use super::{
    rules::Severity,
    state::{AlertNotification, NotificationKind},
};

/// The future of one delivery.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + 'a>>;

/// Takes notifications somewhere: to a pager, a chat, a closure.
///
/// A delivery runs on a task of its own: it may take its time, fail or panic. It is tried three
/// times, each for at most 5 s.
///
/// # Cancel safety
/// A try that takes too long is dropped at an await point. One that is under way when its alert
/// resolves is awaited, so that it is known whether "resolved" has to follow; only no other try is
/// made.
pub trait AlertSink: Send + Sync + 'static {
    /// What the sink is called in logs, metrics and test results, such as `slack`.
    fn name(&self) -> &str;

    /// Delivers one notification.
    ///
    /// # Errors
    /// Says why not, and whether trying again makes sense. The text ends up in logs and answers,
    /// so it must hold neither a URL nor a token.
    fn deliver(&self, notification: AlertNotification) -> Delivery<'_>;
}

/// Why a delivery failed.
#[derive(Debug)]
pub struct SinkError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
    permanent: bool,
}

impl SinkError {
    /// A failure that may pass, so that it is tried again.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None, retry_after: None, permanent: false }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds how long the other side wants to be left alone.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Marks a failure that trying again cannot mend, such as a refused token.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// How long the other side wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether trying again is of no use.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Writes notifications to the log, target `plimsoll::alerts`: critical as an error, warning as
/// a warning, the rest as information. Synchronous, so it needs no queue and is always on.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSink;

impl LogSink {
    /// The sink's name.
    pub const NAME: &'static str = "log";

    /// Writes one notification.
    pub fn log(self, notification: &AlertNotification) {
        const TARGET: &str = "plimsoll::alerts";
        let AlertNotification { id, name, kind, cleanup_id, .. } = notification;
        let (alert, kind) = (name.as_str(), kind.as_str());
        let cleanup = cleanup_id.as_deref();
        match (notification.kind, notification.severity) {
            (NotificationKind::Firing | NotificationKind::Repeat, Severity::Critical) => {
                tracing::error!(target: TARGET, id, alert, kind, cleanup, "{notification}");
            }
            (NotificationKind::Firing | NotificationKind::Repeat, Severity::Warning) => {
                tracing::warn!(target: TARGET, id, alert, kind, cleanup, "{notification}");
            }
            _ => tracing::info!(target: TARGET, id, alert, kind, cleanup, "{notification}"),
        }
    }
}

impl AlertSink for LogSink {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn deliver(&self, notification: AlertNotification) -> Delivery<'_> {
        self.log(&notification);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A sink made of a closure.
///
/// ```
/// # use plimsoll_core::alerts::{AlertSink, FnSink};
/// let sink = FnSink::new("pager", |notification| async move {
///     println!("{notification}");
///     Ok(())
/// });
/// assert_eq!(sink.name(), "pager");
/// ```
#[derive(Clone)]
pub struct FnSink<F> {
    name: String,
    deliver: F,
}

impl<F, Fut> FnSink<F>
where
    F: Fn(AlertNotification) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    /// Names the closure.
    pub fn new(name: impl Into<String>, deliver: F) -> Self {
        Self { name: name.into(), deliver }
    }
}

impl<F, Fut> AlertSink for FnSink<F>
where
    F: Fn(AlertNotification) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), SinkError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver(&self, notification: AlertNotification) -> Delivery<'_> {
        Box::pin((self.deliver)(notification))
    }
}

impl<F> fmt::Debug for FnSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnSink").field("name", &self.name).finish_non_exhaustive()
    }
}
