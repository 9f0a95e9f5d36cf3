//! `cleanup`, `thresholds` and `aggressive`: what is sent, what is printed, how it ends.
use crate::support::{Answer, Request, Server, dead, fixture, golden, ok, plimsoll, problem, run};
use serde_json::{Value, json};

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn a_cleanup_tells_what_it_freed_and_what_each_action_did() {
    let server = Server::always(ok(fixture("cleanup")));
    let ran = server.run(&["cleanup", "--level", "aggressive"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), golden("cleanup")));
    let request = &server.requests()[0];
    assert_eq!(request.line(), "POST /api/monitoring/memory");
    assert_eq!(body(request), json!({"action": "cleanup", "level": "aggressive"}));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("user-agent").unwrap().starts_with("plimsoll-cli/"));
}

#[test]
fn the_level_is_left_to_the_server_unless_it_is_named() {
    let server = Server::always(ok(fixture("cleanup")));
    for arguments in [
        &["cleanup"] as &[&str],
        &["memory:cleanup"],
        &["cleanup", "--level", "auto"],
        &["cleanup", "--level", "moderate", "--dry-run"],
    ] {
        server.run(arguments);
    }
    let sent: Vec<Value> = server.requests().iter().map(body).collect();
    let plain = json!({"action": "cleanup"});
    let dry = json!({"action": "cleanup", "level": "moderate", "dryRun": true});
    assert_eq!(sent, [plain.clone(), plain.clone(), plain, dry]);
}

#[test]
fn a_dry_run_never_claims_to_have_freed() {
    let ran = Server::always(ok(fixture("cleanup_dry_run"))).run(&["cleanup", "--dry-run"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), golden("cleanup_dry_run")));
}

#[test]
fn failed_actions_are_marked_and_end_in_7() {
    let server = Server::always(ok(fixture("cleanup_failed")));
    let ran = server.run(&["cleanup"]);
    assert_eq!((ran.code, ran.stdout), (Some(7), golden("cleanup_failed")));
    assert_eq!(ran.stderr, "error: 2 of 4 actions failed\n");

    let json = server.run(&["cleanup", "--json"]);
    assert_eq!(json.code, Some(7));
    assert_eq!(json.stdout.lines().count(), 1, "the record, and no second document");
    serde_json::from_str::<Value>(&json.stdout).unwrap();
}

#[test]
fn a_server_fault_that_carries_a_report_of_failures_ends_in_7() {
    let fault = r#"{"status":500,"detail":"it broke","data":{"cleanup":{"freedMemory":1,
        "results":[{"name":"a","outcome":"failed"}]}}}"#;
    let ran = Server::always(crate::support::Answer::Json(500, fault.to_owned())).run(&["cleanup"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(7), "error: it broke\n"));
}

#[test]
fn an_accepted_cleanup_without_a_record_shows_the_servers_words() {
    let started = r#"{"success":true,"message":"Started\u001b","data":{"id":"5"}}"#;
    let ran =
        Server::always(crate::support::Answer::Json(202, started.to_owned())).run(&["cleanup"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Started\\u{1b}\n"));
}

#[test]
fn hostile_action_names_stay_on_their_line() {
    let hostile = r#"{"success":true,"data":{"freedMemory":0,"actions":["x\u001b[31m: \u001b[2J"],
        "results":[{"name":"x\u001b[31m","removed":1,"outcome":"ok","detail":"a\nb"},
                   {"name":"y","outcome":"\u0007bad","detail":"\r\u009b"}]}}"#;
    let ran = Server::always(ok(hostile)).run(&["cleanup"]);
    assert_eq!(ran.code, Some(7));
    assert_eq!(ran.stdout.lines().count(), 3, "{:?}", ran.stdout);
    assert!(!ran.stdout.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.stdout);
}

#[test]
fn a_pair_out_of_order_is_refused_before_the_server_is_asked() {
    for arguments in
        [&["thresholds", "3000,2000"] as &[&str], &["memory:thresholds", "3000", "2000"]]
    {
        let ran = run(plimsoll(arguments).env("PLIMSOLL_URL", &dead().url));
        assert_eq!(ran.stderr, golden("thresholds_out_of_order"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""));
    }
}

#[test]
fn thresholds_are_shown_and_changed() {
    let changed = r#"{"success":true,"message":"Thresholds updated","data":{
        "thresholds":{"warning":1500,"critical":2500,"unit":"MB","source":"api"},
        "previous":{"warning":2000,"critical":2500,"unit":"MB","source":"default"},"status":"warning"}}"#;
    let server =
        Server::start(
            move |request, _| {
                if request.method == "GET" { ok(fixture("report")) } else { ok(changed) }
            },
        );
    let shown = server.run(&["thresholds"]);
    assert_eq!((shown.code, shown.stdout), (Some(0), golden("thresholds")));
    let json: Value = serde_json::from_str(&server.run(&["thresholds", "--json"]).stdout).unwrap();
    assert_eq!(json["data"]["thresholds"]["warning"], 2000);
    assert_eq!(json["data"]["thresholdBytes"]["critical"], 3_000_000_000_u64);

    let ran = server.run(&["thresholds", "1500", "2.5gb"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), golden("thresholds_changed")));
    let sent = body(server.requests().last().unwrap());
    let sides = json!({"warning": 1500, "critical": "2.5GB"});
    assert_eq!(sent, json!({"action": "updateThresholds", "thresholds": sides}));
}

