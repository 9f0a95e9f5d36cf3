//! Alerts: rules over the facts of a check, a book that turns them into pending, firing and
//! resolved, and sinks that are told.
//!
//! The book is a pure state machine of (state, now, facts). The rules know no numbers of their
//! own: they read the level and the watermarks that everything else acts on. Sinks run on tasks
//! of their own with bounded queues, so nothing here ever holds up the sampler.
//!
//! ```text
//! AlertFacts ─▶ AlertBook::evaluate ─▶ AlertChanges ─▶ states: stream, report
//!                                           └─ notifications ─▶ AlertSinks ─▶ log, SinkQueue ─▶ AlertSink
//! ```

mod book;
mod desk;
mod queue;
mod rules;
mod sink;
mod sinks;
mod state;

pub use self::{
    book::{AlertBook, AlertConfig, LONGEST_SILENCE, SilenceError, UnknownAlert},
    desk::AlertDesk,
    queue::{SinkQueue, SinkStats},
    rules::{AlertFacts, AlertName, CleanupFact, Severity, UnknownAlertName},
    sink::{AlertSink, Delivery, FnSink, LogSink, SinkError},
    sinks::{AlertSinks, SinkTest},
    state::{AlertChanges, AlertNotification, AlertPhase, AlertState, NotificationKind, Silence},
};
