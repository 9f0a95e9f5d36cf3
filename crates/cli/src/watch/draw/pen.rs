//! Writing into cells, never past an edge.

use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::super::theme::{Theme, Tone};

/// A buffer and how it looks.
#[derive(Debug)]
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    pub(super) theme: &'a Theme,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, theme: &'a Theme) -> Self {
        Self { buffer, theme }
    }

    /// Writes text into at most so many cells; returns the column after it.
    pub(super) fn put(&mut self, x: u16, y: u16, cells: u16, text: &str, tone: Tone) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() {
            return x;
        }
        let cells = cells.min(area.right() - x);
        let text = self.theme.fit(text, usize::from(cells));
        let style = self.theme.style(tone);
        self.buffer.set_stringn(x, y, &text, usize::from(cells), style).0
    }

    /// Writes pieces one after the other on one row.
    pub(super) fn pieces(&mut self, area: Rect, y: u16, pieces: &[(String, Tone)]) {
        let mut x = area.x;
        for (text, tone) in pieces {
            x = self.put(x, y, area.right().saturating_sub(x), text, *tone);
        }
    }

    /// Writes text that ends at the right edge.
    pub(super) fn put_right(&mut self, area: Rect, y: u16, text: &str, tone: Tone) {
        let cells = u16::try_from(width(text)).unwrap_or(u16::MAX).min(area.width);
        self.put(area.right() - cells, y, cells, text, tone);
    }

    /// A title with a rule to the right edge; a focused one is reversed.
    pub(super) fn title(&mut self, area: Rect, text: &str, focused: bool) {
        let rule = self.theme.symbols().rule.repeat(usize::from(area.width));
        self.put(area.x, area.y, area.width, &rule, Tone::Dim);
        let text = self.theme.fit(&format!(" {text} "), usize::from(area.width.saturating_sub(1)));
        let end = self.put(area.x + 1, area.y, area.width.saturating_sub(1), &text, Tone::Loud);
        if focused {
            let title =
                Rect { x: area.x + 1, y: area.y, width: end.saturating_sub(area.x + 1), height: 1 };
            let style = self.theme.style(Tone::Loud).add_modifier(Modifier::REVERSED);
            self.buffer.set_style(title.intersection(self.buffer.area), style);
        }
    }

    /// Empties an area and draws a frame into it; returns the room inside.
    pub(super) fn frame(&mut self, area: Rect, title: &str) -> Rect {
        let area = area.intersection(self.buffer.area);
        let ascii = self.theme.look.ascii;
        let [h, v, tl, tr, bl, br] = if ascii {
            ["-", "|", "+", "+", "+", "+"]
        } else {
            ["─", "│", "┌", "┐", "└", "┘"]
        };
        for y in area.y..area.bottom() {
            for x in area.x..area.right() {
                self.buffer[(x, y)].reset();
            }
        }
        let side = h.repeat(usize::from(area.width.saturating_sub(2)));
        self.put(area.x, area.y, area.width, &format!("{tl}{side}{tr}"), Tone::Plain);
        self.put(area.x, area.bottom() - 1, area.width, &format!("{bl}{side}{br}"), Tone::Plain);
        for y in area.y + 1..area.bottom() - 1 {
            self.put(area.x, y, 1, v, Tone::Plain);
            self.put(area.right() - 1, y, 1, v, Tone::Plain);
        }
        self.put(
            area.x + 2,
            area.y,
            area.width.saturating_sub(4),
            &format!(" {title} "),
            Tone::Loud,
        );
        Rect {
            x: area.x + 2,
            y: area.y + 1,
            width: area.width.saturating_sub(4),
            height: area.height.saturating_sub(2),
        }
    }
}

/// Cells that text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Breaks text at spaces, and inside a word that is longer than a line.
pub(super) fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && width(&line) + 1 + width(word) > cells {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if width(&line) + character.width().unwrap_or(0) > cells {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_long_words_break_anywhere() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