#[test]
fn a_refusal_of_the_server_is_told_in_its_words() {
    let server = Server::always(problem(422, "warning (2000MB) must be lower than critical (1MB)"));
    let ran = server.run(&["thresholds", ",1"]);
    assert_eq!(ran.code, Some(5));
    assert_eq!(ran.stderr, "error: warning (2000MB) must be lower than critical (1MB)\n");
}

#[test]
fn what_is_no_threshold_is_a_usage_error() {
    for bad in
        [&["thresholds", "1500"] as &[&str], &["thresholds", "a,b"], &["thresholds", "1,2,3"]]
    {
        let ran = run(plimsoll(bad).env("PLIMSOLL_URL", &dead().url));
        assert_eq!(ran.code, Some(2), "{bad:?}");
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    assert_eq!(run(&mut plimsoll(&["thresholds", "1", "2", "3"])).code, Some(2));
}

#[test]
fn rows_are_not_deleted_where_nobody_can_agree() {
    let server = Server::always(ok(fixture("aggressive")));
    let ran = server.run(&["aggressive"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    assert!(server.requests().is_empty());
}

#[test]
fn a_dry_run_shows_the_rows_of_each_rule() {
    let server = Server::always(ok(fixture("aggressive_dry_run")));
    let ran = server.run(&["aggressive", "--dry-run"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), golden("aggressive_dry_run")));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].line(), "POST /api/cleanup/aggressive?dryRun=true");
}

#[test]
fn yes_deletes_without_a_question_and_tells_failed_rules() {
    let server = Server::always(ok(fixture("aggressive")));
    let ran = server.run(&["aggressive", "--yes"]);
    assert_eq!((ran.code, ran.stdout), (Some(7), golden("aggressive")));
    assert_eq!(ran.stderr, "error: 1 of 4 actions failed\n");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].line(), "POST /api/cleanup/aggressive");
}

/// What a server answers when a rule failed: a problem that holds the report.
#[test]
fn a_failure_that_tells_what_was_done_is_shown_like_a_report() {
    let done: serde_json::Value = serde_json::from_str(&fixture("aggressive")).unwrap();
    let problem = json!({
        "success": false, "error": "Database rules failed", "title": "Database rules failed",
        "type": "https://plimsoll.rs/problems/database-rules-failed", "status": 500,
        "detail": "1 of 3 database rules failed: abandoned_room_participants",
        "report": done["data"],
    });
    let server = Server::always(Answer::Json(500, problem.to_string()));
    let ran = server.run(&["aggressive", "--yes"]);
    assert_eq!((ran.code, ran.stdout), (Some(7), golden("aggressive")));
    assert_eq!(ran.stderr, "error: 1 of 4 actions failed\n");
}

#[test]
fn rules_that_wait_or_run_elsewhere_are_no_failures() {
    let document = json!({"success": true, "data": {"dryRun": false, "database": {"rules": [
        {"rule": "a", "deleted": 0, "outcome": "paused", "detail": "memory is critical"},
        {"rule": "b", "deleted": 5, "outcome": "skipped:elsewhere"},
        {"rule": "c", "deleted": 1, "outcome": "stopped"},
    ]}}});
    let ran = Server::always(ok(document.to_string())).run(&["aggressive", "--yes"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for line in ["paused (memory is critical)", "5 deleted  skipped:elsewhere", "stopped"] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    let paused = json!({"success": true, "data": {"database": {"rules": [
        {"rule": "a", "deleted": 0, "outcome": "paused", "detail": "memory is critical"},
        {"rule": "b", "deleted": 0, "outcome": "paused", "detail": "memory is critical"},
    ]}}});
    let ran = Server::always(ok(paused.to_string())).run(&["aggressive", "--yes"]);
    assert_eq!(ran.code, Some(7), "nothing of what was asked for was done");
    assert!(ran.stderr.starts_with("note: no rule ran, so no row was deleted"), "{}", ran.stderr);
    let refused = json!({"success": true, "data": {"database": {"rules": [
        {"rule": "a", "deleted": 0, "outcome": "refused", "detail": "601 of 1201 rows match"},
    ]}}});
    let ran = Server::always(ok(refused.to_string())).run(&["aggressive", "--yes"]);
    assert_eq!(ran.code, Some(7), "somebody has to look at it");
}

#[test]
fn without_database_rules_the_memory_part_goes_on() {
    let only_memory = r#"{"success":true,"data":{"dryRun":false,"database":null,"memory":{"cleanup":
        {"freedMemory":5000000,"actions":["release_memory: 1 pass"],"results":[]}}}}"#;
    let ran = Server::always(ok(only_memory)).run(&["aggressive", "--yes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "🧹 Freed 5MB (1 action)\n"));
    assert!(ran.stderr.contains("no database rules"), "{}", ran.stderr);
}
