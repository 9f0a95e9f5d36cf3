use std::sync::Arc;

use http::{Method, StatusCode};
use http_body_util::Full;
use plimsoll_core::{CleanupLevel, MB, Plimsoll, Pruned, ReleaseBackend, RetentionOutcome};
use plimsoll_monitor::MonitorRouteLayer;
use plimsoll_testkit::{Answer as Does, RecordingPruner, ScriptHandle, ScriptedSource};
use serde_json::json;
use tower::Layer as _;

use crate::support::{AGGRESSIVE, Answer, App, MEMORY, Server, local, rules};

const CLEANUP: &str = r#"{"action":"cleanup"}"#;

#[tokio::test]
async fn the_record_is_the_answer_with_the_status_beside_it() {
    let server = Server::start();
    let pruner = RecordingPruner::new(Does::Claim(Pruned::entries(7).bytes(4_096)));
    let _held = server.plimsoll.registry().register("cache", pruner);
    let answer = server.post(MEMORY, CLEANUP).await;
    let data = answer.data();
    assert_eq!((&data["level"], &data["trigger"]), (&"moderate".into(), &"api".into()));
    assert_eq!(data["status"], "healthy");
    assert_eq!(data["actions"][0], "cache: 7 removed");
    assert_eq!(data["results"][0]["outcome"], "ok");
    assert_eq!(answer.json()["message"], "Freed 0MB (1 action)");
    assert_eq!(data["id"], server.plimsoll.cleanups(1)[0].id);
}

#[tokio::test]
async fn the_level_is_the_one_asked_for_or_the_one_deserved() {
    let server = Server::with(Plimsoll::builder().automatic_cleanup(false), |layer| layer);
    let aggressive = r#"{"action":"cleanup","level":"aggressive"}"#;
    assert_eq!(server.post(MEMORY, aggressive).await.data()["level"], "aggressive");
    server.script.set_rss(3_500 * MB);
    server.plimsoll.check().await.unwrap();
    assert_eq!(server.post(MEMORY, CLEANUP).await.data()["level"], "aggressive");
    let moderate = r#"{"action":"cleanup","level":"moderate","later":1}"#;
    let data = server.post(MEMORY, moderate).await.data();
    assert_eq!((&data["level"], &data["status"]), (&"moderate".into(), &"critical".into()));
}

#[tokio::test]
async fn the_command_line_tool_is_told_from_others() {
    let server = Server::start();
    for (agent, trigger) in
        [("plimsoll-cli/0.1.0", "cli"), ("curl/8", "api"), ("not plimsoll-cli/0.1.0", "api")]
    {
        let request = local(Method::POST, MEMORY)
            .header("content-type", "application/json")
            .header("user-agent", agent)
            .body(Full::<bytes::Bytes>::from(CLEANUP))
            .unwrap();
        let answer = Answer::of(server.ask(request).await).await;
        assert_eq!(answer.data()["trigger"], trigger, "{agent}");
    }
}

