//! Where memory is: one bar, its legend, and a line for each part that is wired in.

use ratatui::layout::Rect;

use super::{
    super::{
        state::State,
        theme::{Theme, Tone},
    },
    pen::Pen,
};
use crate::{
    text::{exact_megabytes, figure, megabytes, small_size},
    time::span,
    wire::{Forecast, Live, Retention, Sockets},
};

/// Draws title, bar, legend and the facts.
pub(super) fn memory(pen: &mut Pen<'_>, state: &State, area: Rect, facts: &[(String, Tone)]) {
    let Some(live) = &state.shown().live else { return };
    let report = &live.report;
    let bytes = |name| report.bytes(name);
    let title = format!(
        "Where it is: resident {} {dot} working set {} {dot} limit {} {dot} reserved {}",
        megabytes(bytes("rss")),
        megabytes(bytes("workingSet")),
        megabytes(bytes("limit")),
        megabytes(bytes("reserved")),
        dot = pen.theme.symbols().dot,
    );
    pen.title(area, &title, false);
    let buffers = bytes("arrayBuffers");
    // Buffers are part of what the program holds, so they are taken out of it.
    let own = bytes("heapUsed").map(|held| held.saturating_sub(buffers.unwrap_or(0)));
    let parts = [
        ("live", own),
        ("buffers", buffers),
        ("retained", bytes("retained")),
        ("external", bytes("external")),
    ];
    let symbols = pen.theme.symbols().parts;
    let tones = [Tone::Loud, Tone::Fair, Tone::Plain, Tone::Dim];
    let room = Rect { x: area.x + 1, width: area.width - 2, ..area };
    if parts.iter().all(|(_, part)| part.is_none_or(|part| part == 0)) {
        pen.put(room.x, area.y + 1, room.width, "the allocator tells no figures", Tone::Dim);
    }
    let cells = shares(parts.map(|(_, part)| part.unwrap_or(0)), room.width);
    let mut x = room.x;
    for ((symbol, tone), cells) in symbols.iter().zip(tones).zip(cells) {
        x = pen.put(x, area.y + 1, cells, &symbol.repeat(usize::from(cells)), tone);
    }
    let mut legend = Vec::new();
    for ((symbol, tone), (name, part)) in symbols.iter().zip(tones).zip(parts) {
        legend.push((format!("{symbol} "), tone));
        legend.push((format!("{name} {}   ", megabytes(part)), Tone::Plain));
    }
    pen.pieces(room, area.y + 2, &legend);
    for (row, (text, tone)) in facts.iter().enumerate() {
        let y = area.y + 3 + u16::try_from(row).unwrap_or(0);
        pen.put(room.x, y, room.width, text, *tone);
    }
}

/// Cells for each part; a part that is not nothing gets one at least while there is room.
fn shares(parts: [u64; 4], width: u16) -> [u16; 4] {
    let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
    let mut cells = [0; 4];
    if sum == 0 {
        return cells;
    }
    let mut done: u128 = 0;
    let mut end = 0;
    for (cell, part) in cells.iter_mut().zip(parts) {
        done += u128::from(part);
        let next = u16::try_from(done * u128::from(width) / sum).unwrap_or(width);
        let least = u16::from(part > 0);
        *cell = next.saturating_sub(end).max(least).min(width - end);
        end += *cell;
    }
    cells
}

/// A line for the guard and for each of sockets, retention and forecast that the server has.
pub(super) fn facts(theme: &Theme, state: &State) -> Vec<(String, Tone)> {
    let Some(live) = &state.shown().live else { return Vec::new() };
    let parts = &live.parts;
    let guard = guard(theme, live);
    let sockets = parts.sockets.as_ref().map(|told| sockets(theme, told));
    let retention = parts.retention.as_ref().map(|told| retention(theme, told));
    let forecast = parts.forecast.as_ref().and_then(forecast);
    [guard, sockets, retention, forecast].into_iter().flatten().collect()
}

fn guard(theme: &Theme, live: &Live) -> Option<(String, Tone)> {
    let told = live.report.guard.as_ref()?;
    let mode = theme.foreign(told.mode.as_deref().unwrap_or("n/a"));
    let text = format!(
        "Guard     {mode} {dot} {} in flight {dot} {} admitted {dot} {} shed",
        figure(told.in_flight, ""),
        figure(told.admitted, ""),
        figure(told.shed, ""),
        dot = theme.symbols().dot,
    );
    Some((text, Tone::Plain))
}

fn sockets(theme: &Theme, told: &Sockets) -> (String, Tone) {
    let dot = theme.symbols().dot;
    let text = format!(
        "Sockets   {} open, {} closing, {} lingering {dot} {} held, {} queued ({}) {dot} {} forced, {} refused",
        figure(told.open, ""),
        figure(told.closing, ""),
        figure(told.lingering, ""),
        small_size(told.bytes),
        figure(told.queued_messages, ""),
        small_size(told.queued_bytes),
        figure(told.forced, ""),
        figure(told.refused, ""),
    );
    (text, if told.lingering > Some(0) { Tone::Fair } else { Tone::Plain })
}

fn retention(theme: &Theme, told: &Retention) -> (String, Tone) {
    let dot = theme.symbols().dot;
    let what = match (&told.paused, told.running) {
        (Some(why), _) => format!("paused: {}", theme.foreign(why)),
        (None, Some(true)) => "running".to_owned(),
        (None, _) => match told.last_run {
            Some(_) => format!("last run {}", theme.look.zone.stamp_millis(told.last_run)),
            None => "no run yet".to_owned(),
        },
    };
    let rules: Vec<_> = told
        .rules
        .iter()
        .map(|rule| {
            let more = if rule.backlog_capped == Some(true) { "+" } else { "" };
            let name = theme.foreign(rule.rule.as_deref().unwrap_or("n/a"));
            format!("{name} {}{more}", figure(rule.backlog, ""))
        })
        .collect();
    let text = format!("Retention {what} {dot} due: {}", rules.join(", "));
    (text, if told.paused.is_some() { Tone::Fair } else { Tone::Plain })
}

fn forecast(told: &Forecast) -> Option<(String, Tone)> {
    let slope = told.slope_bytes_per_second.filter(|slope| slope.is_finite())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an absolute value, and a cast from a float saturates"
    )]
    let hourly = (slope.abs() * 3_600.0) as u64;
    let way = if slope < 0.0 { "falling" } else { "growing" };
    let mut text =
        format!("Forecast  {way} by {} an hour", exact_megabytes(hourly / 100_000 * 100_000));
    if let Some(seconds) = told.critical_in_seconds {
        // Nobody can tell seconds.
        let about = span(seconds.next_multiple_of(60));
        text.push_str(&format!(", critical in about {}", about.trim_end_matches(" 0s")));
    }
    let leaks = told.leak_suspected == Some(true);
    if leaks {
        text.push_str(": a leak is suspected");
    }
    Some((text, if leaks { Tone::Bad } else { Tone::Plain }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_bar_and_small_ones_are_seen() {
        assert_eq!(shares([50, 0, 30, 20], 10), [5, 0, 3, 2]);
        assert_eq!(shares([1_000, 1, 1, 1], 10), [9, 1, 0, 0]);
        assert_eq!(shares([0; 4], 10), [0; 4]);
        assert_eq!(shares([u64::MAX; 4], 8), [2; 4]);
    }
}
