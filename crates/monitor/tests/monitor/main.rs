//! The routes from outside: requests in, answers out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, in helpers too")]

mod access;
mod alerts;
mod bad_input;
mod cleanup;
mod dashboard;
mod document;
mod hosts;
mod metrics;
mod probes;
mod readiness;
mod report;
mod schema;
mod sockets;
mod stream;
mod support;
mod thresholds;
