//! What can lie over the screen.

use serde_json::Value;

use crate::{threshold::Change, wire::Aggressive};

/// Longest text that the editor takes; no pair of thresholds is longer.
const LONGEST_INPUT: usize = 60;

/// The one thing that lies over the screen, if anything.
#[derive(Clone, Debug, Default)]
pub(super) enum Dialog {
    #[default]
    None,
    Help,
    /// The dry run of an aggressive cleanup is under way.
    Planning,
    /// It is done, and somebody has to agree.
    Confirm {
        plan: Box<Aggressive>,
        scroll: usize,
    },
    Thresholds(Editor),
}

/// A pair of thresholds as it is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Editor {
    pub(super) text: String,
    /// Why the last attempt was refused: the tool's or the server's own words.
    pub(super) error: Option<String>,
    /// The server has been asked and has not answered yet.
    pub(super) sending: bool,
}

impl Editor {
    /// Starts with the pair in force.
    pub(super) fn new(warning: Option<u64>, critical: Option<u64>) -> Self {
        let side = |side: Option<u64>| side.map_or_else(String::new, |side| side.to_string());
        let text = match (warning, critical) {
            (None, None) => String::new(),
            (warning, critical) => format!("{},{}", side(warning), side(critical)),
        };
        Self { text, ..Self::default() }
    }

    /// Adds a character that a pair can hold; others are no input.
    pub(super) fn push(&mut self, character: char) {
        let fits = character.is_ascii_alphanumeric() || matches!(character, '.' | ',' | '%' | ' ');
        if fits && !self.sending && self.text.len() < LONGEST_INPUT {
            self.text.push(character);
            self.error = None;
        }
    }

    /// Takes the last character away.
    pub(super) fn pop(&mut self) {
        if !self.sending {
            self.text.pop();
            self.error = None;
        }
    }

    /// The change to ask for; `None` leaves the reason in `error`.
    pub(super) fn submit(&mut self) -> Option<Value> {
        if self.sending {
            return None;
        }
        let words: Vec<String> = self.text.split_whitespace().map(str::to_owned).collect();
        match Change::parse(&words) {
            Ok(Some(change)) => {
                self.sending = true;
                self.error = None;
                Some(change.wire())
            }
            Ok(None) => {
                self.error = Some("no threshold given: write warning,critical".to_owned());
                None
            }
            Err(failure) => {
                self.error = Some(failure.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        text.chars().for_each(|character| editor.push(character));
        editor
    }

    #[test]
    fn what_is_typed_is_what_the_command_takes() {
        assert_eq!(
            typed("1500, 2.5GB").submit(),
            Some(json!({"warning": 1500, "critical": "2.5GB"}))
        );
        assert_eq!(typed(",80%").submit(), Some(json!({"critical": "80%"})));
        let mut editor = typed("3000,2000");
        assert_eq!(editor.submit(), None);
        let error = editor.error.clone().unwrap();
        assert_eq!(error, "warning (3000MB) must be lower than critical (2000MB)");
        editor.pop();
        assert_eq!((editor.text.as_str(), editor.error), ("3000,200", None));
        assert!(typed("").submit().is_none());
        assert!(typed("a b c").submit().is_none());
    }

    #[test]
    fn nothing_is_sent_twice_and_hostile_keys_are_no_input() {
        let mut editor = typed("1\u{1b}[,2\u{7f};|");
        assert_eq!(editor.text, "1,2");
        assert!(editor.submit().is_some() && editor.submit().is_none());
        editor.push('3');
        assert_eq!(editor.text, "1,2");
        assert_eq!(typed(&"9".repeat(1_000)).text.len(), LONGEST_INPUT);
    }

    #[test]
    fn it_starts_with_what_is_in_force() {
        assert_eq!(Editor::new(Some(2_000), Some(3_000)).text, "2000,3000");
        assert_eq!(Editor::new(None, None).text, "");
    }
}
