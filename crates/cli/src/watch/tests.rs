//! Every state drawn into a buffer and compared with `tests/golden/watch`, and how events lead there.
//!
//! After a wanted change `BLESS=1 cargo test -p plimsoll-cli` writes the files; read the difference.

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

#[test]
fn who_may_only_read_is_told_so_and_asks_for_nothing() {
    let mut state = live();
    state.apply(Event::Access(Some(false)), NOW);
    for key in ['c', 'a', 't'] {
        assert_eq!(press(&mut state, Key::Char(key)), None);
    }
    check("read_only", &state);
    // The scope can also show only when something is asked for.
    let mut state = live();
    assert_eq!(press(&mut state, Key::Char('c')), Some(Effect::Cleanup));
    state.apply(Event::Cleaned(Err(trouble("operate is needed", true))), NOW);
    assert_eq!(press(&mut state, Key::Char('c')), None);
}

#[test]
fn a_pause_holds_the_screen_and_not_the_server() {
    let mut state = live();
    press(&mut state, Key::Char('p'));
    let mut later = report();
    later["bytes"]["workingSet"] = json!(9_000_000);
    state.apply(polled(later), NOW + 5_000);
    golden("paused", &text(&drawn(&state, &theme(false, true), NOW + 5_000, SMALL)));
    press(&mut state, Key::Char('p'));
    let shown = text(&drawn(&state, &theme(false, true), NOW + 5_000, SMALL));
    assert!(shown.contains(" 9MB "), "{shown}");
}

#[test]
fn help_opens_and_any_key_closes_it() {
    let mut state = live();
    press(&mut state, Key::Char('?'));
    check("help", &state);
    assert_eq!(press(&mut state, Key::Char('q')), None);
    assert_eq!(press(&mut state, Key::Char('q')), Some(Effect::Quit(Exit::Done)));
}

#[test]
fn rows_are_deleted_after_a_dry_run_and_a_yes_only() {
    let plan = || {
        let plan = fixture("aggressive_dry_run");
        serde_json::from_value::<Aggressive>(plan["data"].clone()).unwrap()
    };
    let mut state = live();
    assert_eq!(press(&mut state, Key::Char('a')), Some(Effect::Plan));
    check("planning", &state);
    assert_eq!(press(&mut state, Key::Char('y')), None);
    state.apply(Event::Planned(Ok(plan())), NOW);
    check("confirm", &state);
    assert_eq!(press(&mut state, Key::Enter), None);
    assert_eq!(press(&mut state, Key::Escape), None);
    assert_eq!(state.notice.as_ref().unwrap().text, "nothing was changed");

    press(&mut state, Key::Char('a'));
    press(&mut state, Key::Escape);
    // A plan that nobody waits for any more opens nothing.
    state.apply(Event::Planned(Ok(plan())), NOW);
    assert_eq!(press(&mut state, Key::Char('y')), None);

    press(&mut state, Key::Char('a'));
    state.apply(Event::Planned(Ok(plan())), NOW);
    assert_eq!(press(&mut state, Key::Char('y')), Some(Effect::Aggressive));
    check("cleaning", &state);
    assert_eq!(press(&mut state, Key::Char('c')), None);
    let done = serde_json::from_value(fixture("aggressive")["data"].clone()).unwrap();
    state.apply(Event::Cleaned(Ok(done)), NOW);
    check("cleaned", &state);
}

#[test]
fn a_failed_action_is_told_in_numbers() {
    let mut state = live();
    press(&mut state, Key::Char('c'));
    let done: Aggressive =
        serde_json::from_value(fixture("cleanup_failed")["data"].clone()).unwrap();
    let (failed, total) = done.failed_of_total();
    assert!(failed > 0);
    state.apply(Event::Cleaned(Ok(done)), NOW);
    let notice = state.notice.unwrap();
    assert!(
        notice.bad && notice.text.starts_with(&format!("{failed} of {total} actions failed: "))
    );
}

