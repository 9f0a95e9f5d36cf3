//! Pure functions from the server's answers to text.
//!
//! The shapes that scripts read are fixed by golden files under `tests/golden`. Everything of the
//! server that is no number passes [`Look::foreign`](crate::look::Look::foreign).

mod aggressive;
mod alerts;
mod cleanup;
mod details;
mod doctor;
pub(crate) mod findings;
mod monitor;
pub(crate) mod outlook;
mod report;
mod table;
mod thresholds;

#[cfg(feature = "tui")]
pub(crate) use self::report::freed;
pub(crate) use self::{
    aggressive::{NO_RULES, NONE_RAN, question, rules},
    alerts::{alerts, sinks_tested},
    cleanup::cleanup,
    details::details,
    doctor::{Finding, doctor},
    monitor::{check, monitor_line},
    report::report,
    thresholds::{thresholds, thresholds_changed},
};
