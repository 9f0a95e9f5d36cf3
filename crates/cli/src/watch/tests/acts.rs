//! What keys and events lead to.

use super::*;

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
