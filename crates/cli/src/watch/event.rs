//! What the screen is told, and what it asks for.

use serde_json::Value;

use crate::{
    exit::Exit,
    failure::Failure,
    wire::{Aggressive, Live, Route, ThresholdsChanged},
};

/// Everything that can change the state.
#[derive(Debug)]
pub(super) enum Event {
    Key(Key),
    /// Another size, or time for the ages on the screen to grow.
    Redraw,
    /// A signal, or a terminal that has gone.
    Stop(Exit),
    /// The event stream is open.
    StreamOpened,
    /// An event of the stream: its name and its JSON.
    Streamed(String, Value),
    /// The stream ended or cannot be opened.
    StreamEnded(Trouble),
    /// The regular questions, answered or not.
    Polled(Box<Result<Polled, Trouble>>),
    /// Whether the server lets this caller change things; `None` if that is not known.
    Access(Option<bool>),
    /// What the aggressive cleanup would do.
    Planned(Result<Aggressive, Trouble>),
    /// A cleanup has ended.
    Cleaned(Result<Aggressive, Trouble>),
    /// New thresholds are in force, or were refused.
    Changed(Result<ThresholdsChanged, Trouble>),
}

/// Answers to the regular questions.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) live: Live,
    /// When the server answered, in milliseconds since 1970 on its own clock.
    pub(super) server_now: Option<i64>,
    /// `None` if the server did not tell them.
    pub(super) routes: Option<Vec<Route>>,
}

/// A failure in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) help: Option<String>,
    /// The server knows who asks and says no.
    pub(super) denied: bool,
}

impl From<&Failure> for Trouble {
    fn from(failure: &Failure) -> Self {
        Self {
            reason: failure.passing().unwrap_or_else(|| failure.to_string()),
            help: failure.help(),
            denied: failure.exit() == Exit::NotAllowed,
        }
    }
}

/// The keys that mean something; the terminal's other ones never arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C, which a terminal in raw mode sends as a key.
    Interrupt,
}

/// What is to be done outside.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Quit(Exit),
    /// Cleans up at the level deserved.
    Cleanup,
    /// Asks what an aggressive cleanup would delete.
    Plan,
    /// Runs the database rules and the aggressive cleanup.
    Aggressive,
    /// Changes the thresholds; the `thresholds` member of the request.
    Thresholds(Value),
}
