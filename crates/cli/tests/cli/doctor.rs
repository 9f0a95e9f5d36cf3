//! `doctor`: each finding with its fix, and the exit code that follows.
use crate::support::{Answer, Ran, Server, dead, fixture, ok, plimsoll, problem, run};
use serde_json::Value;

const NO_ALERTS: &str = r#"{"success":true,"data":{"active":[],"history":[],"silences":[],"sinks":[
    {"name":"log","delivered":9,"failed":0,"dropped":0},{"name":"webhook","delivered":3,"failed":0,"dropped":0}]}}"#;

/// A server whose report is `report`, and which answers the probe of the operate scope.
fn server(report: String, probe: Answer) -> Server {
    with_alerts(report, probe, ok(NO_ALERTS))
}

/// The same, with an answer of its own about alerts.
fn with_alerts(report: String, probe: Answer, alerts: Answer) -> Server {
    Server::start(move |request, _| match request.method.as_str() {
        "GET" if request.target.ends_with("/alerts") => alerts.clone(),
        "GET" => ok(report.clone()),
        _ => probe.clone(),
    })
}

fn unknown_action() -> Answer {
    problem(400, "unknown action `doctor`; accepted: cleanup, updateThresholds")
}

/// The line of a check.
fn line<'a>(ran: &'a Ran, name: &str) -> &'a str {
    ran.stdout.lines().find(|line| is_about(line, name)).unwrap_or_else(|| panic!("{ran:?}"))
}

/// The fix below the line of a check.
fn help<'a>(ran: &'a Ran, name: &str) -> &'a str {
    ran.stdout.lines().skip_while(|line| !is_about(line, name)).nth(1).unwrap()
}

fn is_about(line: &str, name: &str) -> bool {
    line.split_whitespace().nth(1) == Some(name)
}

