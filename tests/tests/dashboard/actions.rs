//! What an operator starts: counted, asked about, done, and told.

use plimsoll::prelude::*;
use plimsoll_testkit::Answer;
use serde_json::json;

use crate::{
    assert_no_faults,
    site::{Extra, Plan, Site},
    visit,
};

const ESCAPE: &str = "\u{e00c}";

#[tokio::test]
async fn a_cleanup_is_counted_confirmed_and_told() {
    let site = Site::start();
    let browser = visit!(site);
    browser.says("#cleanups", "None needed so far. Thresholds are at 2.00 GB and 3.00 GB.").await;
    // Counted first, and dropped on Esc.
    browser.click("#do-moderate").await;
    browser.says("#dialog", "This drops 950 entries in memory.").await;
    browser.says("#dialog", "12.0 MB").await;
    browser.screenshot("confirm-cleanup").await;
    browser.press(&[ESCAPE]).await;
    browser.until("!document.querySelector('#dialog').open").await;
    assert!(site.pruner.requests().is_empty(), "a dry run prunes nothing");
    // Confirmed.
    browser.click("#do-moderate").await;
    browser.says("#dialog", "950 entries").await;
    browser.click("#dialog-go").await;
    browser.says("#result", "Freed").await;
    browser.says("#result", "socket_events 950 removed · 12.0 MB").await;
    assert_eq!(site.pruner.requests().len(), 1);
    let record = &site.plimsoll.cleanups(1)[0];
    let actions = record.actions.len();
    browser.says("#result", &format!("· {actions} actions ·")).await;
    // In the list as well, opening to its actions.
    let row = format!("[data-cleanup='{}'] summary", record.id);
    browser.says(&row, "moderate").await;
    browser.click(&row).await;
    browser.says(&format!("[data-cleanup='{}']", record.id), "socket_events 950 removed").await;
    browser.screenshot("cleanup-done").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn an_action_that_fails_says_why() {
    let site = Site::start();
    site.pruner.answer_with(Answer::Fail("the disk is on fire".to_owned()));
    let browser = visit!(site);
    browser.click("#do-aggressive").await;
    browser.says("#dialog", "950 entries").await;
    browser.click("#dialog-go").await;
    browser.says("#result li.bad", "✕ socket_events failed · the disk is on fire").await;
    browser.says("#cleanups", "1 failure").await;
    browser.says("#alerts", "CleanupFailed").await;
    browser.screenshot("cleanup-failed").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn buttons_wait_while_a_cleanup_runs_here_or_elsewhere() {
    let site = Site::start();
    site.pruner.answer_with(Answer::Held(Pruned::entries(1)));
    let browser = visit!(site);
    browser.click("#do-moderate").await;
    browser.says("#dialog", "950 entries").await;
    browser.click("#dialog-go").await;
    browser.says("#cooldown", "Moderate cleanup is running").await;
    browser.until("document.querySelector('#do-release').disabled").await;
    browser.screenshot("cleanup-running").await;
    site.pruner.let_go();
    browser.says("#result", "Freed").await;
    browser.until("!document.querySelector('#do-release').disabled").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn unused_memory_is_released_without_a_question() {
    let site = Site::start();
    let browser = visit!(site);
    browser.click("#do-release").await;
    browser.says("#result", "Released 120 MB · 3 passes by scripted").await;
    assert_eq!(browser.value("document.querySelector('#dialog').open").await, false);
    assert!(site.pruner.requests().is_empty());
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn rows_are_counted_by_a_dry_run_before_they_are_deleted() {
    let run = |deleted: u64, outcome: &str| {
        json!({
            "rule": "empty_threads", "cutoff": "2026-01-08T08:30:00Z", "selected": 118,
            "deleted": deleted, "reprieved": 118 - deleted - 2, "batches": 1, "durationMs": 41,
            "more": false, "outcome": outcome, "detail": null, "sampleKeys": ["17", "18"],
        })
    };
    let cleanup = json!({
        "id": "c-1", "timestamp": 1_767_868_200_000_u64, "level": "aggressive", "trigger": "api",
        "freedMemory": 800_000_000, "beforeBytes": 1_800_000_000, "afterBytes": 1_000_000_000,
        "durationMs": 412, "actions": ["cache: 10 removed"],
        "results": [{ "name": "cache", "removed": 10, "freedBytes": 4_096, "durationMs": 3, "outcome": "ok", "detail": null }],
    });
    let answer = json!({
        "dryRun": true, "database": { "rules": [run(0, "ok")] },
        "memory": { "cleanup": cleanup, "status": "healthy" },
    });
    let extra =
        Extra { answers: vec![("/cleanup/aggressive", answer.clone())], ..Extra::default() };
    let site = Site::with(Plan { extra, ..Plan::default() });
    let browser = visit!(site);
    browser.click("#do-database").await;
    browser.says("#dialog", "This drops 118 database rows and 10 entries in memory").await;
    browser.says("#dialog", "17, 18").await;
    browser.screenshot("confirm-database").await;
    let mut done = answer;
    done["dryRun"] = json!(false);
    done["database"]["rules"] = json!([run(116, "ok")]);
    site.extra.lock().unwrap().answers = vec![("/cleanup/aggressive", done)];
    browser.click("#dialog-go").await;
    browser.says("#result", "empty_threads 116 deleted of 118").await;
    browser.says("#result", "Freed 800 MB · 1 action · 412 ms").await;
    // A rule that fails comes as a problem, which tells what the others did.
    let report = json!({ "database": { "rules": [run(116, "ok"), run(0, "failed")] } });
    site.extra.lock().unwrap().problem =
        json!({ "detail": "1 of 2 database rules failed: empty_threads", "report": report });
    browser.click("#do-database").await;
    browser.says("#dialog", "1 of 2 database rules failed").await;
    browser.says("#dialog li.bad", "✕ empty_threads 0 deleted of 118").await;
    assert_eq!(browser.value("document.querySelector('#dialog-go').disabled").await, true);
    browser.screenshot("confirm-failed").await;
    assert_no_faults(&browser).await;
}
