//! Foreign text on its way out: bounded, on one line, and free of markup.

use std::fmt::{self, Display, Write as _};

use serde::{Serialize, Serializer};

/// Text of the program (pruner names, error texts, the instance) cut to `most` characters, with
/// control characters as spaces: what a receiver shows as one line stays one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    pub(crate) most: usize,
}

impl<'a> Line<'a> {
    pub(crate) fn new(text: &'a str, most: usize) -> Self {
        Self { text, most }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, character) in self.text.chars().enumerate() {
            if place == self.most {
                return f.write_str("...");
            }
            f.write_char(if is_shown(character) { character } else { ' ' })?;
        }
        Ok(())
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Anything, with the three characters escaped that begin a link, a mention or an entity in Slack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlackEscaped<T>(pub(crate) T);

impl<T: Display> Display for SlackEscaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Neither a control character nor a mark that reorders or hides what stands beside it.
fn is_shown(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_of_bounded_length() {
        assert_eq!(Line::new("a\x1b[31m\nb\u{202e}c", 99).to_string(), "a [31m b c");
        assert_eq!(Line::new("größer", 3).to_string(), "grö...");
        assert_eq!(Line::new("größer", 6).to_string(), "größer");
        let long = "x".repeat(10_000);
        assert_eq!(Line::new(&long, 500).to_string().len(), 503);
    }

    #[test]
    fn markup_of_slack_is_text() {
        let hostile = Line::new("<!channel> & <http://x|y>", 99);
        assert_eq!(SlackEscaped(hostile).to_string(), "&lt;!channel&gt; &amp; &lt;http://x|y&gt;");
    }
}
