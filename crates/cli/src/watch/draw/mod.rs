//! From the state to cells. Pure: the time and the size are handed in.
//!
//! Everything of the server that is no number passes [`Theme::foreign`](super::theme::Theme::foreign).

mod bar;
mod chart;
mod header;
mod over;
mod pen;
mod tables;

use ratatui::{buffer::Buffer, layout::Rect};

use self::pen::Pen;
use super::{
    event::Trouble,
    state::{Link, State},
    theme::{Theme, Tone},
};

/// The smallest screen on which everything has its place.
pub(super) const SMALLEST: (u16, u16) = (60, 16);
/// From this width on the lists stand side by side.
const WIDE: u16 = 120;

/// Draws the whole screen; `now` is our clock in milliseconds since 1970.
pub(super) fn draw(state: &State, theme: &Theme, now: i64, buffer: &mut Buffer) {
    let area = buffer.area;
    let mut pen = Pen::new(buffer, theme);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return too_small(&mut pen, area);
    }
    header::header(&mut pen, state, area, now);
    let body = Rect { y: area.y + 1, height: area.height - 3, ..area };
    match (&state.link, &state.shown().live) {
        (Link::Connecting, None) => {
            center(&mut pen, body, &[(format!("connecting to {} ...", state.url), Tone::Plain)]);
        }
        // Figures that the server no longer lets us see are not shown on.
        (Link::Lost { trouble, .. }, live) if live.is_none() || state.is_denied() => {
            no_server(&mut pen, body, &state.url, trouble);
        }
        (_, None) => center(
            &mut pen,
            body,
            &[("the server answers, but tells no report".to_owned(), Tone::Fair)],
        ),
        (_, Some(_)) => panels(&mut pen, state, body),
    }
    header::notice(&mut pen, state, area, now);
    header::footer(&mut pen, area, state);
    over::over(&mut pen, state, area);
}

fn panels(pen: &mut Pen<'_>, state: &State, body: Rect) {
    let facts = bar::facts(pen.theme, state);
    let facts_height = 3 + u16::try_from(facts.len()).unwrap_or(0);
    // The lists get what is left, but neither part may starve.
    let chart_height = (body.height.saturating_sub(facts_height) / 2).max(4);
    let chart = Rect { height: chart_height, ..body };
    let middle = Rect { y: body.y + chart_height, height: facts_height, ..body };
    let lists = Rect {
        y: middle.y + facts_height,
        height: body.height.saturating_sub(chart_height + facts_height),
        ..body
    };
    chart::chart(pen, state, chart);
    bar::memory(pen, state, middle, &facts);
    if lists.width >= WIDE {
        let third = lists.width / 3;
        let left = Rect { width: lists.width - 2 * third, ..lists };
        tables::routes(pen, state, left);
        let alerts = Rect { x: left.right() + 1, width: third - 1, ..lists };
        tables::alerts(pen, state, alerts);
        tables::cleanups(pen, state, Rect { x: alerts.right() + 1, ..alerts });
    } else {
        let right = lists.width * 2 / 5;
        let left = Rect { width: lists.width - right, ..lists };
        tables::routes(pen, state, left);
        let alerts =
            Rect { x: left.right() + 1, width: right - 1, height: lists.height / 2, ..lists };
        tables::alerts(pen, state, alerts);
        let cleanups = Rect { y: alerts.bottom(), height: lists.height - alerts.height, ..alerts };
        tables::cleanups(pen, state, cleanups);
    }
}

fn no_server(pen: &mut Pen<'_>, body: Rect, url: &str, trouble: &Trouble) {
    let reason = pen.theme.foreign(&trouble.reason);
    let title = if trouble.denied {
        format!("{url} does not let you in")
    } else {
        format!("no server at {url}")
    };
    let mut lines = vec![(title, Tone::Bad), (reason, Tone::Plain)];
    if let Some(help) = &trouble.help {
        lines.push((format!("help: {}", pen.theme.foreign(help)), Tone::Plain));
    }
    lines.push(("trying again ...".to_owned(), Tone::Dim));
    center(pen, body, &lines);
}

/// Lines in the middle, each wrapped to the width.
fn center(pen: &mut Pen<'_>, area: Rect, lines: &[(String, Tone)]) {
    let width = usize::from(area.width.saturating_sub(4));
    let lines: Vec<_> = lines
        .iter()
        .flat_map(|(text, tone)| pen::wrap(text, width).into_iter().map(|line| (line, *tone)))
        .take(usize::from(area.height))
        .collect();
    let above = (area.height - u16::try_from(lines.len()).unwrap_or(area.height)) / 2;
    for (row, (line, tone)) in (area.y + above..area.bottom()).zip(lines) {
        let left = usize::from(area.width).saturating_sub(pen::width(&line)) / 2;
        let left = u16::try_from(left).unwrap_or(0);
        pen.put(area.x + left, row, area.width - left, &line, tone);
    }
}

fn too_small(pen: &mut Pen<'_>, area: Rect) {
    let text = format!(
        "{}x{} is too small: {}x{} is needed. q quits.",
        area.width, area.height, SMALLEST.0, SMALLEST.1
    );
    for (row, line) in (area.y..area.bottom()).zip(pen::wrap(&text, usize::from(area.width))) {
        pen.put(area.x, row, area.width, &line, Tone::Plain);
    }
}
