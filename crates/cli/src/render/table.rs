//! Columns of equal width.

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Sets rows in columns two spaces apart, each row indented by two; no line ends in spaces.
///
/// Every row has as many cells as `aligns` has entries.
pub(super) fn table<const N: usize>(aligns: [Align; N], rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, align), width) in row.iter().zip(aligns).zip(widths) {
            line.push_str("  ");
            line.push_str(&match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_at_their_text() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["a", "5", ""]), row(["größe", "50", "x"])];
        let text = table([Align::Left, Align::Right, Align::Left], &rows);
        assert_eq!(text, "  a       5\n  größe  50  x\n");
    }
}
