//! How output looks: emoji or plain words, colour or none, and the zone of its stamps.

use std::io::{self, IsTerminal as _};

use clap::builder::styling::{AnsiColor, Style};

use crate::{
    args::{ColorWhen, Global},
    text,
    time::Zone,
    wire::Status,
};

/// Red and bold, the prefix of an error.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Green: all is well.
const GOOD: Style = AnsiColor::Green.on_default();
/// Yellow: somebody should look.
const FAIR: Style = AnsiColor::Yellow.on_default();
/// Red: somebody must act.
const BAD: Style = AnsiColor::Red.on_default();

/// Decided once at the start; rendering is a pure function of it and the server's answer.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Nothing outside ASCII is printed.
    pub(crate) ascii: bool,
    /// Standard output gets colour.
    pub(crate) color: bool,
    /// Standard error gets colour.
    pub(crate) error_color: bool,
    /// The zone of every stamp.
    pub(crate) zone: Zone,
}

/// A symbol in front of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Fair,
    Bad,
}

impl Look {
    /// Reads flags, environment and terminals.
    pub(crate) fn new(global: &Global) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            ascii: global.ascii || is_ascii_only(&variable),
            color: is_colored(global.color, io::stdout().is_terminal(), &variable),
            error_color: is_colored(global.color, io::stderr().is_terminal(), &variable),
            zone: if global.utc { Zone::utc() } else { Zone::local() },
        }
    }

    /// An emoji with the space after it; nothing where only ASCII is wanted.
    pub(crate) fn emoji(&self, emoji: &'static str) -> String {
        if self.ascii { String::new() } else { format!("{emoji} ") }
    }

    /// The arrow between before and after.
    pub(crate) fn arrow(&self) -> &'static str {
        if self.ascii { "->" } else { "→" }
    }

    /// The symbol in front of a finding.
    pub(crate) fn mark(&self, mark: Mark) -> &'static str {
        match (mark, self.ascii) {
            (Mark::Good, false) => "✅",
            (Mark::Fair, false) => "⚠️",
            (Mark::Bad, false) => "❌",
            (Mark::Good, true) => "[ok]  ",
            (Mark::Fair, true) => "[warn]",
            (Mark::Bad, true) => "[fail]",
        }
    }

    /// A status with its symbol: `✅ healthy`.
    pub(crate) fn status(&self, status: &Status) -> String {
        self.status_word(status, &status.word())
    }

    /// A status with its symbol in capitals: `✅ HEALTHY`.
    pub(crate) fn loud_status(&self, status: &Status) -> String {
        match status {
            Status::Missing => self.status(status),
            _ => self.status_word(status, &status.word().to_uppercase()),
        }
    }

    fn status_word(&self, status: &Status, word: &str) -> String {
        let (emoji, style) = match status {
            Status::Healthy => (self.emoji("✅"), GOOD),
            Status::Warning => (self.emoji("⚠️"), FAIR),
            Status::Critical => (self.emoji("🚨"), BAD),
            Status::Other(_) | Status::Missing => return self.foreign(word),
        };
        format!("{emoji}{}", self.paint(style, word))
    }

    /// Colours text for standard output.
    fn paint(&self, style: Style, text: &str) -> String {
        paint(self.color, style, text)
    }

    /// Text of the server, made printable.
    pub(crate) fn foreign(&self, text: &str) -> String {
        let cleaned = text::clean(text);
        if !self.ascii || cleaned.is_ascii() {
            return cleaned;
        }
        let mut ascii = String::with_capacity(cleaned.len());
        for character in cleaned.chars() {
            if character.is_ascii() {
                ascii.push(character);
            } else {
                ascii.extend(character.escape_unicode());
            }
        }
        ascii
    }
}

/// Wraps text in a style, or leaves it alone.
pub(crate) fn paint(colored: bool, style: Style, text: &str) -> String {
    if colored { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// The rules of no-color.org and of `CLICOLOR`; an explicit flag wins over all of them.
fn is_colored(
    when: ColorWhen,
    is_terminal: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto if variable("NO_COLOR").is_some() => false,
        ColorWhen::Auto if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        ColorWhen::Auto => {
            is_terminal
                && variable("CLICOLOR").is_none_or(|value| value != "0")
                && variable("TERM").is_none_or(|value| value != "dumb")
        }
    }
}

/// True on a dumb terminal and in a locale that names another character set than UTF-8.
///
/// No locale at all is what containers have, and says nothing about the terminal.
fn is_ascii_only(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    if variable("TERM").is_some_and(|value| value == "dumb") {
        return true;
    }
    ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        !(locale.contains("utf-8") || locale.contains("utf8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(
        pairs: &'static [(&'static str, &'static str)],
    ) -> impl Fn(&str) -> Option<String> {
        move |name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn colour_follows_flag_then_variables_then_terminal() {
        type Case = (ColorWhen, bool, &'static [(&'static str, &'static str)], bool);
        let cases: [Case; 10] = [
            (ColorWhen::Auto, true, &[], true),
            (ColorWhen::Auto, false, &[], false),
            (ColorWhen::Auto, true, &[("NO_COLOR", "1")], false),
            (ColorWhen::Auto, true, &[("CLICOLOR", "0")], false),
            (ColorWhen::Auto, true, &[("CLICOLOR", "1")], true),
            (ColorWhen::Auto, false, &[("CLICOLOR", "1")], false),
            (ColorWhen::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (ColorWhen::Auto, true, &[("TERM", "dumb")], false),
            (ColorWhen::Always, false, &[("NO_COLOR", "1")], true),
            (ColorWhen::Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ];
        for (when, is_terminal, pairs, colored) in cases {
            assert_eq!(is_colored(when, is_terminal, &variables(pairs)), colored, "{pairs:?}");
        }
    }

    #[test]
    fn emoji_need_a_terminal_and_a_locale_that_can_show_them() {
        type Case = (&'static [(&'static str, &'static str)], bool);
        let cases: [Case; 8] = [
            (&[], false),
            (&[("LANG", "C.UTF-8")], false),
            (&[("LANG", "de_DE.utf8")], false),
            (&[("LANG", "C")], true),
            (&[("LANG", "de_DE.ISO-8859-1")], true),
            (&[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")], true),
            (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], false),
            (&[("TERM", "dumb"), ("LANG", "C.UTF-8")], true),
        ];
        for (pairs, ascii) in cases {
            assert_eq!(is_ascii_only(&variables(pairs)), ascii, "{pairs:?}");
        }
    }
}
