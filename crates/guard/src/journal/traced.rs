//! Errors that a program logs with `tracing`, in its error log as well.

use std::fmt::{self, Write};

use plimsoll_core::ErrorLog;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber_core::{Layer, layer::Context};

/// As much of a text as an error log keeps: the rest need not be written at all.
const LONGEST_TEXT: usize = 1_024;

/// A layer of a `tracing` subscriber that notes events of level `ERROR` in an [`ErrorLog`].
///
/// What is noted is the event's target, its message and its field `error`. Other fields are left out:
/// they are different each time, and an error that repeats is to be one entry.
///
/// ```
/// use plimsoll_core::ErrorLog;
/// use plimsoll_guard::TracedErrors;
/// # use tracing_subscriber_core as tracing_subscriber;
/// use tracing_subscriber::prelude::*;
///
/// let errors = ErrorLog::new();
/// let subscriber = tracing_subscriber::registry().with(TracedErrors::new(&errors));
/// tracing::subscriber::with_default(subscriber, || {
///     for attempt in 0..3 {
///         tracing::error!(target: "mail", attempt, error = "refused", "cannot send");
///     }
/// });
/// let newest = &errors.newest(1)[0];
/// assert_eq!((newest.source.as_str(), newest.count), ("mail", 3));
/// assert_eq!(newest.message, "cannot send: refused");
/// ```
#[derive(Clone, Debug)]
pub struct TracedErrors {
    errors: ErrorLog,
    least: Level,
}

impl TracedErrors {
    /// Notes in `errors`.
    pub fn new(errors: &ErrorLog) -> Self {
        Self { errors: errors.clone(), least: Level::ERROR }
    }

    /// Notes warnings as well. Default: errors alone.
    #[must_use]
    pub fn with_warnings(mut self) -> Self {
        self.least = Level::WARN;
        self
    }
}

impl<S: Subscriber> Layer<S> for TracedErrors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Of levels the more verbose is the greater.
        if *event.metadata().level() > self.least {
            return;
        }
        let mut told = Told::default();
        event.record(&mut told);
        let text = told.joined();
        let metadata = event.metadata();
        // Its name is where it stands in the sources.
        let text = if text.is_empty() { metadata.name() } else { &text };
        self.errors.record(metadata.target(), text);
    }
}

/// The two fields that say what went wrong.
#[derive(Default)]
struct Told {
    message: Limited,
    error: Limited,
}

impl Told {
    fn joined(self) -> String {
        match (self.message.0.is_empty(), self.error.0.is_empty()) {
            (false, false) => format!("{}: {}", self.message.0, self.error.0),
            (true, _) => self.error.0,
            (false, true) => self.message.0,
        }
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "error" => &mut self.error,
            _ => return,
        };
        // It ends early where the text is long enough.
        let _ = write!(text, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without the quotes that `Debug` puts around it.
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// A text that stops growing.
#[derive(Default)]
struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = LONGEST_TEXT.saturating_sub(self.0.len());
        if more.len() <= room {
            self.0.push_str(more);
            return Ok(());
        }
        let end = (0..=room).rev().find(|&end| more.is_char_boundary(end)).unwrap_or(0);
        self.0.push_str(&more[..end]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber_core::{self as tracing_subscriber, prelude::*};

    use super::*;

    fn noted(
        layer: impl Fn(TracedErrors) -> TracedErrors,
        act: impl FnOnce(),
    ) -> Vec<(String, u64)> {
        let errors = ErrorLog::new();
        let subscriber = tracing_subscriber::registry().with(layer(TracedErrors::new(&errors)));
        tracing::subscriber::with_default(subscriber, act);
        errors.newest(9).into_iter().map(|entry| (entry.message, entry.count)).collect()
    }

    #[test]
    fn errors_are_noted_and_warnings_where_they_are_asked_for() {
        let act = || {
            let cause = std::io::Error::other("disk gone");
            tracing::error!(error = &cause as &dyn std::error::Error, id = 7, "cannot save");
            tracing::error!(error = %cause, id = 8, "cannot save");
            tracing::error!(code = 3);
            tracing::warn!("slow");
            tracing::info!("fine");
        };
        let saved = ("cannot save: disk gone".to_owned(), 2);
        let errors = noted(|layer| layer, act);
        assert_eq!((errors.len(), &errors[1]), (2, &saved));
        assert!(errors[0].0.contains("traced.rs"), "one without a text is told by its place");
        let slow = ("slow".to_owned(), 1);
        let all = noted(TracedErrors::with_warnings, act);
        assert_eq!((all.len(), &all[0], &all[2]), (3, &slow, &saved));
    }

    #[test]
    fn a_text_without_an_end_is_not_written_out() {
        struct Endless;
        impl fmt::Debug for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("äöü")?;
                }
            }
        }
        let noted = noted(|layer| layer, || tracing::error!(error = ?Endless, "never"));
        assert!((1_000..=1_024).contains(&noted[0].0.len()), "{}", noted[0].0.len());
    }
}
