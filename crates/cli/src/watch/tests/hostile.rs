//! What no server should say, and sizes that no screen should have.

use super::*;

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