#[tokio::test]
async fn a_dry_run_drops_nothing() {
    let server = Server::start();
    let pruner = RecordingPruner::new(Does::Claim(Pruned::entries(7)));
    let _held = server.plimsoll.registry().register("cache", pruner.clone());
    let data = server.post(MEMORY, r#"{"action":"cleanup","dryRun":true}"#).await.data();
    assert_eq!(data["dryRun"], true);
    for (path, body) in [
        (format!("{AGGRESSIVE}?dryRun=true"), ""),
        (format!("{AGGRESSIVE}?dryRun"), "{}"),
        (AGGRESSIVE.to_owned(), r#"{"dryRun":true}"#),
        (format!("{AGGRESSIVE}?dryRun=false"), r#"{"dryRun":true}"#),
    ] {
        let data = server.post(&path, body).await.data();
        assert_eq!(data["dryRun"], true, "{path} {body}");
        assert_eq!(data["memory"]["cleanup"]["dryRun"], true);
        assert_eq!(data["memory"]["cleanup"]["results"][0]["outcome"], "dryRun");
    }
    assert_eq!(pruner.requests().len(), 0);
}

#[tokio::test]
async fn the_aggressive_route_has_a_database_part_and_a_memory_part() {
    let server = Server::start();
    let data = server.post(AGGRESSIVE, "").await.data();
    assert_eq!(data["dryRun"], false);
    assert_eq!(data["database"], json!({"rules": []}), "none are registered");
    assert_eq!(data["memory"]["cleanup"]["level"], "aggressive");
    assert_eq!(data["memory"]["status"], "healthy");
}

#[tokio::test]
async fn a_failed_action_is_told_and_the_others_ran() {
    let server = Server::start();
    let registry = server.plimsoll.registry();
    let _bad = registry.register("bad", RecordingPruner::new(Does::Fail("no".to_owned())));
    let _panics = registry.register("panics", RecordingPruner::new(Does::Panic("!".to_owned())));
    let _good = registry.register("good", RecordingPruner::new(Does::Claim(Pruned::entries(1))));
    let data = server.post(MEMORY, CLEANUP).await.data();
    let outcome = |name: &str| {
        let results = data["results"].as_array().unwrap();
        results.iter().find(|result| result["name"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!((outcome("bad"), outcome("panics")), ("failed".into(), "panicked".into()));
    assert_eq!(outcome("good"), "ok");
}

#[tokio::test]
async fn a_second_call_joins_the_first() {
    let server = Server::start();
    let pruner = RecordingPruner::new(Does::Held(Pruned::entries(1)));
    let _held = server.plimsoll.registry().register("slow", pruner.clone());
    let second = async {
        pruner.started(1).await;
        let both = async { tokio::join!(server.post(MEMORY, CLEANUP), server.get(MEMORY)) };
        let let_go = async {
            // By now the second call waits too; the report does not.
            tokio::task::yield_now().await;
            pruner.let_go();
        };
        tokio::join!(both, let_go).0
    };
    let (first, (second, report)) = tokio::join!(server.post(MEMORY, CLEANUP), second);
    assert_eq!(first.data()["id"], second.data()["id"]);
    report.data();
    assert_eq!(pruner.requests().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_the_cleanup() {
    let server = Server::start();
    let pruner = RecordingPruner::new(Does::Held(Pruned::entries(1)));
    let _held = server.plimsoll.registry().register("slow", pruner.clone());
    let call = server.post(MEMORY, CLEANUP);
    tokio::select! {
        _ = call => panic!("it cannot have ended"),
        () = pruner.started(1) => {}
    }
    pruner.let_go();
    // Joins the one that was left, if it still runs.
    server.plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
    let kept = server.plimsoll.cleanups(9);
    let left = kept.last().unwrap();
    assert_eq!(left.trigger.as_str(), "api");
    assert!(!left.has_failures());
}

#[tokio::test]
async fn after_a_shutdown_cleanups_are_refused() {
    let server = Server::start();
    server.plimsoll.shutdown().await;
    let answer = server.post(MEMORY, CLEANUP).await;
    answer.problem(503, "shutting-down");
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(server.get(MEMORY).await.status(), StatusCode::OK, "the report stays");
}

#[tokio::test]
async fn database_rules_run_before_memory_is_cleaned() {
    let server = Server::start();
    let rules = rules(&[RetentionOutcome::Ok, RetentionOutcome::Paused, RetentionOutcome::Refused]);
    server.plimsoll.attach_retention(rules.clone()).unwrap();
    let data = server.post(AGGRESSIVE, "").await.data();
    assert_eq!(data["database"]["rules"][1]["outcome"], "paused");
    assert_eq!(data["memory"]["cleanup"]["level"], "aggressive");
    server.post(&format!("{AGGRESSIVE}?dryRun"), "").await.data();
    // A cleanup of memory runs no database rule, whatever its level.
    server.post(MEMORY, r#"{"action":"cleanup","level":"aggressive"}"#).await.data();
    assert_eq!(rules.asked(), [false, true]);
}

#[tokio::test]
async fn a_failed_rule_is_a_failure_that_tells_what_was_done() {
    let server = Server::start();
    let rules = rules(&[RetentionOutcome::Ok, RetentionOutcome::Failed]);
    server.plimsoll.attach_retention(rules).unwrap();
    let problem = server.post(AGGRESSIVE, "").await.problem(500, "database-rules-failed");
    assert_eq!(problem["detail"], "1 of 2 database rules failed: rule_1");
    assert_eq!(problem["report"]["database"]["rules"][1]["outcome"], "failed");
    assert_eq!(problem["report"]["memory"]["cleanup"]["level"], "aggressive");
    assert_eq!(server.plimsoll.cleanups(9).len(), 1, "memory was cleaned nevertheless");
}

#[tokio::test]
async fn rules_that_all_run_elsewhere_are_a_conflict() {
    let server = Server::start();
    let rules = rules(&[RetentionOutcome::Elsewhere, RetentionOutcome::Elsewhere]);
    server.plimsoll.attach_retention(rules).unwrap();
    let problem = server.post(AGGRESSIVE, "").await.problem(409, "database-rules-elsewhere");
    assert_eq!(problem["database"]["rules"][0]["outcome"], "skipped:elsewhere");
    assert_eq!(server.plimsoll.cleanups(9).len(), 0);
}

#[tokio::test]
async fn one_runner_holds_the_rules_of_a_process() {
    let server = Server::start();
    server.plimsoll.attach_retention(rules(&[])).unwrap();
    assert!(server.plimsoll.attach_retention(rules(&[])).is_err());
    server.plimsoll.shutdown().await;
    server.post(AGGRESSIVE, "").await.problem(503, "shutting-down");
}

#[tokio::test]
async fn a_release_gives_back_and_drops_nothing() {
    struct Allocator(ScriptHandle);
    impl ReleaseBackend for Allocator {
        fn name(&self) -> &'static str {
            "scripted"
        }
        fn release(&self) {
            self.0.update(|reading| reading.rss_bytes = Some(900 * MB));
        }
    }
    let (source, script) = ScriptedSource::with_rss(1_400 * MB);
    let builder = Plimsoll::builder().release_backend(Arc::new(Allocator(script.clone())));
    let plimsoll = builder.start_with(source).unwrap();
    let pruner = RecordingPruner::new(Does::Claim(Pruned::entries(1)));
    let _registered = plimsoll.registry().register("cache", pruner.clone());
    let app = MonitorRouteLayer::new(&plimsoll).layer(App);
    let server = Server { plimsoll, script, app };
    let answer = server.post(MEMORY, r#"{"action":"release"}"#).await;
    let data = answer.data();
    assert_eq!(answer.json()["message"], "Released 500MB (scripted)");
    assert_eq!(data["freedMemory"], 500 * MB);
    assert_eq!((&data["beforeBytes"], &data["afterBytes"]), (&json!(1_400 * MB), &json!(900 * MB)));
    // The second pass brought nothing, so there was no third.
    assert_eq!(data["passes"], 2);
    assert!(pruner.requests().is_empty() && server.plimsoll.cleanups(1).is_empty());

    let without = Server::start();
    without.post(MEMORY, r#"{"action":"release"}"#).await.problem(409, "no-release");
}
