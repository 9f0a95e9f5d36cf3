//! Colours, symbols and text that fits: what makes one screen serve every terminal.

use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthChar as _;

use crate::{look::Look, wire::Status};

/// How the screen looks; a pure function of the flags and the environment.
#[derive(Clone, Debug)]
pub(super) struct Theme {
    /// Never colours by itself: that is the buffer's part here.
    pub(super) look: Look,
    color: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Fair,
    Bad,
    Dim,
    Loud,
}

/// Symbols of the chart and the bar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbols {
    /// Eighths of a cell, from nothing to full.
    pub(super) bars: [&'static str; 9],
    pub(super) warning: &'static str,
    pub(super) critical: &'static str,
    pub(super) cut: &'static str,
    pub(super) rule: &'static str,
    /// Live, buffers, retained, external.
    pub(super) parts: [&'static str; 4],
    pub(super) dot: &'static str,
    pub(super) more: char,
}

const UNICODE: Symbols = Symbols {
    bars: [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    warning: "┄",
    critical: "━",
    cut: "┊",
    rule: "─",
    parts: ["█", "▓", "▒", "░"],
    dot: "·",
    more: '…',
};

const ASCII: Symbols = Symbols {
    bars: [" ", ".", ".", ".", ":", ":", ":", ":", "#"],
    warning: "-",
    critical: "=",
    cut: "|",
    rule: "-",
    parts: ["#", "=", "+", "."],
    dot: "|",
    more: '~',
};

impl Theme {
    /// Takes over what the other commands decided from flags and environment.
    pub(super) fn new(look: &Look) -> Self {
        let color = look.color;
        Self { look: Look { color: false, error_color: false, ..look.clone() }, color }
    }

    /// The symbols that the terminal can show.
    pub(super) fn symbols(&self) -> &'static Symbols {
        if self.look.ascii { &ASCII } else { &UNICODE }
    }

    /// The style of a tone. Without colour, what matters is bold and what does not is plain.
    pub(super) fn style(&self, tone: Tone) -> Style {
        let colored = |color| if self.color { Style::new().fg(color) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => colored(Color::Green),
            Tone::Fair => colored(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Bad => colored(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Dim => colored(Color::DarkGray),
            Tone::Loud => Style::new().add_modifier(Modifier::BOLD),
        }
    }

    /// Icon and word of a level, and their tone. The icons are one cell wide on every terminal,
    /// which emoji are not.
    pub(super) fn status(&self, status: &Status) -> (String, Tone) {
        let (unicode, ascii, tone) = match status {
            Status::Healthy => ("✓", "[ok]", Tone::Good),
            Status::Warning => ("!", "[!]", Tone::Fair),
            Status::Critical => ("✗", "[X]", Tone::Bad),
            Status::Other(_) | Status::Missing => ("?", "[?]", Tone::Fair),
        };
        let icon = if self.look.ascii { ascii } else { unicode };
        let word = match status {
            Status::Missing => "unknown".to_owned(),
            status => status.word(),
        };
        (format!("{icon} {}", self.foreign(&word).to_uppercase()), tone)
    }

    /// Text of the server, made harmless and measurable: escapes for what a terminal acts on, and
    /// no marks that pile up on one cell.
    pub(super) fn foreign(&self, text: &str) -> String {
        let cleaned = self.look.foreign(text);
        cleaned
            .chars()
            .filter(|character| character.width().is_some_and(|width| width > 0))
            .collect()
    }

    /// Cuts text to so many cells; what was cut off leaves a mark.
    pub(super) fn fit(&self, text: &str, cells: usize) -> String {
        let width = |text: &str| {
            text.chars().filter_map(unicode_width::UnicodeWidthChar::width).sum::<usize>()
        };
        if width(text) <= cells {
            return text.to_owned();
        }
        let mut cut = String::new();
        let mut left = cells.saturating_sub(1);
        for character in text.chars() {
            let own = character.width().unwrap_or(0);
            if own > left {
                break;
            }
            left -= own;
            cut.push(character);
        }
        if cells > 0 {
            cut.push(self.symbols().more);
        }
        cut
    }
}

/// The tone of a level.
pub(super) fn tone(status: &Status) -> Tone {
    match status {
        Status::Healthy => Tone::Good,
        Status::Warning => Tone::Fair,
        Status::Critical => Tone::Bad,
        Status::Other(_) | Status::Missing => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Zone;

    fn theme(ascii: bool) -> Theme {
        Theme::new(&Look { ascii, color: false, error_color: false, zone: Zone::utc() })
    }

    #[test]
    fn text_is_cut_by_cells_and_not_by_characters() {
        let theme = theme(false);
        assert_eq!(theme.fit("größe", 5), "größe");
        assert_eq!(theme.fit("größer", 5), "größ…");
        assert_eq!(theme.fit("日本語", 5), "日本…");
        assert_eq!(theme.fit("日本語", 4), "日…");
        assert_eq!(theme.fit("x", 0), "");
    }

    #[test]
    fn hostile_text_is_bounded_and_has_one_cell_a_character_at_least() {
        let theme = theme(false);
        let hostile = format!("\x1b[2J\u{202e}{}", "e\u{301}".repeat(10_000));
        let shown = theme.foreign(&hostile);
        assert!(shown.starts_with(r"\u{1b}[2J\u{202e}eee"), "{shown}");
        assert!(shown.chars().count() < 600);
        assert!(shown.chars().all(|character| character.width().is_some_and(|width| width > 0)));
    }
}