#[test]
fn a_sound_server_passes_every_check() {
    let server = server(fixture("report"), unknown_action());
    let ran = server.run(&["doctor"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let start = format!("✅ server      {} chat@host 0.1.0, up 2h 11m, ", server.url);
    assert!(lines[0].starts_with(&start) && lines[0].ends_with(" ms"), "{}", lines[0]);
    assert_eq!(
        lines[1..],
        [
            "✅ access      loopback, scopes read+operate",
            "✅ memory      healthy, 1200MB",
            "✅ release     glibc",
            "✅ limit       4000MB; warning 2000MB, critical 3000MB",
            "✅ cleanup     last 2025-01-08 10:25:00 freed 800MB; no failed actions",
            "✅ forecast    none: this server makes no forecast",
            "✅ alerts      to log, webhook",
            "all checks passed",
        ]
    );
    let young = fixture("report").replace(r#""uptimeSeconds":7860"#, r#""uptimeSeconds":60"#);
    let ran = self::server(young, unknown_action()).run(&["doctor"]);
    assert!(
        ran.stdout.contains("forecast    none yet: it takes 20m of readings\n"),
        "{}",
        ran.stdout
    );
    let ascii = server.run(&["doctor", "--ascii"]);
    assert!(ascii.stdout.is_ascii() && ascii.stdout.contains("[ok]   release     glibc\n"));
}

#[test]
fn json_lists_the_checks() {
    let ran = server(fixture("report"), problem(403, "scope")).run(&["doctor", "--json"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(10), 1));
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["errors"], &document["warnings"]), (&Value::from(0), &Value::from(1)));
    let names: Vec<_> = document["checks"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(
        names,
        ["server", "access", "memory", "release", "limit", "cleanup", "forecast", "alerts"]
    );
}

#[test]
fn a_threshold_above_the_limit_comes_with_the_command_that_mends_it() {
    let report = fixture("report").replace(r#""limit":4000000000"#, r#""limit":2147483648"#);
    let ran = server(report, unknown_action()).run(&["doctor"]);
    assert_eq!(ran.code, Some(11));
    assert_eq!(
        line(&ran, "limit"),
        "❌ limit       critical 3000MB is above the container limit 2147MB: it can never fire"
    );
    assert_eq!(help(&ran, "limit"), "   help: plimsoll thresholds 70%,85%   (1503MB, 1825MB)");
    assert!(ran.stdout.ends_with("\n1 error, 0 warnings\n"), "{}", ran.stdout);

    let report = fixture("report").replace(r#""limit":4000000000"#, r#""limit":3150000000"#);
    let ran = server(report, unknown_action()).run(&["doctor"]);
    assert_eq!(ran.code, Some(10));
    assert!(line(&ran, "limit").starts_with("⚠️ limit       critical 3000MB is within 5%"));

    let report = fixture("report").replace(r#""limit":4000000000"#, r#""limit":null"#);
    let ran = server(report, unknown_action()).run(&["doctor"]);
    assert_eq!(ran.code, Some(0));
    assert!(line(&ran, "limit").contains("no container limit known"));
}

#[test]
fn levels_backends_and_failed_actions_are_findings() {
    let record = r#""results":[{"name":"leaky","outcome":"timedOut"}]"#;
    let report = fixture("report")
        .replace(r#""status":"healthy""#, r#""status":"critical""#)
        .replace(r#""backends":["glibc"]"#, r#""backends":[]"#)
        .replacen(r#""results":[]"#, record, 1);
    let ran = server(report, unknown_action()).run(&["doctor"]);
    assert_eq!(ran.code, Some(11));
    assert_eq!(line(&ran, "memory"), "❌ memory      critical, 1200MB");
    assert_eq!(help(&ran, "memory"), "   help: plimsoll cleanup --level aggressive");
    assert!(line(&ran, "release").starts_with("⚠️ release     no backend"));
    assert!(line(&ran, "cleanup").ends_with("; 1 failed action, newest: leaky timed out"));
    assert!(ran.stdout.ends_with("\n1 error, 2 warnings\n"), "{}", ran.stdout);
}

#[test]
fn a_sampler_that_stands_still_is_an_error() {
    let report = fixture("report").replace("2025-01-08T10:29:58Z", "2025-01-08T09:29:58Z");
    let ran = server(report, unknown_action()).run(&["doctor"]);
    assert_eq!(ran.code, Some(11));
    assert!(line(&ran, "memory").contains("the last check was 1h 0m ago"), "{}", ran.stdout);
}

#[test]
fn what_the_kernel_tells_is_one_line_and_what_it_does_not_is_no_fault() {
    for (events, expected) in [
        (
            r#"{"active":["usage thresholds of cgroup v1","memory pressure of the machine"],"missing":[]}"#,
            "✅ events      usage thresholds of cgroup v1, memory pressure of the machine",
        ),
        (
            r#"{"active":[],"missing":["usage thresholds of cgroup v1: Permission denied"]}"#,
            "✅ events      none, the sampler looks by its own period; no usage thresholds of cgroup \
             v1: Permission denied",
        ),
    ] {
        let events = format!(r#""events":{events},"alerts""#);
        let report = fixture("report").replace(r#""alerts""#, &events);
        let ran = server(report, unknown_action()).run(&["doctor"]);
        assert_eq!(ran.code, Some(0));
        assert_eq!(line(&ran, "events"), expected);
    }
}

#[test]
fn the_guard_says_where_it_has_the_costs_from_if_the_server_tells() {
    for (attributed, expected) in [
        ("true", "✅ guard       enforce, costs learned by plimsoll::alloc::Attributing"),
        (
            "false",
            "✅ guard       enforce, costs as declared: plimsoll::alloc::Attributing over the global \
             allocator would learn them",
        ),
    ] {
        let told = format!(r#""wouldHaveShed":0,"attributed":{attributed}"#);
        let report = fixture("report").replace(r#""wouldHaveShed":0"#, &told);
        let ran = server(report, unknown_action()).run(&["doctor"]);
        assert_eq!(ran.code, Some(0));
        assert_eq!(line(&ran, "guard"), expected);
    }
    let ran = server(fixture("report"), unknown_action()).run(&["doctor"]);
    assert!(!ran.stdout.contains("guard"), "{}", ran.stdout);
}

#[test]
fn a_source_that_cannot_be_read_is_an_error() {
    let error =
        r#""readingError":{"message":"memory.current: permission denied","ageMs":9},"alerts""#;
    let report = fixture("report").replace(r#""alerts""#, error);
    let ran = server(report, unknown_action()).run(&["doctor"]);
    assert_eq!(ran.code, Some(11));
    assert!(line(&ran, "memory").ends_with("cannot be read: memory.current: permission denied"));
}

#[test]
fn the_probe_of_the_operate_scope_names_no_real_action() {
    let server = server(fixture("report"), problem(401, "no"));
    let ran = server.run(&["doctor"]);
    assert_eq!(ran.code, Some(10));
    assert_eq!(line(&ran, "access"), "⚠️ access      loopback, scope read only");
    let probe = server.requests().into_iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(probe.body, r#"{"action":"doctor"}"#);
}

#[test]
fn a_server_that_cannot_be_asked_is_the_only_finding() {
    let dead = dead();
    let url = dead.url.clone();
    let ran = run(plimsoll(&["doctor"]).env("PLIMSOLL_URL", &url));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), ""));
    assert_eq!(
        ran.stdout,
        format!(
            "❌ server      cannot reach {url}: connection refused\n   \
             help: start the server, or set PLIMSOLL_URL to its address\n1 error, 0 warnings\n"
        )
    );
    let ran = Server::always(problem(403, "not from here")).run(&["doctor"]);
    assert_eq!(ran.code, Some(4));
    assert_eq!(line(&ran, "access"), "❌ access      not from here");
}

#[test]
fn a_suspected_leak_is_a_finding_and_other_slopes_are_none() {
    for (slope, seconds, leak, expected) in [
        (
            "250400.0",
            "2400",
            "true",
            "⚠️ forecast    a leak is suspected: live memory rises by 250 kB a second over 20m 0s, critical in about 40m 0s at this rate",
        ),
        (
            "250400.0",
            "9000",
            "false",
            "✅ forecast    live memory rises by 250 kB a second over 20m 0s, critical in about 2h 30m at this rate",
        ),
        (
            "-90000",
            "null",
            "false",
            "✅ forecast    live memory falls by 90 kB a second over 20m 0s",
        ),
        ("12", "null", "false", "✅ forecast    live memory is steady over 20m 0s"),
        ("\"much\"", "null", "null", "✅ forecast    n/a"),
    ] {
        let forecast = format!(
            r#""forecast":{{"slopeBytesPerSecond":{slope},"criticalInSeconds":{seconds},"leakSuspected":{leak},"windowSeconds":1200,"method":"theil-sen"}},"alerts""#
        );
        let report = fixture("report").replace(r#""alerts""#, &forecast);
        let ran = server(report.clone(), unknown_action()).run(&["doctor"]);
        assert_eq!(line(&ran, "forecast"), expected);
        assert_eq!(ran.code, Some(if leak == "true" { 10 } else { 0 }));
        if leak == "true" {
            assert!(help(&ran, "forecast").contains("plimsoll watch"), "{}", ran.stdout);
        }
        let shown = server(report, unknown_action()).run(&["report", "-v"]);
        let words = expected.split_once("forecast    ").unwrap().1;
        assert!(
            shown.stdout.contains(&format!("  Forecast:          {words}\n")),
            "{}",
            shown.stdout
        );
    }
}

#[test]
fn database_rules_that_fail_wait_or_fall_behind_are_findings() {
    // The server's clock says 2025-01-08 10:30:00.
    let retention = |paused: &str, rule: &str| {
        let retention = format!(
            r#""retention":{{"database":"sqlite","running":false,"paused":{paused},"intervalMs":300000,"lastRun":1736332080000,"nextRun":null,"rules":[{rule}]}}"#
        );
        fixture("report").replace(r#""retention":null"#, &retention)
    };
    let rule = |backlog: &str, success: &str, last: &str| {
        format!(
            r#"{{"rule":"empty_threads","olderThanSeconds":7200,"backlog":{backlog},"backlogCapped":false,"lastSuccess":{success},"deletedTotal":1,"reprievedTotal":0,"last":{last}}}"#
        )
    };
    let fine = rule("0", "1736332080000", r#"{"outcome":"ok","detail":null}"#);
    for (report, code, expected) in [
        (retention("null", &fine), 0, "✅ retention   1 rule, last success 2m 0s ago, backlog 0"),
        (
            retention("null", &rule("null", "null", "null")),
            0,
            "✅ retention   1 rule, last run 2m 0s ago, backlog n/a",
        ),
        (
            retention(r#""memory is critical""#, &fine),
            10,
            "⚠️ retention   1 rule, last success 2m 0s ago, backlog 0; paused: memory is critical",
        ),
        (
            retention("null", &rule("7", "1736330000000", r#"{"outcome":"ok"}"#)),
            10,
            "⚠️ retention   1 rule, last success 36m 40s ago, backlog 7; empty_threads falls behind",
        ),
        (
            retention("null", &rule("7", "null", r#"{"outcome":"refused","detail":"no key"}"#)),
            10,
            "⚠️ retention   1 rule, last run 2m 0s ago, backlog 7; empty_threads refused: no key",
        ),
    ] {
        let ran = server(report, unknown_action()).run(&["doctor"]);
        assert_eq!((line(&ran, "retention"), ran.code), (expected, Some(code)));
        assert_eq!(code == 10, help(&ran, "retention").starts_with("   help: "), "{}", ran.stdout);
    }
}

#[test]
fn alerts_that_fire_and_sinks_that_fail_are_findings() {
    let ran =
        with_alerts(fixture("report"), unknown_action(), ok(fixture("alerts"))).run(&["doctor"]);
    assert_eq!(ran.code, Some(10));
    assert_eq!(
        line(&ran, "alerts"),
        "⚠️ alerts      to log, webhook; silenced: MemoryWarning; webhook: 1 failed, 0 dropped"
    );
    assert_eq!(help(&ran, "alerts"), "   help: `plimsoll alerts --test` says why");
    let fires = fixture("alerts").replace(r#""failed":1"#, r#""failed":0"#);
    let ran = with_alerts(fixture("report"), unknown_action(), ok(fires)).run(&["doctor"]);
    assert!(line(&ran, "alerts").ends_with("; 2 firing: MemoryCritical, MemoryLeakSuspected"));
    let log = r#"{"success":true,"data":{"sinks":[{"name":"log","delivered":1}]}}"#;
    let ran = with_alerts(fixture("report"), unknown_action(), ok(log)).run(&["doctor"]);
    assert_eq!(ran.code, Some(0));
    assert!(line(&ran, "alerts").starts_with("✅ alerts      log only"), "{}", ran.stdout);
    let ran = with_alerts(fixture("report"), unknown_action(), problem(404, "no such route"))
        .run(&["doctor"]);
    assert_eq!(line(&ran, "alerts"), "⚠️ alerts      n/a: no such route");
    assert!(help(&ran, "alerts").starts_with("   help: "), "{}", ran.stdout);
}

#[test]
fn hostile_figures_and_names_do_not_reach_the_terminal() {
    let report = r#"{"success":true,"data":{"status":"\u001b[1m","instance":"\u001b]2;x\u0007",
        "version":"\n✅ server ok","bytes":{"limit":18446744073709551615},
        "thresholdBytes":{"critical":18446744073709551615},"uptimeSeconds":18446744073709551615,
        "release":{"backends":["\u009b"]},"cleanupHistory":[{"timestamp":-9223372036854775808,
        "results":[{"name":"\u001bc","outcome":"\u001b"}]}]}}"#;
    let ran = server(report.to_owned(), problem(400, "\\u001b[2J")).run(&["doctor"]);
    assert!(!ran.stdout.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.stdout);
    assert!(!ran.stdout.contains("\n✅ server ok"), "{}", ran.stdout);
}
