//! `watch`: the full screen.
//!
//! ```text
//! keys, stream, polls, actions ──Event──▶ State::apply ──▶ Effect ──▶ threads that ask the server
//!                                             │
//!                                             ▼
//!                                       draw (pure) ──▶ Screen: only what changed is written
//! ```
//!
//! [`State`] and [`draw`] are pure: they see the time as a number and the server as events, so
//! tests draw every state into a buffer. What reads and writes stands in `run`, `net` and
//! `screen`.

mod dialog;
mod draw;
mod event;
mod keys;
mod net;
mod run;
mod screen;
mod seen;
mod series;
mod sse;
mod state;
#[cfg(test)]
mod tests;
mod theme;

pub(crate) use self::run::run;
