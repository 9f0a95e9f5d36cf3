//! The panels of who holds what: filled, empty, and with names that mean harm.

use plimsoll::prelude::*;
use serde_json::{Value, json};

use crate::{
    assert_no_faults,
    site::{Extra, Plan, Site},
    visit,
};

/// Everything that other parts of a server report.
pub(crate) fn everything() -> Extra {
    let sockets = json!({
        "open": 412, "closing": 3, "lingering": 1, "opened": 9_120, "closed": 8_704, "forced": 7, "refused": 2,
        "bytes": 12_400_000, "queuedMessages": 35, "queuedBytes": 91_000, "cap": 5_000, "oldestSeconds": 7_262, "events": 50,
        "transports": { "websocket": 390, "socketio": 20, "polling": 2, "sse": 0, "other": 0 },
    });
    let mut detail = sockets.clone();
    detail["connections"] = json!([{
        "id": 81, "peer": "203.0.113.9:50412", "transport": "websocket", "state": "lingering", "heldBy": ["a task of the lobby"], "rooms": ["lobby"], "tasks": 2,
        "queuedMessages": 20, "queuedBytes": 64_000, "bytes": 196_000, "ageSeconds": 7_262, "idleSeconds": 4,
    }]);
    detail["recent"] = json!([{ "timestamp": 1_767_868_200_000_u64, "kind": "forced", "connection": "c-7", "detail": "handler did not end" }]);
    let run = json!({
        "rule": "empty_threads", "cutoff": "2026-01-08T08:30:00Z", "selected": 120, "deleted": 118, "reprieved": 2,
        "batches": 1, "durationMs": 41, "more": false, "outcome": "ok", "detail": null,
    });
    let rule = |rule: &str, last: Value| {
        json!({ "rule": rule, "olderThanSeconds": 7_200, "backlog": 1_000, "backlogCapped": true,
            "lastSuccess": 1_767_868_200_000_u64, "deletedTotal": 40_118, "reprievedTotal": 2, "last": last })
    };
    let mut failed = run.clone();
    failed["outcome"] = json!("failed");
    failed["detail"] = json!("the database is locked");
    let retention = json!({
        "database": "postgres", "running": false, "paused": null, "intervalMs": 300_000,
        "lastRun": 1_767_868_200_000_u64, "nextRun": 1_767_868_500_000_u64,
        "rules": [rule("empty_threads", run), rule("abandoned_room_participants", failed)],
    });
    let forecast = json!({
        "slopeBytesPerSecond": 666_666.0, "criticalInSeconds": 2_400, "leakSuspected": true, "windowSeconds": 1_800, "method": "theil-sen",
    });
    Extra {
        report: json!({ "sockets": sockets, "retention": retention, "forecast": forecast }),
        snapshot: Value::Null,
        flood: 0,
        problem: Value::Null,
        answers: vec![("/monitoring/sockets", detail)],
    }
}

