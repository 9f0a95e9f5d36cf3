//! The guard as a service, as a body, and under every host it is meant for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod answers;
mod body;
mod bounds;
mod charging;
mod cost;
mod generic;
mod hosts;
mod journal;
mod readiness;
mod reservation;
mod support;