#[test]
fn thresholds_are_typed_refused_verbatim_and_taken_over() {
    let mut state = live();
    press(&mut state, Key::Char('t'));
    check("thresholds", &state);
    for _ in 0.."1500,2500".len() {
        press(&mut state, Key::Backspace);
    }
    "1600,99%".chars().for_each(|character| {
        press(&mut state, Key::Char(character));
    });
    let wire = json!({"warning": 1600, "critical": "99%"});
    assert_eq!(press(&mut state, Key::Enter), Some(Effect::Thresholds(wire)));
    let words =
        "critical 99% needs a memory limit, and there is none; accepted: megabytes such as 2000";
    state.apply(Event::Changed(Err(trouble(words, false))), NOW);
    check("thresholds_refused", &state);
    assert!(matches!(press(&mut state, Key::Enter), Some(Effect::Thresholds(_))));
    let changed: ThresholdsChanged = serde_json::from_value(
        json!({"thresholds": {"warning": 1600, "critical": 2600, "source": "api"}, "status": "critical"}),
    )
    .unwrap();
    state.apply(Event::Changed(Ok(changed)), NOW);
    check("thresholds_changed", &state);
}

#[test]
fn what_another_operator_changes_is_seen() {
    let mut state = live();
    press(&mut state, Key::Char('t'));
    let change = json!({"thresholds": {"warning": 700, "critical": 900, "source": "api"}, "status": "critical"});
    state.apply(streamed("thresholds", change), NOW);
    let shown = text(&drawn(&state, &theme(false, true), NOW, SMALL));
    assert!(shown.contains("In force: warning 700MB, critical 900MB"), "{shown}");
    assert!(shown.contains("✗ CRITICAL"), "{shown}");
}

#[test]
fn alerts_and_cleanups_come_and_go_with_the_stream() {
    let mut state = live();
    let alert = |phase| json!({"id": "a-2", "name": "MemoryCritical", "severity": "critical", "state": phase, "summary": "3100MB"});
    state.apply(streamed("alert", alert("firing")), NOW);
    assert_eq!(state.shown().alerts.len(), 2);
    state.apply(streamed("alert", alert("resolved")), NOW);
    assert_eq!(state.shown().alerts.len(), 1);
    let cleanup = json!({"timestamp": NOW, "freedMemory": 1, "actions": []});
    for _ in 0..2 {
        state.apply(streamed("cleanup", cleanup.clone()), NOW);
    }
    assert_eq!(state.shown().cleanups.len(), 4);
}

#[test]
fn lists_scroll_no_further_than_their_last_row() {
    let mut state = live();
    for key in [Key::Down, Key::PageDown, Key::End, Key::Down] {
        press(&mut state, key);
    }
    assert_eq!(state.offsets, [3, 0, 0]);
    for key in [Key::Tab, Key::Tab, Key::Down, Key::BackTab, Key::Up] {
        press(&mut state, key);
    }
    assert_eq!(state.offsets, [3, 0, 1]);
    check("scrolled", &state);
    for key in [Key::Tab, Key::Home, Key::Tab, Key::Home] {
        press(&mut state, key);
    }
    assert_eq!(state.offsets, [0; 3]);
}

#[test]
fn time_and_scale_can_be_changed() {
    let mut state = live();
    for key in [Key::Left, Key::Left, Key::Left, Key::Char('s')] {
        press(&mut state, key);
    }
    check("hour_scaled", &state);
    for _ in 0..9 {
        press(&mut state, Key::Right);
    }
    let shown = text(&drawn(&state, &theme(false, true), NOW, SMALL));
    assert!(shown.contains("last 2m "), "{shown}");
}

#[test]
fn rates_come_from_two_polls() {
    let mut state = live();
    let mut routes = fixture("watch_routes")["data"]["routes"].clone();
    routes[1]["admitted"] = json!(21_050);
    routes[1]["shed"] = json!(31);
    let routes = serde_json::from_value(routes).unwrap();
    let live = Live::of(report()).unwrap();
    let poll = Polled { live, server_now: Some(NOW), routes: Some(routes) };
    state.apply(Event::Polled(Box::new(Ok(poll))), NOW + 2_000);
    let row = &state.shown().routes[1];
    assert_eq!((row.admitted_rate, row.shed_rate), (Some(25.0), Some(0.5)));
    check("rates", &state);
}

/// Names that would take over a terminal.
fn hostile() -> String {
    format!("\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}{}", "<b>日本e\u{301}".repeat(1_500))
}