#[tokio::test]
async fn what_is_registered_is_shown() {
    let site = Site::with(Plan { extra: everything(), ..Plan::default() });
    let http = site.http();
    for _ in 0..30 {
        http.get("/orders/7").await;
    }
    let browser = visit!(site);
    browser
        .says(
            "#forecast",
            "Critical in about 40 min at this rate (40.0 MB a minute over 30 min): perhaps a leak.",
        )
        .await;
    browser.says("#where", "Live heap").await;
    browser.says("#where", "1.10 GB").await;
    browser.says("#where", "Free, kept by the allocator").await;
    browser.says("#routes", "/orders/{id}").await;
    browser.says("#sockets", "203.0.113.9:50412").await;
    browser.says("#sockets", "lingering, held by a task of the lobby").await;
    browser.says("#sockets", "412of 5,000").await;
    browser.says("#retention", "empty_threads").await;
    browser.says("#retention", "1,000+").await;
    browser.says("#retention", "✕ failed: the database is locked").await;
    browser.says("#pruners", "socket_events").await;
    // The busiest column first; a click sorts by another and says so to a screen reader.
    let sorted = "document.querySelector('#routes th:nth-child(5)').getAttribute('aria-sort')";
    browser.click("#routes th:nth-child(5) button").await;
    browser.until(&format!("{sorted} === 'descending'")).await;
    browser.click("#routes th:nth-child(5) button").await;
    browser.until(&format!("{sorted} === 'ascending'")).await;
    browser.until("document.activeElement.dataset.key === 'sort-4'").await;
    browser.screenshot("panels-filled").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn a_dry_run_of_the_rules_counts_and_deletes_nothing() {
    let mut extra = everything();
    let rule = |rule: &str, selected: u64| json!({ "rule": rule, "selected": selected, "deleted": 0, "outcome": "ok" });
    let rules = json!([rule("empty_threads", 118), rule("empty_chat_sessions", 9)]);
    extra
        .answers
        .push(("/cleanup/aggressive", json!({ "dryRun": true, "database": { "rules": rules } })));
    let site = Site::with(Plan { extra, ..Plan::default() });
    let browser = visit!(site);
    browser.click("#retention-dry").await;
    browser
        .says("#retention-said", "127 rows would go: empty_threads 118, empty_chat_sessions 9.")
        .await;
    let asked = "performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name.includes('aggressive'))";
    let asked = browser.value(asked).await;
    assert_eq!(asked.as_array().unwrap().len(), 1, "{asked}");
    assert!(asked[0].as_str().unwrap().ends_with("?dryRun=true"), "{asked}");
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn what_is_not_registered_says_how_to() {
    let site = Site::start();
    let browser = visit!(site);
    browser.says("#sockets", "No connections are registered.").await;
    browser.says("#retention", "No database rules are registered.").await;
    browser.says("#routes", "No request has been seen yet.").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn hostile_names_are_text() {
    let markup = "<img src=x onerror=\"window.__owned=1\"><script>window.__owned=2</script>";
    let control = "a\u{0}b\u{1b}[31mc\u{202e}txt.exe\u{7}\r\nd";
    let long = "x".repeat(10_000);
    let mut extra = everything();
    let alert = |name: &str| {
        json!({ "id": format!("{markup}-1"), "name": name, "severity": "warning", "state": "firing", "summary": markup,
            "since": "2026-01-08T10:30:00Z", "resolvedAt": null, "cleanupId": markup, "suppressed": 0 })
    };
    let route = |name: &str| {
        json!({ "route": name, "inFlight": 1, "reservedBytes": 5, "admitted": 2, "shed": 0, "shedByReason": {},
            "cancelled": 0, "memory": null, "lastReason": markup })
    };
    let names = [markup, control, &long];
    extra.answers.push((
        "/monitoring/alerts",
        json!({ "active": names.map(alert), "history": [], "silences": [], "sinks": [] }),
    ));
    extra.answers.push(("/monitoring/routes", json!({ "routes": names.map(route) })));
    let registry = CleanupRegistry::new();
    let registrations =
        names.map(|name| registry.register_fn(name, async |_| Ok(Pruned::entries(1))));
    extra.report["sockets"]["transports"] = json!({ markup: 3 });
    extra.report["retention"]["rules"][0]["rule"] = json!(markup);
    let site = Site::with(Plan {
        registry,
        extra,
        instance: "<b>shop</b>@<i>host</i>",
        ..Plan::default()
    });
    let browser = visit!(site);
    for panel in ["#alerts", "#routes", "#pruners", "#retention"] {
        browser.says(panel, "<img src=x onerror=").await;
    }
    browser.says("#service", "<b>shop</b>").await;
    // A cleanup brings the names into results, dialog and history.
    browser.click("#do-moderate").await;
    browser.says("#dialog", "<img src=x onerror=").await;
    browser.click("#dialog-go").await;
    browser.says("#result", "<img src=x onerror=").await;
    let found = browser
        .value(
            "[document.querySelectorAll('img, main script, i').length, window.__owned ?? null,
              /[\\u0000\\u001b\\u202e\\u0007]/.test(document.body.innerText),
              Math.max(...[...document.querySelectorAll('.name')].map((name) => name.textContent.length)),
              document.documentElement.scrollWidth <= innerWidth]",
        )
        .await;
    assert_eq!(found, json!([0, null, false, found[3].clone(), true]));
    assert!(found[3].as_u64().unwrap() < 300, "{found}");
    browser.screenshot("hostile-names").await;
    drop(registrations);
    assert_no_faults(&browser).await;
}
