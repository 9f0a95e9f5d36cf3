//! What travels over the sockets, and the checks it passes first.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Characters of a person's or a room's name.
pub(crate) const NAME_CHARS: RangeInclusive<usize> = 1..=32;
/// Characters of a message.
pub(crate) const BODY_CHARS: RangeInclusive<usize> = 1..=2000;

/// A name that passed the checks: of a person or of a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub(crate) struct Name(Arc<str>);

impl Name {
    /// Trims and checks a name; `field` is what the refusal calls it.
    pub(crate) fn parse(field: &'static str, text: &str) -> Result<Self, InvalidText> {
        let text = text.trim();
        check(field, text, NAME_CHARS, |c| !c.is_control())?;
        Ok(Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a message that passed the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body(String);

impl Body {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidText> {
        let text = text.trim();
        check("body", text, BODY_CHARS, |c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))?;
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name or a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidText {
    #[error("{field} has {chars} characters, accepted are {} to {}", range.start(), range.end())]
    Length { field: &'static str, chars: usize, range: RangeInclusive<usize> },
    #[error("{field} contains a control character")]
    Control { field: &'static str },
}

fn check(
    field: &'static str,
    text: &str,
    range: RangeInclusive<usize>,
    accepted: impl Fn(char) -> bool,
) -> Result<(), InvalidText> {
    let chars = text.chars().count();
    if !range.contains(&chars) {
        Err(InvalidText::Length { field, chars, range })
    } else if !text.chars().all(accepted) {
        Err(InvalidText::Control { field })
    } else {
        Ok(())
    }
}

/// A message as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// Grows with every message of the server.
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) body: String,
    /// Unix time in seconds.
    pub(crate) at: i64,
}

/// A frame from a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum ClientFrame {
    Message { body: String },
}

/// A frame to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum ServerFrame<'a> {
    /// First frame of a connection: who and where, and what was said last, oldest first.
    Welcome { name: &'a Name, room: &'a Name, messages: &'a [Message] },
    /// Somebody said something.
    Message(&'a Message),
    /// Somebody came.
    Joined { name: &'a Name },
    /// Somebody went.
    Left { name: &'a Name },
    /// The client's own frame was refused; nobody else hears of it.
    Error { error: &'a str },
}

impl ServerFrame<'_> {
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("strings and integers always serialize")
    }

    /// The same for Socket.IO: the type is the name of the event, the rest its data.
    pub(crate) fn to_event(&self) -> (String, Value) {
        let mut data = serde_json::to_value(self).expect("strings and integers always serialize");
        let name = data.as_object_mut().and_then(|frame| frame.remove("type"));
        let name = name.as_ref().and_then(Value::as_str).unwrap_or("message").to_owned();
        (name, data)
    }
}

/// Reads one text frame of a client as a message to post.
pub(crate) fn read_frame(text: &str) -> Result<Body, String> {
    match serde_json::from_str(text) {
        Ok(ClientFrame::Message { body }) => Body::parse(&body).map_err(|error| error.to_string()),
        Err(error) => Err(format!("expected {{\"type\":\"message\",\"body\":\"...\"}}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_characters_and_both_ends_are_accepted() {
        for (chars, good) in [(0, false), (1, true), (32, true), (33, false)] {
            assert_eq!(Name::parse("name", &"ä".repeat(chars)).is_ok(), good, "{chars}");
        }
        for (chars, good) in [(0, false), (1, true), (2000, true), (2001, false)] {
            assert_eq!(Body::parse(&"ä".repeat(chars)).is_ok(), good, "{chars}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_the_value_and_the_range() {
        let error = Name::parse("room", &"x".repeat(40)).unwrap_err().to_string();
        assert_eq!(error, "room has 40 characters, accepted are 1 to 32");
    }

    #[test]
    fn blanks_are_trimmed_before_the_length_is_checked() {
        assert_eq!(Name::parse("name", "  Ada ").unwrap().as_str(), "Ada");
        assert!(Name::parse("name", "   ").is_err());
        assert!(Body::parse(" \n ").is_err());
    }

    #[test]
    fn control_characters_are_refused_but_a_message_may_have_lines() {
        assert!(Name::parse("name", "a\nb").is_err());
        assert!(Name::parse("name", "a\u{0}b").is_err());
        assert!(Body::parse("a\nb\tc").is_ok());
        assert!(Body::parse("a\u{1b}[31m").is_err());
    }

    #[test]
    fn frames_of_another_shape_are_refused_with_the_accepted_one() {
        assert_eq!(read_frame(r#"{"type":"message","body":"hi"}"#).unwrap().as_str(), "hi");
        for bad in
            ["", "hi", "[]", "{}", r#"{"type":"shout","body":"hi"}"#, r#"{"type":"message"}"#]
        {
            let error = read_frame(bad).unwrap_err();
            assert!(error.contains(r#""type":"message""#), "{bad}: {error}");
        }
        let extra = r#"{"type":"message","body":"hi","admin":true}"#;
        assert!(read_frame(extra).unwrap_err().contains("admin"));
    }

    #[test]
    fn markup_in_a_message_travels_as_text() {
        let hostile = "</script><img src=x onerror=alert(1)>\"";
        let message = Message { id: 1, name: hostile.into(), body: hostile.into(), at: 0 };
        let frame: serde_json::Value =
            serde_json::from_str(&ServerFrame::Message(&message).to_text()).unwrap();
        assert_eq!(frame["type"], "message");
        assert_eq!(frame["body"], hostile);
    }
}
