//! First row: is it well, and whose figures these are. Last rows: news, and the keys.

use ratatui::layout::Rect;

use super::{
    super::{
        dialog::Dialog,
        state::{Link, STALE, State},
        theme::Tone,
    },
    pen::{self, Pen},
};
use crate::{
    text::{figure, to_megabytes},
    time::span,
    wire::Status,
};

const KEYS: &str = "q quit  c cleanup  a aggressive  t thresholds  p pause  tab list  ? all keys";

/// Status, figure, server; on the right how it is reached.
pub(super) fn header(pen: &mut Pen<'_>, state: &State, area: Rect, now: i64) {
    let link = link(state, now);
    let right: usize = link.iter().map(|(text, _)| pen::width(text)).sum();
    let left = Rect {
        width: area.width.saturating_sub(u16::try_from(right + 1).unwrap_or(area.width)),
        ..area
    };
    // Who is not let in is shown nothing that was seen before.
    let seen = state.shown().live.as_ref().filter(|_| !state.is_denied());
    let status = seen.map_or(Status::Missing, |live| live.report.status());
    let (status, tone) = pen.theme.status(&status);
    let mut pieces = vec![(format!(" {status} "), tone)];
    if let Some(live) = seen {
        let report = &live.report;
        let used = figure(report.decision_bytes().map(to_megabytes), "MB");
        pieces.push((format!(" {used}"), Tone::Loud));
        let dot = pen.theme.symbols().dot;
        let name = report.instance.as_deref().unwrap_or("n/a");
        pieces.push((format!(" {dot} {}", pen.theme.foreign(name)), Tone::Plain));
        if let Some(version) = &report.version {
            pieces.push((format!(" {}", pen.theme.foreign(version)), Tone::Dim));
        }
        if let Some(up) = report.uptime_seconds {
            pieces.push((format!(" {dot} up {}", span(up)), Tone::Plain));
        }
    } else {
        pieces.push((format!(" {}", state.url), Tone::Plain));
    }
    pen.pieces(left, area.y, &pieces);
    let mut x = area.right().saturating_sub(u16::try_from(right).unwrap_or(area.width));
    for (text, tone) in link {
        x = pen.put(x, area.y, area.width, &text, tone);
    }
}

fn link(state: &State, now: i64) -> Vec<(String, Tone)> {
    let mut pieces = Vec::new();
    if let Some(at) = state.paused_at() {
        pieces.push((format!("PAUSED {} ", span(seconds(now - at))), Tone::Fair));
    }
    if state.may_operate == Some(false) {
        pieces.push(("read-only ".to_owned(), Tone::Fair));
    }
    let silence = now - state.heard_at;
    pieces.push(match &state.link {
        Link::Connecting => ("connecting ".to_owned(), Tone::Dim),
        Link::Lost { .. } if state.is_denied() => ("NOT ALLOWED ".to_owned(), Tone::Bad),
        Link::Lost { since, .. } => {
            (format!("DISCONNECTED {} ", span(seconds(now - since))), Tone::Bad)
        }
        _ if silence > STALE => (format!("no news for {} ", span(seconds(silence))), Tone::Fair),
        Link::Live => ("live ".to_owned(), Tone::Good),
        Link::Polling { .. } => ("polling ".to_owned(), Tone::Fair),
    });
    pieces
}

fn seconds(millis: i64) -> u64 {
    u64::try_from(millis / 1_000).unwrap_or(0)
}

/// The row above the keys: what is under way, else what went wrong, else the last words.
pub(super) fn notice(pen: &mut Pen<'_>, state: &State, area: Rect, now: i64) {
    let y = area.bottom() - 2;
    let (text, tone) = if let Some(since) = state.busy {
        (format!("cleaning up ... {}", span(seconds(now - since))), Tone::Fair)
    } else if let Some(notice) = &state.notice {
        let tone = if notice.bad { Tone::Bad } else { Tone::Plain };
        (pen.theme.foreign(&notice.text), tone)
    } else {
        match &state.link {
            // Without figures the whole screen says it.
            Link::Lost { trouble, .. } if state.shown().live.is_some() && !trouble.denied => {
                let last = pen.theme.look.zone.stamp_millis(Some(state.heard_at));
                let reason = pen.theme.foreign(&trouble.reason);
                (format!("{reason}; last data {last}; trying again"), Tone::Bad)
            }
            Link::Polling { reason } => (
                format!("no event stream: {}; asking every second", pen.theme.foreign(reason)),
                Tone::Dim,
            ),
            _ => return,
        }
    };
    pen.put(area.x + 1, y, area.width - 2, &text, tone);
}

/// The keys, which change with what lies over the screen.
pub(super) fn footer(pen: &mut Pen<'_>, area: Rect, state: &State) {
    let keys = match &state.dialog {
        Dialog::None => KEYS,
        Dialog::Help => "any key goes back",
        Dialog::Planning => "Esc cancels",
        Dialog::Confirm { .. } => "y does it  n or Esc leaves everything as it is",
        Dialog::Thresholds(_) => "Enter applies  Esc cancels",
    };
    pen.put(area.x + 1, area.bottom() - 1, area.width - 2, keys, Tone::Dim);
}
