//! `alerts`: the list, the test of the sinks, silences, resolving, and names that are hostile.
use crate::support::{Request, Server, fixture, golden, ok, problem};
use serde_json::{Value, json};

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn the_list_tells_what_is_wrong_what_is_silenced_what_was_and_who_is_told() {
    let server = Server::always(ok(fixture("alerts")));
    let ran = server.run(&["alerts"]);
    assert_eq!((ran.code, ran.stdout, ran.stderr.as_str()), (Some(0), golden("alerts"), ""));
    assert_eq!(server.requests()[0].line(), "GET /api/monitoring/alerts");

    let json = server.run(&["alerts", "--json"]);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, json.stdout.lines().count()), (Some(0), 1));
    assert_eq!(document["data"]["active"][0]["name"], "MemoryCritical");

    let ascii = server.run(&["alerts", "--ascii"]);
    assert!(ascii.stdout.is_ascii(), "{}", ascii.stdout);
    assert!(ascii.stdout.contains("[fail] MemoryCritical (firing)"), "{}", ascii.stdout);

    let none = r#"{"success":true,"data":{"active":[],"history":[],"silences":[],
        "sinks":[{"name":"log","delivered":0,"failed":0,"dropped":0,"withdrawn":0,"waiting":0}]}}"#;
    let ran = Server::always(ok(none)).run(&["alerts"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), golden("alerts_none")));
}

#[test]
fn a_test_tells_how_each_sink_fared_and_fails_with_one_of_them() {
    let tested = r#"{"success":true,"message":"Delivered to 2 of 3 sinks","data":{"sinks":[
        {"sink":"log","delivered":true,"error":null},{"sink":"slack","delivered":true,"error":null},
        {"sink":"webhook","delivered":false,"error":"the receiver answered 404 Not Found"}]}}"#;
    let server = Server::always(ok(tested));
    let ran = server.run(&["alerts", "--test"]);
    assert_eq!((ran.code, ran.stdout), (Some(7), golden("alerts_test")));
    assert_eq!(ran.stderr, "error: 1 of 3 actions failed\n");
    assert_eq!(server.requests()[0].line(), "POST /api/monitoring/alerts/test");

    let only_log = r#"{"success":true,"data":{"sinks":[{"sink":"log","delivered":true}]}}"#;
    let ran = Server::always(ok(only_log)).run(&["alerts", "--test"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        ran.stdout,
        "✅ log: delivered\n   help: the server sets ALERT_WEBHOOK_URL or ALERT_SLACK_URL to tell \
         somebody\n"
    );
}

#[test]
fn a_rule_is_silenced_for_a_while_and_an_alert_resolved_by_its_id() {
    let said = r#"{"success":true,"message":"MemoryWarning is silenced for 60 min","data":{}}"#;
    let server = Server::always(ok(said));
    let ran = server.run(&["alerts", "--silence", "MemoryWarning", "--for", "1h"]);
    let stdout = "MemoryWarning is silenced for 60 min\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), stdout));
    server.run(&["alerts", "--silence", "MemoryWarning", "--for", "0s"]);
    server.run(&["alerts", "--resolve", "MemoryCritical-17-2"]);
    let requests = server.requests();
    assert_eq!(requests[0].line(), "POST /api/monitoring/alerts/silence");
    assert_eq!(body(&requests[0]), json!({"name": "MemoryWarning", "for": "3600000ms"}));
    assert_eq!(body(&requests[1])["for"], "0ms");
    assert_eq!(requests[2].line(), "POST /api/monitoring/alerts/MemoryCritical-17-2/resolve");
}

#[test]
fn the_server_says_which_names_and_ids_there_are() {
    let server = Server::always(problem(422, "/name: must be one of MemoryCritical"));
    let ran = server.run(&["alerts", "--silence", "Memory", "--for", "1h"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""));
    assert_eq!(ran.stderr, "error: /name: must be one of MemoryCritical\n");
    let unknown = "no alert has the id x; accepted are the ids of the list of alerts";
    let ran = Server::always(problem(404, unknown)).run(&["alerts", "--resolve", "x"]);
    let stderr =
        format!("error: {unknown}\n  help: `plimsoll alerts` lists the alerts with their ids\n");
    assert_eq!((ran.code, ran.stderr), (Some(5), stderr));
    let ran = Server::always(problem(403, "scope operate is needed")).run(&["alerts", "--test"]);
    assert_eq!(ran.code, Some(4));
}

#[test]
fn hostile_names_are_text() {
    let long = "n".repeat(10_000);
    let hostile = format!(
        r#"{{"success":true,"message":"\u001b[2J<b>","data":{{
        "active":[{{"id":"\u001b]0;x\u0007","name":"<script>\u001b[31m{long}","severity":"critical","state":"firing\r","summary":"a\nError: b\u202e\u009b","since":"\u001b"}}],
        "history":[{{"name":"\u0000","summary":"\u001bc","resolvedAt":"x"}}],
        "silences":[{{"name":"\u001b[1A","until":"\u001b"}}],
        "sinks":[{{"name":"{long}\u001b","delivered":1}}, {{"sink":"\u001b[31m","delivered":false,"error":"\u001b[2J\n"}}]}}}}"#
    );
    let server = Server::always(ok(hostile));
    for arguments in [
        &["alerts"] as &[&str],
        &["alerts", "--json"],
        &["alerts", "--test"],
        &["alerts", "--resolve", "a-1"],
    ] {
        let ran = server.run(arguments);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.stdout.contains(bad) && !ran.stderr.contains(bad), "{arguments:?}: {ran:?}");
        assert!(!ran.stdout.contains("\nError: b"), "{arguments:?}");
    }
    let ran = server.run(&["alerts"]);
    // What is markup elsewhere is shown as it is, and what is endless is cut.
    assert!(ran.stdout.contains(r"❌ <script>\u{1b}[31mnnn"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() < 1_000), "{}", ran.stdout);
}
