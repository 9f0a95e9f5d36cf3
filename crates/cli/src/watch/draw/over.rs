//! What lies over the screen: help, the question before rows go, the editor of thresholds.

use ratatui::layout::Rect;

use super::{
    super::{
        dialog::{Dialog, Editor},
        state::State,
        theme::Tone,
    },
    pen::{self, Pen},
};
use crate::{render, text::figure, wire::Aggressive};

const HELP: [(&str, &str); 11] = [
    ("q", "quit (Ctrl-C as well)"),
    ("c", "clean up: the level deserved now, at least moderate"),
    ("a", "aggressive: database rules too; a dry run asks first"),
    ("t", "edit the thresholds"),
    ("p, space", "pause: the screen stands still, the server does not"),
    ("left, right", "show a longer or shorter time"),
    ("s", "scale to the figures, or to the thresholds"),
    ("tab", "go to the next list"),
    ("up, down", "scroll it; page up, page down, home, end too"),
    ("^ on the axis", "a cleanup ran"),
    ("Esc", "close what is open"),
];

/// Draws the dialog, if there is one.
pub(super) fn over(pen: &mut Pen<'_>, state: &State, area: Rect) {
    match &state.dialog {
        Dialog::None => {}
        Dialog::Help => help(pen, area),
        Dialog::Planning => {
            let inside = pen.frame(middle(area, 44, 3), "Aggressive cleanup");
            pen.put(
                inside.x,
                inside.y,
                inside.width,
                "asking what it would delete ...",
                Tone::Plain,
            );
        }
        Dialog::Confirm { plan, scroll } => confirm(pen, state, area, plan, *scroll),
        Dialog::Thresholds(editor) => thresholds(pen, state, area, editor),
    }
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width - 2), height.min(area.height - 2));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

fn help(pen: &mut Pen<'_>, area: Rect) {
    let height = u16::try_from(HELP.len()).unwrap_or(0) + 2;
    let inside = pen.frame(middle(area, 74, height), "Keys");
    for (y, (key, what)) in (inside.y..inside.bottom()).zip(HELP) {
        pen.put(inside.x, y, 14, key, Tone::Loud);
        pen.put(inside.x + 15, y, inside.width.saturating_sub(15), what, Tone::Plain);
    }
}

fn confirm(pen: &mut Pen<'_>, state: &State, area: Rect, plan: &Aggressive, scroll: usize) {
    let look = &pen.theme.look;
    let mut lines = Vec::new();
    if plan.rules.is_empty() {
        lines.push("No database rules are registered; only memory is cleaned up.".to_owned());
    } else {
        let name = state.shown().live.as_ref().and_then(|live| live.report.instance.as_deref());
        let name = name.map_or_else(String::new, |name| format!(" ({})", pen.theme.foreign(name)));
        lines.push(format!("This deletes rows on {}{name}:", state.url));
        // The first line of the table is its heading, which the line above stands for.
        let rules = render::rules(look, &plan.rules, true);
        lines.extend(rules.lines().skip(1).map(str::to_owned));
    }
    if let Some(record) = &plan.cleanup {
        lines.push("And from memory:".to_owned());
        let actions = render::cleanup(look, record, true);
        lines.extend(actions.lines().skip(1).map(str::to_owned));
    }
    let most = usize::from(area.height.saturating_sub(6));
    let scroll = scroll.min(lines.len().saturating_sub(most));
    let shown: Vec<_> = lines.iter().skip(scroll).take(most).collect();
    let height = u16::try_from(shown.len()).unwrap_or(0) + 4;
    let inside = pen.frame(middle(area, 76, height), "Aggressive cleanup");
    for (y, line) in (inside.y..inside.bottom()).zip(&shown) {
        let line = pen.theme.foreign(line);
        pen.put(inside.x, y, inside.width, &line, Tone::Plain);
    }
    let more = lines.len() - scroll - shown.len();
    let question = match more {
        0 => "Do it? y / n".to_owned(),
        more => format!("Do it? y / n   ({more} more lines: down)"),
    };
    pen.put(inside.x, inside.bottom() - 1, inside.width, &question, Tone::Loud);
}

fn thresholds(pen: &mut Pen<'_>, state: &State, area: Rect, editor: &Editor) {
    let frame = middle(area, 70, 8);
    let room = usize::from(frame.width.saturating_sub(4));
    // A server's words are shown whole as far as they fit on three lines.
    let error: Vec<_> = editor
        .error
        .iter()
        .flat_map(|error| pen::wrap(&pen.theme.foreign(error), room))
        .take(3)
        .collect();
    let inside = pen.frame(frame, "Thresholds");
    let report = state.shown().live.as_ref().map(|live| &live.report);
    let side = |name| figure(report.and_then(|report| report.threshold(name)), "MB");
    let lines = [
        format!("In force: warning {}, critical {}", side("warning"), side("critical")),
        "New ones: 1500,2500 (MB), 1.5GB,2.5GB or 70%,85% of the limit".to_owned(),
    ];
    for (y, line) in (inside.y..).zip(&lines) {
        pen.put(inside.x, y, inside.width, line, Tone::Plain);
    }
    let cursor = if editor.sending { " ..." } else { "_" };
    pen.put(
        inside.x,
        inside.y + 2,
        inside.width,
        &format!("> {}{cursor}", editor.text),
        Tone::Loud,
    );
    for (y, line) in (inside.y + 3..inside.bottom()).zip(&error) {
        pen.put(inside.x, y, inside.width, line, Tone::Bad);
    }
}
