//! Every state drawn into a buffer and compared with `tests/golden/watch`, and how events lead there.
//!
//! After a wanted change `BLESS=1 cargo test -p plimsoll-cli` writes the files; read the difference.

mod acts;
mod hostile;

use std::{env, fs, path::PathBuf};

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};
use serde_json::{Value, json};

use super::{
    draw::{SMALLEST, draw},
    event::{Effect, Event, Key, Polled, Trouble},
    state::{Link, State},
    theme::Theme,
};
use crate::{
    exit::Exit,
    look::Look,
    time::Zone,
    wire::{Aggressive, Live, ThresholdsChanged},
};

/// 2025-01-08 10:30:00, the moment of the fixtures.
const NOW: i64 = 1_736_332_200_000;
const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn fixture(name: &str) -> Value {
    let text = fs::read_to_string(path(&format!("fixtures/{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn report() -> Value {
    fixture("watch_report")["data"].clone()
}

fn polled(report: Value) -> Event {
    let routes = serde_json::from_value(fixture("watch_routes")["data"]["routes"].clone()).unwrap();
    Event::Polled(Box::new(Ok(Polled {
        live: Live::of(report).unwrap(),
        server_now: Some(NOW),
        routes: Some(routes),
    })))
}

fn streamed(name: &str, data: Value) -> Event {
    Event::Streamed(name.to_owned(), data)
}

fn trouble(reason: &str, denied: bool) -> Trouble {
    let help = Some("start the server or set PLIMSOLL_URL".to_owned());
    Trouble { reason: reason.to_owned(), help, denied }
}

fn lost(reason: &str, denied: bool) -> Event {
    Event::Polled(Box::new(Err(trouble(reason, denied))))
}

fn fresh() -> State {
    State::new("http://127.0.0.1:3000".to_owned())
}

/// A server that has told everything.
fn live() -> State {
    let mut state = fresh();
    state.apply(Event::Access(Some(true)), NOW);
    state.apply(Event::StreamOpened, NOW);
    state.apply(streamed("snapshot", fixture("watch_snapshot")), NOW);
    state.apply(polled(report()), NOW);
    state
}

fn press(state: &mut State, key: Key) -> Option<Effect> {
    state.apply(Event::Key(key), NOW)
}

fn theme(ascii: bool, color: bool) -> Theme {
    Theme::new(&Look { ascii, color, error_color: color, zone: Zone::utc() })
}

fn drawn(state: &State, theme: &Theme, now: i64, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, theme, now, frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let row: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn golden(name: &str, shown: &str) {
    let file = path(&format!("golden/watch/{name}.txt"));
    if env::var_os("BLESS").is_some() {
        fs::write(&file, shown).unwrap();
    }
    let wanted = fs::read_to_string(&file).unwrap_or_default();
    assert!(wanted == shown, "{name} is drawn as\n{shown}\nand not as\n{wanted}");
}

fn check(name: &str, state: &State) {
    golden(name, &text(&drawn(state, &theme(false, true), NOW, SMALL)));
}

#[test]
fn a_server_that_tells_everything_fits_on_both_sizes() {
    let state = live();
    check("live", &state);
    golden("live_large", &text(&drawn(&state, &theme(false, true), NOW, LARGE)));
    let smallest = drawn(&state, &theme(false, true), NOW, SMALLEST);
    golden("live_smallest", &text(&smallest));
}

#[test]
fn ascii_means_ascii() {
    let mut state = live();
    let plain = theme(true, false);
    golden("live_ascii", &text(&drawn(&state, &plain, NOW, SMALL)));
    for key in [Key::Char('?'), Key::Char('?'), Key::Char('t')] {
        press(&mut state, key);
        let shown = text(&drawn(&state, &plain, NOW, LARGE));
        // The summary of an alert is the server's, and is escaped.
        assert!(shown.is_ascii(), "{shown}");
    }
}

#[test]
fn without_colour_nothing_is_coloured_and_with_it_the_level_is() {
    let state = live();
    let plain = drawn(&state, &theme(false, false), NOW, LARGE);
    assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let colored = drawn(&state, &theme(false, true), NOW, LARGE);
    assert_eq!(text(&plain), text(&colored));
    assert_eq!((colored[(1, 0)].symbol(), colored[(1, 0)].fg), ("!", Color::Yellow));
}

#[test]
fn a_level_is_told_by_icon_word_and_colour() {
    for (word, shown, color) in [
        ("healthy", " ✓ HEALTHY ", Color::Green),
        ("warning", " ! WARNING ", Color::Yellow),
        ("critical", " ✗ CRITICAL ", Color::Red),
    ] {
        let mut state = live();
        let mut report = report();
        report["status"] = json!(word);
        state.apply(polled(report), NOW);
        let buffer = drawn(&state, &theme(false, true), NOW, SMALL);
        assert!(text(&buffer).starts_with(shown), "{word}");
        assert_eq!(buffer[(1, 0)].fg, color);
    }
}

#[test]
fn before_the_first_answer_it_says_whom_it_asks() {
    check("connecting", &fresh());
}

#[test]
fn a_server_without_anything_to_tell_leaves_no_hole() {
    let mut state = fresh();
    let bare = json!({"status": "healthy", "metric": "rss", "bytes": {"rss": 5_000_000}});
    state.apply(Event::StreamOpened, NOW);
    state.apply(streamed("snapshot", json!({"report": bare, "samples": [], "cleanups": []})), NOW);
    check("bare", &state);
}

#[test]
fn without_a_stream_polls_fill_the_chart() {
    let mut state = fresh();
    let refused = trouble("8 streams are open, and no more are served", false);
    state.apply(Event::StreamEnded(refused), NOW);
    state.apply(polled(report()), NOW);
    assert_eq!(state.link, Link::Polling { reason: "no stream yet".to_owned() });
    state.apply(
        Event::StreamEnded(trouble("8 streams are open, and no more are served", false)),
        NOW,
    );
    assert_eq!(state.shown().series.newest(), Some(NOW));
    assert_eq!(state.shown().cleanups.len(), 3);
    check("polling", &state);
    // Once a stream speaks, its samples are the chart.
    state.apply(Event::StreamOpened, NOW + 1_000);
    state.apply(streamed("snapshot", fixture("watch_snapshot")), NOW + 1_000);
    assert_eq!(state.link, Link::Live);
    assert_eq!(state.shown().cleanups.len(), 3);
}

#[test]
fn a_server_that_goes_away_leaves_its_last_figures_and_its_return_is_told() {
    let mut state = live();
    // One question that went astray means nothing while the stream speaks.
    state.apply(lost("unreachable (no answer within 10s)", false), NOW + 1_000);
    assert_eq!(state.link, Link::Live);
    state.apply(Event::StreamEnded(trouble("the server closed it", false)), NOW + 6_000);
    state.apply(lost("unreachable (connection refused)", false), NOW + 8_000);
    golden("lost", &text(&drawn(&state, &theme(false, true), NOW + 20_000, SMALL)));
    // Nothing can be asked for now.
    assert_eq!(state.apply(Event::Key(Key::Char('c')), NOW + 20_000), None);
    assert_eq!(state.notice.as_ref().unwrap().text, "there is no server to ask");

    state.apply(polled(report()), NOW + 30_000);
    assert_eq!(state.notice.as_ref().unwrap().text, "the server is back after 22s");
    assert!(matches!(state.link, Link::Polling { .. }));
}

#[test]
fn another_instance_is_another_life() {
    let mut state = live();
    let mut again = report();
    again["instance"] = json!("demo-chat-2");
    again["uptimeSeconds"] = json!(1);
    let samples: Vec<_> = (60..90)
        .map(|second| json!({"timestamp": NOW + second * 1_000, "figure": 400_000_000, "level": "healthy"}))
        .collect();
    let snapshot = json!({"report": again, "samples": samples, "cleanups": []});
    state.apply(streamed("snapshot", snapshot), NOW);
    check("restarted", &state);
}

#[test]
fn without_any_server_the_reason_and_the_fix_fill_the_screen() {
    let mut state = fresh();
    state.apply(Event::StreamEnded(trouble("unreachable (connection refused)", false)), NOW);
    state.apply(lost("unreachable (connection refused)", false), NOW);
    check("no_server", &state);
}

#[test]
fn a_server_that_says_no_shows_nothing_more() {
    let mut state = live();
    state.apply(lost("a token is needed", true), NOW);
    check("denied", &state);
    assert!(!text(&drawn(&state, &theme(false, true), NOW, LARGE)).contains("critical 2500MB"));
}
