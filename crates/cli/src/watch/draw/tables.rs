//! Who eats it, what is wrong, and what was done about it.

use ratatui::layout::Rect;

use super::{
    super::{
        state::{Panel, State},
        theme::Tone,
    },
    pen::Pen,
};
use crate::text::{count, figure, megabytes, small_size, words};

/// Cells of the figures beside a route's name.
const FIGURES: [(&str, u16); 4] = [("in fl.", 7), ("held", 8), ("adm/s", 8), ("shed/s", 8)];

/// Draws the largest routes.
pub(super) fn routes(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let rows = &state.shown().routes;
    let offset = head(pen, state, area, Panel::Routes, "Routes", rows.len());
    let all: u16 = FIGURES.iter().map(|(_, cells)| cells).sum();
    let name = area.width.saturating_sub(all + 1);
    if area.height < 2 {
        return;
    }
    if rows.is_empty() {
        let text = "no requests yet";
        pen.put(area.x + 1, area.y + 1, area.width - 1, text, Tone::Dim);
        return;
    }
    let columns = FIGURES.map(|(title, _)| title.to_owned());
    line(pen, area, area.y + 1, name, "route", columns, Tone::Dim);
    for (y, row) in (area.y + 2..area.bottom()).zip(rows.iter().skip(offset)) {
        let route = pen.theme.foreign(row.route.route.as_deref().unwrap_or("n/a"));
        let rate = |rate: Option<f64>| rate.map_or_else(|| "n/a".to_owned(), per_second);
        let figures = [
            figure(row.route.in_flight, ""),
            small_size(row.route.held_bytes()),
            rate(row.admitted_rate),
            rate(row.shed_rate),
        ];
        let sheds = row.shed_rate.is_some_and(|rate| rate > 0.0);
        line(pen, area, y, name, &route, figures, if sheds { Tone::Fair } else { Tone::Plain });
    }
}

fn line(
    pen: &mut Pen<'_>,
    area: Rect,
    y: u16,
    name: u16,
    route: &str,
    figures: [String; 4],
    tone: Tone,
) {
    pen.put(area.x + 1, y, name, route, tone);
    let mut x = area.x + 1 + name;
    for (text, (_, cells)) in figures.iter().zip(FIGURES) {
        let text = pen.theme.fit(text, usize::from(cells - 1));
        pen.put(x, y, cells, &format!("{text:>width$}", width = usize::from(cells)), tone);
        x += cells;
    }
}

/// Two digits that matter: `0`, `0.4`, `12`.
fn per_second(rate: f64) -> String {
    if rate == 0.0 || rate >= 9.95 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// Draws what has not ended.
pub(super) fn alerts(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let rows = &state.shown().alerts;
    let offset = head(pen, state, area, Panel::Alerts, "Alerts", rows.len());
    if rows.is_empty() && area.height > 1 {
        pen.put(area.x + 1, area.y + 1, area.width - 1, "none", Tone::Dim);
    }
    for (y, alert) in (area.y + 1..area.bottom()).zip(rows.iter().skip(offset)) {
        let (icon, tone) = match alert.severity.as_deref() {
            Some("critical") => ("!!", Tone::Bad),
            Some("warning") => ("! ", Tone::Fair),
            _ => ("i ", Tone::Plain),
        };
        let name = pen.theme.foreign(alert.name.as_deref().unwrap_or("n/a"));
        let told = alert
            .state
            .as_deref()
            .map_or_else(String::new, |state| format!(" {}", pen.theme.foreign(&words(state))));
        let summary = alert
            .summary
            .as_deref()
            .map_or_else(String::new, |summary| format!(": {}", pen.theme.foreign(summary)));
        let row = Rect { x: area.x + 1, width: area.width - 1, ..area };
        let rest = format!("{told}{summary}");
        pen.pieces(row, y, &[(format!("{icon} {name}"), tone), (rest, Tone::Plain)]);
    }
}

/// Draws the newest cleanups.
pub(super) fn cleanups(pen: &mut Pen<'_>, state: &State, area: Rect) {
    let rows = &state.shown().cleanups;
    let offset = head(pen, state, area, Panel::Cleanups, "Cleanups", rows.len());
    if rows.is_empty() && area.height > 1 {
        pen.put(area.x + 1, area.y + 1, area.width - 1, "none needed so far", Tone::Dim);
    }
    for (y, record) in (area.y + 1..area.bottom()).zip(rows.iter().skip(offset)) {
        let stamp = pen.theme.look.zone.stamp_millis(record.timestamp);
        let clock = stamp.split_once(' ').map_or(stamp.as_str(), |(_, clock)| clock);
        let failed = record.failures().count();
        let mut text = format!("{clock} {} freed", megabytes(record.freed_memory));
        if failed > 0 {
            text.push_str(&format!(", {failed} failed"));
        }
        for word in [&record.level, &record.trigger].into_iter().flatten() {
            text.push_str(&format!(" {}", pen.theme.foreign(word)));
        }
        if let Some(actions) = record.action_count() {
            text.push_str(&format!(" ({})", count(actions, "action")));
        }
        let tone = if failed > 0 { Tone::Bad } else { Tone::Plain };
        pen.put(area.x + 1, y, area.width - 1, &text, tone);
    }
}

/// The title with how many rows there are; returns how many to leave out above.
fn head(
    pen: &mut Pen<'_>,
    state: &State,
    area: Rect,
    panel: Panel,
    name: &str,
    rows: usize,
) -> usize {
    if area.height == 0 {
        return 0;
    }
    let place = Panel::ALL.iter().position(|known| *known == panel).unwrap_or(0);
    // A list that has become shorter must not leave its panel empty.
    let offset = state.offsets[place].min(rows.saturating_sub(1));
    let title = match (rows, offset) {
        (0, _) => name.to_owned(),
        (rows, 0) => format!("{name} ({rows})"),
        (rows, offset) => format!("{name} ({}-{rows})", offset + 1),
    };
    pen.title(area, &title, state.focus == panel);
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits_that_matter() {
        for (rate, shown) in
            [(0.0, "0"), (0.44, "0.4"), (9.94, "9.9"), (9.95, "10"), (1234.6, "1235")]
        {
            assert_eq!(per_second(rate), shown);
        }
    }
}
