//! The decision figure over time, with the two lines it is held against.

use ratatui::layout::Rect;

use super::{
    super::{
        series::Column,
        state::{SPANS, State},
        theme::{Tone, tone},
    },
    pen::Pen,
};
use crate::{
    text::{figure, megabytes},
    time::span,
};

/// Cells for the figures on the left.
const GUTTER: u16 = 9;
/// Cells of `10:30:00`.
const CLOCK: u16 = 8;

/// Draws title, bars, lines and the axis with a mark for each cleanup.
pub(super) fn chart(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let seen = state.shown();
    let Some(live) = &seen.live else { return };
    let report = &live.report;
    let symbols = pen.theme.symbols();
    let length = SPANS[state.span];
    let metric = pen.theme.foreign(report.metric.as_deref().unwrap_or("memory"));
    let title = format!(
        "{metric} {} {} warning {} {} {} critical {} {} {} last {}",
        figure(report.decision(), "MB"),
        symbols.dot,
        figure(report.threshold("warning"), "MB"),
        symbols.warning.repeat(2),
        symbols.dot,
        figure(report.threshold("critical"), "MB"),
        symbols.critical.repeat(2),
        symbols.dot,
        span(u64::try_from(length / 1_000).unwrap_or(0))
            .trim_end_matches(" 0s")
            .trim_end_matches(" 0m"),
    );
    pen.title(area, &title, false);
    let plot = Rect {
        x: area.x + GUTTER,
        y: area.y + 1,
        width: area.width - GUTTER - 1,
        height: area.height.saturating_sub(2),
    };
    // On the server's clock, as the stamps of its cleanups. Without news the chart stands still.
    let end = seen.series.newest().unwrap_or(0);
    let columns = seen.series.columns(end, length, plot.width);
    let marks = [
        (report.threshold_bytes("warning"), symbols.warning, Tone::Fair),
        (report.threshold_bytes("critical"), symbols.critical, Tone::Bad),
    ];
    let peak = columns.iter().filter_map(|column| match column {
        Column::Bar(bytes, _) => Some(*bytes),
        Column::Empty | Column::Cut => None,
    });
    let scale = Scale::new(peak.max(), marks.map(|(bytes, ..)| bytes), state.fit, plot.height);
    for (x, column) in (plot.x..plot.right()).zip(&columns) {
        bar(pen, plot, x, column, &scale);
    }
    if state.fit {
        let top = format!("{:>8}", megabytes(Some(scale.top)));
        pen.put(area.x, plot.y, GUTTER - 1, &top, Tone::Dim);
    }
    for (bytes, symbol, tone) in marks {
        let Some(row) = bytes.and_then(|bytes| scale.row(bytes)) else { continue };
        let y = plot.bottom() - 1 - row;
        pen.put(plot.x, y, plot.width, &symbol.repeat(usize::from(plot.width)), tone);
        pen.put(area.x, y, GUTTER - 1, &format!("{:>8}", megabytes(bytes)), tone);
    }
    axis(pen, state, plot, end, length);
}

/// From bytes to rows.
struct Scale {
    top: u64,
    rows: u16,
}

impl Scale {
    /// Reaches from 0 to the higher of critical and the peak, or to the peak alone.
    fn new(peak: Option<u64>, marks: [Option<u64>; 2], fit: bool, rows: u16) -> Self {
        let peak = peak.unwrap_or(0);
        let highest = match marks[1].or(marks[0]) {
            Some(mark) if !fit || peak == 0 => mark.max(peak),
            _ => peak,
        };
        // A little air, so that a line on top is not the frame.
        Self { top: highest.saturating_add(highest / 12).max(1), rows }
    }

    /// Eighths of a row from the bottom.
    fn eighths(&self, bytes: u64) -> u64 {
        let cells = u128::from(self.rows) * 8;
        let eighths = (u128::from(bytes) * cells).div_ceil(u128::from(self.top));
        u64::try_from(eighths.min(cells)).unwrap_or(0)
    }

    /// The row, from the bottom, that a figure reaches; `None` above the top.
    fn row(&self, bytes: u64) -> Option<u16> {
        if bytes > self.top || self.rows == 0 {
            return None;
        }
        let row = self.eighths(bytes).saturating_sub(1) / 8;
        u16::try_from(row).ok()
    }
}

fn bar(pen: &mut Pen<'_>, plot: Rect, x: u16, column: &Column, scale: &Scale) {
    let symbols = pen.theme.symbols();
    let (bytes, level) = match column {
        Column::Empty => return,
        Column::Cut => {
            for y in plot.y..plot.bottom() {
                pen.put(x, y, 1, symbols.cut, Tone::Dim);
            }
            return;
        }
        Column::Bar(bytes, level) => (*bytes, level),
    };
    let mut left = scale.eighths(bytes);
    for y in (plot.y..plot.bottom()).rev() {
        let here = usize::try_from(left.min(8)).unwrap_or(0);
        if here == 0 {
            break;
        }
        pen.put(x, y, 1, symbols.bars[here], tone(level));
        left -= left.min(8);
    }
}

fn axis(pen: &mut Pen<'_>, state: &State, plot: Rect, end: i64, length: i64) {
    let y = plot.bottom();
    pen.put(plot.x - GUTTER, y, GUTTER - 1, &format!("{:>8}", "0MB"), Tone::Dim);
    let zone = &pen.theme.look.zone;
    let clock = |at| {
        let stamp = zone.stamp_millis(Some(at));
        stamp.split_once(' ').map_or_else(String::new, |(_, clock)| clock.to_owned())
    };
    let mut marked = Vec::new();
    for record in &state.shown().cleanups {
        let Some(at) = record.timestamp.filter(|at| (end - length..=end).contains(at)) else {
            continue;
        };
        let column = (at - (end - length)) * i64::from(plot.width) / length;
        let column = u16::try_from(column).unwrap_or(0).min(plot.width - 1);
        pen.put(plot.x + column, y, 1, "^", Tone::Loud);
        marked.push(column);
    }
    // A mark matters more than the time under it.
    let is_free = |from: u16, to: u16| !marked.iter().any(|mark| (from..to).contains(mark));
    if is_free(0, CLOCK + 1) {
        pen.put(plot.x, y, plot.width, &clock(end - length), Tone::Dim);
    }
    if is_free(plot.width.saturating_sub(CLOCK + 1), plot.width) {
        pen.put_right(plot, y, &clock(end), Tone::Dim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_land_on_their_rows_whatever_their_size() {
        let scale = Scale::new(Some(50), [Some(60), Some(120)], false, 13);
        assert_eq!(scale.top, 130);
        assert_eq!((scale.row(120), scale.row(60), scale.row(0)), (Some(11), Some(5), Some(0)));
        assert_eq!((scale.eighths(0), scale.eighths(1), scale.eighths(130)), (0, 1, 104));
        let fit = Scale::new(Some(48), [Some(60), Some(120)], true, 13);
        assert_eq!((fit.top, fit.row(60)), (52, None));
        let huge = Scale::new(Some(u64::MAX), [None, Some(u64::MAX)], false, 5);
        assert_eq!(huge.eighths(u64::MAX), 40);
        assert_eq!(Scale::new(None, [None, None], false, 0).row(0), None);
    }
}
