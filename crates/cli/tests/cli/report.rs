//! `report`: the shape that scripts read, to the byte.
use crate::support::{Answer, Server, fixture, golden, ok, problem};

fn with_status(status: &str) -> String {
    fixture("report").replace(r#""status":"healthy""#, &format!(r#""status":"{status}""#))
}

#[test]
fn the_report_matches_the_contract_to_the_byte() {
    let server = Server::always(ok(fixture("report")));
    for command in ["report", "memory:report"] {
        let ran = server.run(&[command]);
        assert_eq!(ran.stdout, golden("report"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(server.requests()[0].line(), "GET /api/monitoring/memory");
}

#[test]
fn ascii_is_chosen_by_flag_terminal_and_locale() {
    let server = Server::always(ok(fixture("report")));
    let flag = server.run(&["report", "--ascii"]);
    assert_eq!(flag.stdout, golden("report_ascii"));
    for (name, value) in [("TERM", "dumb"), ("LC_ALL", "C")] {
        let ran = crate::support::run(server.command(&["report"]).env(name, value));
        assert_eq!(ran.stdout, flag.stdout, "{name}={value}");
    }
}

#[test]
fn a_figure_that_is_not_known_is_not_zero() {
    let bare = r#"{"success":true,"data":{"status":"critical","current":{"rss":null},"later":1}}"#;
    let ran = Server::always(ok(bare)).run(&["report", "-v"]);
    assert_eq!(ran.stdout, golden("report_unknown"));
    assert_eq!(ran.code, Some(0));
}

#[test]
fn more_facts_come_below_the_fixed_shape() {
    let ran = Server::always(ok(fixture("report"))).run(&["report", "-v"]);
    assert_eq!(ran.stdout, golden("report_details"));
    assert!(ran.stderr.starts_with("GET http://127.0.0.1:"), "{}", ran.stderr);
}

#[test]
fn times_are_local_unless_utc_is_asked_for() {
    let server = Server::always(ok(fixture("report")));
    let local = crate::support::run(server.command(&["report"]).env("TZ", "XXX-2"));
    assert!(local.stdout.contains("1. 2025-01-08 12:25:00 - "), "{}", local.stdout);
    let utc = crate::support::run(server.command(&["report", "--utc"]).env("TZ", "XXX-2"));
    assert_eq!(utc.stdout, golden("report"));
}

#[test]
fn check_prints_one_line_and_tells_the_level_by_its_exit_code() {
    for (status, code, line) in [
        ("healthy", 0, "✅ healthy: 1200MB (workingSet), warning 2000MB, critical 3000MB\n"),
        ("warning", 10, "⚠️ warning: 1200MB (workingSet), warning 2000MB, critical 3000MB\n"),
        ("critical", 11, "🚨 critical: 1200MB (workingSet), warning 2000MB, critical 3000MB\n"),
        ("later", 1, "later: 1200MB (workingSet), warning 2000MB, critical 3000MB\n"),
    ] {
        let server = Server::always(ok(with_status(status)));
        let ran = server.run(&["report", "--check"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), line), "{status}");
        let json = server.run(&["report", "--check", "--json"]);
        assert_eq!(json.code, Some(code), "{status}");
        // Without the flag a level is no failure.
        assert_eq!(server.run(&["report"]).code, Some(0), "{status}");
    }
}

#[test]
fn critical_is_told_with_its_own_symbol() {
    let ran = Server::always(ok(with_status("critical"))).run(&["report"]);
    assert!(ran.stdout.contains("\nStatus: 🚨 CRITICAL\n"), "{}", ran.stdout);
    let ran = Server::always(ok(with_status("warning"))).run(&["report"]);
    assert!(ran.stdout.contains("\nStatus: ⚠️ WARNING\n"), "{}", ran.stdout);
}

#[test]
fn json_is_one_document_with_the_servers_own_members() {
    let server = Server::always(ok(fixture("report")));
    let ran = server.run(&["report", "--json"]);
    assert_eq!(ran.stdout.lines().count(), 1);
    let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let sent: serde_json::Value = serde_json::from_str(&fixture("report")).unwrap();
    assert_eq!(printed, sent);
}

fn many(count: u32) -> String {
    let records: Vec<String> = (0..count)
        .map(|number| {
            // The oldest first, so that the order printed is the tool's own.
            let timestamp = 1_736_331_600_000_u64 + u64::from(number) * 60_000;
            format!(
                r#"{{"timestamp":{timestamp},"freedMemory":{},"actions":["a: 1 removed"]}}"#,
                number * 1_000_000
            )
        })
        .collect();
    format!(r#"{{"success":true,"data":{{"samples":[],"cleanups":[{}]}}}}"#, records.join(","))
}

#[test]
fn a_longer_history_comes_from_the_history_route_newest_first() {
    let server = Server::start(|request, _| {
        if request.target.starts_with("/api/monitoring/history?minutes=") {
            ok(many(12))
        } else {
            ok(fixture("report"))
        }
    });
    let ran = server.run(&["report", "--history", "10"]);
    let cleanups: Vec<&str> =
        ran.stdout.lines().filter(|line| line.contains(" - Freed ")).collect();
    assert_eq!(cleanups.len(), 10);
    assert_eq!(cleanups[0], "  1. 2025-01-08 10:31:00 - Freed 11MB (1 action)");
    assert_eq!(cleanups[9], "  10. 2025-01-08 10:22:00 - Freed 2MB (1 action)");

    let json = server.run(&["report", "--history", "10", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["data"]["cleanupHistory"].as_array().unwrap().len(), 10);

    let few = server.run(&["report", "--history", "1"]);
    assert_eq!(few.stdout.matches(" - Freed ").count(), 1);
    let asked = server.requests().iter().filter(|r| r.target.contains("history")).count();
    assert_eq!(asked, 2, "a short history needs no second request");
}

#[test]
fn a_missing_history_route_leaves_the_reports_own_cleanups() {
    let server = Server::start(|request, _| {
        if request.target.contains("history") {
            problem(404, "no such route")
        } else {
            ok(fixture("report"))
        }
    });
    let ran = server.run(&["report", "--history", "10"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), golden("report")));
    assert!(ran.stderr.contains("no such route"), "{}", ran.stderr);
}

#[test]
fn names_of_a_hostile_server_cannot_reach_the_terminal() {
    let hostile = r#"{"success":true,"timestamp":"\u001b[2J","data":{
        "status":"\u001b]0;owned\u0007","metric":"rss\nStatus: HEALTHY","instance":"a\u009b31m\u202eb",
        "current":{"rss":1},"release":{"backends":["\u001b[31mglibc\r"]},
        "alerts":[{"name":"\u0008\u0008x"}],"guard":{"mode":"\u001bc"}}}"#;
    let server = Server::always(ok(hostile));
    for arguments in [&["report", "-v"] as &[&str], &["report", "--check"], &["report", "--json"]] {
        let ran = server.run(arguments);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.stdout.contains(bad), "{arguments:?}: {:?}", ran.stdout);
        assert!(!ran.stdout.contains("\nStatus: HEALTHY"), "{:?}", ran.stdout);
    }
    let ran = server.run(&["report"]);
    assert!(ran.stdout.contains(r"Status: \u{1b}]0;OWNED\u{7}"), "{}", ran.stdout);
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    let server = Server::always(ok(fixture("report")));
    assert!(!server.run(&["report"]).stdout.contains('\x1b'));
    let always = server.run(&["report", "--color", "always"]);
    assert!(always.stdout.contains("Status: ✅ \x1b[32mHEALTHY\x1b[0m\n"), "{:?}", always.stdout);
    let error = crate::support::run(
        crate::support::plimsoll(&["report", "--color", "always"])
            .env("PLIMSOLL_URL", &crate::support::dead().url),
    );
    assert!(error.stderr.contains("\x1b["), "{:?}", error.stderr);
}

#[test]
fn what_is_no_report_is_said_to_be_none() {
    let answers = [
        (ok("<html>"), "did not answer with JSON"),
        (ok(""), "did not answer with JSON"),
        (ok("[1]"), "did not answer as a Plimsoll server does"),
        (ok(r#"{"data":{"id":1}}"#), "did not answer as a Plimsoll server does"),
        (ok(r#"{"success":true}"#), "did not answer as a Plimsoll server does"),
        (ok("[".repeat(100_000)), "did not answer with JSON"),
        (Answer::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "does not speak HTTP"),
    ];
    for (answer, message) in answers {
        let ran = Server::always(answer.clone()).run(&["report"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{answer:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: http://127.0.0.1:"), "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{message}: {}", ran.stderr);
    }
}