#[test]
fn hostile_names_are_text_and_move_nothing() {
    let name = hostile();
    assert!(name.len() > 10_000);
    let mut state = live();
    let mut report = report();
    for member in ["instance", "version", "metric", "status"] {
        report[member] = json!(name);
    }
    report["alerts"] =
        json!([{"id": name, "name": name, "severity": name, "state": name, "summary": name}]);
    report["guard"]["mode"] = json!(name);
    report["retention"]["paused"] = json!(name);
    report["retention"]["rules"] = json!([{"rule": name, "backlog": 1}]);
    let record = json!({"timestamp": NOW, "level": name, "trigger": name, "freedMemory": 1, "actions": [name],
        "results": [{"name": name, "outcome": name, "detail": name}]});
    let snapshot = json!({"report": report, "samples": [{"timestamp": NOW, "figure": 5, "level": name}], "cleanups": [record]});
    state.apply(streamed("snapshot", snapshot), NOW);
    let routes = (0..2_000).map(
        |_| json!({"route": name, "inFlight": u64::MAX, "reservedBytes": u64::MAX, "admitted": 1}),
    );
    let routes = serde_json::from_value(Value::Array(routes.collect())).unwrap();
    let live = Live::of(report).unwrap();
    let poll = Polled { live, server_now: None, routes: Some(routes) };
    state.apply(Event::Polled(Box::new(Ok(poll))), NOW);
    assert_eq!(state.shown().routes.len(), 500);
    harmless(&state);
    let plan = json!({"database": {"rules": [{"rule": name, "outcome": name, "detail": name}]},
        "memory": {"cleanup": record}});
    press(&mut state, Key::Char('a'));
    state.apply(Event::Planned(Ok(serde_json::from_value(plan).unwrap())), NOW);
    harmless(&state);
    press(&mut state, Key::Escape);
    press(&mut state, Key::Char('t'));
    state.apply(Event::Changed(Err(trouble(&name, false))), NOW);
    harmless(&state);
    press(&mut state, Key::Escape);
    state.apply(Event::Cleaned(Err(trouble(&name, false))), NOW);
    harmless(&state);
    check("hostile", &state);
    state.apply(lost(&name, true), NOW);
    harmless(&state);
}

fn harmless(state: &State) {
    for (size, ascii) in [(SMALL, false), (LARGE, false), (SMALL, true)] {
        let buffer = drawn(state, &theme(ascii, true), NOW, size);
        for cell in &buffer.content {
            let symbol = cell.symbol();
            let is_safe = symbol.chars().count() <= 1
                && symbol
                    .chars()
                    .all(|c| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c));
            assert!(is_safe, "{symbol:?}");
            assert!(!ascii || symbol.is_ascii(), "{symbol:?}");
        }
    }
}

#[test]
fn no_size_is_too_small_or_too_large_to_draw() {
    let mut state = live();
    for dialog in [None, Some('?'), Some('t')] {
        if let Some(key) = dialog {
            press(&mut state, Key::Char(key));
        }
        for size in [
            (0, 0),
            (1, 1),
            (20, 4),
            (59, 40),
            (200, 15),
            SMALLEST,
            (61, 17),
            (119, 16),
            (120, 16),
            (500, 200),
        ] {
            drawn(&state, &theme(false, true), NOW, size);
        }
        press(&mut state, Key::Escape);
    }
    golden("too_small", &text(&drawn(&state, &theme(false, true), NOW, (40, 5))));
}

#[test]
fn an_interrupt_leaves_from_everywhere() {
    for key in [None, Some('?'), Some('a'), Some('t')] {
        let mut state = live();
        if let Some(key) = key {
            press(&mut state, Key::Char(key));
        }
        assert_eq!(press(&mut state, Key::Interrupt), Some(Effect::Quit(Exit::Interrupted)));
        let stop = state.apply(Event::Stop(Exit::Interrupted), NOW);
        assert_eq!(stop, Some(Effect::Quit(Exit::Interrupted)));
    }
}

#[test]
fn what_another_release_tells_is_passed_over() {
    let mut state = live();
    for data in [Value::Null, json!([]), json!("x"), json!({"timestamp": "x", "figure": -1})] {
        for name in ["", "sample", "cleanup", "alert", "thresholds", "later"] {
            state.apply(streamed(name, data.clone()), NOW);
        }
    }
    harmless(&state);
    state.apply(streamed("snapshot", json!(7)), NOW);
    assert!(state.shown().live.is_some());
}
