//! What keeps a run within bounds, and what ends one.

use std::time::Duration;

use plimsoll_core::{CleanupLevel, MB, RetentionOutcome};

use super::support::{Db, on_both, plimsoll};
use crate::{Rule, brakes::Brakes, hours};

on_both!(
    most_of_a_table_is_not_deleted_unless_that_is_allowed,
    a_small_table_may_be_emptied,
    a_run_stops_at_its_rows_and_the_next_goes_on,
    rules_wait_while_memory_is_critical,
    batches_are_halved_while_memory_is_short,
    a_shutdown_ends_a_run_between_batches,
    no_cleanup_of_memory_deletes_a_row,
    the_schedule_runs_the_rules,
    two_instances_delete_each_row_once,
);

async fn most_of_a_table_is_not_deleted_unless_that_is_allowed(db: Db) {
    db.threads(1, 601, 0).await;
    db.threads(2_001, 2_600, super::support::NOW_S).await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    for run in [retention.run().await.remove(0), retention.preview().await.remove(0)] {
        assert_eq!((run.outcome, run.deleted), (RetentionOutcome::Refused, 0), "{run:?}");
        let detail = run.detail.unwrap();
        assert!(detail.contains("601 of 1201") && detail.contains("allow_majority"), "{detail}");
    }
    assert_eq!(db.count("threads").await, 1_201);
    let report = retention.report();
    assert_eq!((report.rules[0].backlog, report.rules[0].last_success), (Some(601), None));
    plimsoll.shutdown().await;

    let (plimsoll, _) = super::support::plimsoll();
    let rule = db.empty_threads().allow_majority();
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 601);
    plimsoll.shutdown().await;
    // Exactly half is no majority.
    db.threads(1, 600, 0).await;
    let (plimsoll, _) = super::support::plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 600);
    plimsoll.shutdown().await;
}

async fn a_small_table_may_be_emptied(db: Db) {
    db.threads(1, 1_000, 0).await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.deleted, run.outcome), (1_000, RetentionOutcome::Ok), "{run:?}");
    assert!(run.batches >= 2, "{run:?}");
    plimsoll.shutdown().await;
}

async fn a_run_stops_at_its_rows_and_the_next_goes_on(db: Db) {
    db.threads(1, 700, 0).await;
    let (plimsoll, _) = plimsoll();
    let brakes = Brakes { rows: 600, ..Brakes::default() };
    let rules = db.rules().brakes(brakes).rule(db.empty_threads());
    let retention = rules.start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.deleted, run.more, run.outcome), (600, true, RetentionOutcome::Ok), "{run:?}");
    let rule = &retention.report().rules[0];
    assert_eq!((rule.backlog, rule.backlog_capped), (Some(100), false));
    let run = retention.run().await.remove(0);
    assert_eq!((run.deleted, run.more), (100, false), "{run:?}");
    assert_eq!(retention.report().rules[0].deleted_total, 700);
    plimsoll.shutdown().await;
}

async fn rules_wait_while_memory_is_critical(db: Db) {
    db.threads(1, 10, 0).await;
    let (plimsoll, script) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    script.set_rss(2_500 * MB);
    plimsoll.check().await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.outcome, run.deleted), (RetentionOutcome::Paused, 0), "{run:?}");
    assert!(run.detail.unwrap().contains("memory is critical"));
    assert_eq!(db.count("threads").await, 10);
    plimsoll.shutdown().await;
}

async fn batches_are_halved_while_memory_is_short(db: Db) {
    db.threads(1, 500, 0).await;
    let (plimsoll, script) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    script.set_rss(1_500 * MB);
    plimsoll.check().await.unwrap();
    let run = retention.run().await.remove(0);
    // 250 first, then at least one more; all in one batch otherwise.
    assert_eq!(run.deleted, 500, "{run:?}");
    assert!(run.batches >= 2, "{run:?}");
    plimsoll.shutdown().await;
}

async fn a_shutdown_ends_a_run_between_batches(db: Db) {
    db.threads(1, 900, 0).await;
    let (plimsoll, _) = plimsoll();
    // As long as it likes: the shutdown ends the wait.
    let brakes = Brakes { pause: Duration::from_secs(600), ..Brakes::default() };
    let rules = db.rules().brakes(brakes).rule(db.empty_threads());
    let retention = rules.start(&plimsoll).await.unwrap();
    let run = retention.clone();
    let run = tokio::spawn(async move { run.run().await.remove(0) });
    while retention.report().rules[0].deleted_total == 0 {
        tokio::task::yield_now().await;
    }
    plimsoll.shutdown().await;
    let run = run.await.unwrap();
    assert_eq!((run.outcome, run.deleted, run.more), (RetentionOutcome::Stopped, 500, true));
    assert_eq!(db.count("threads").await, 400);
    let after = retention.run().await.remove(0);
    assert_eq!((after.outcome, after.deleted), (RetentionOutcome::Stopped, 0), "none begins later");
}

async fn no_cleanup_of_memory_deletes_a_row(db: Db) {
    db.threads(1, 10, 0).await;
    let (plimsoll, script) = plimsoll();
    let _retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    plimsoll.cleanup(CleanupLevel::Aggressive).await.unwrap();
    // Over both thresholds by itself, until the automatic cleanup has run.
    script.set_rss(2_500 * MB);
    plimsoll.check().await.unwrap();
    while !plimsoll.cleanups(9).iter().any(|record| record.trigger.as_str() == "threshold") {
        tokio::task::yield_now().await;
    }
    assert_eq!(db.count("threads").await, 10);
    let report = plimsoll.report().retention.unwrap();
    assert_eq!((report.last_run, report.rules[0].last.as_ref()), (None, None));
    plimsoll.shutdown().await;
}

async fn the_schedule_runs_the_rules(db: Db) {
    db.threads(1, 10, 0).await;
    let (plimsoll, _) = plimsoll();
    let rules = db.rules().rule(db.empty_threads()).interval(Duration::from_secs(1)).scheduled();
    let retention = rules.start(&plimsoll).await.unwrap();
    while retention.report().rules[0].last_success.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(db.count("threads").await, 0);
    assert!(retention.report().next_run.is_some());
    plimsoll.shutdown().await;
}

async fn two_instances_delete_each_row_once(db: Db) {
    db.threads(1, 3_000, 0).await;
    let other = db.other_instance().await;
    let ((one, _), (two, _)) = (plimsoll(), plimsoll());
    let rule = || db.empty_threads().allow_majority();
    let first = db.rules().rule(rule()).start(&one).await.unwrap();
    let second = other.rules().rule(rule()).start(&two).await.unwrap();
    let (one_run, two_run) = tokio::join!(first.run(), second.run());
    // Whoever found the other at work has left; the rest is for the next run.
    let last = first.run().await;
    let deleted: u64 = [&one_run, &two_run, &last].iter().map(|runs| runs[0].deleted).sum();
    assert_eq!(deleted, 3_000, "{one_run:?} {two_run:?} {last:?}");
    assert_eq!(db.count("threads").await, 0);
    one.shutdown().await;
    two.shutdown().await;
    other.close().await;
}

#[tokio::test]
async fn a_rule_of_another_session_is_left_to_it() {
    let Some(db) = Db::postgres().await else { return };
    let Db::Postgres(pool, _) = &db else { unreachable!("made above") };
    db.threads(1, 10, 0).await;
    let (plimsoll, _) = plimsoll();
    let second =
        Rule::delete_from("room_participants").older_than(db.age("last_seen_at"), hours(6));
    let rules = db.rules().rule(db.empty_threads()).rule(second);
    let retention = rules.start(&plimsoll).await.unwrap();
    let mut elsewhere = pool.begin().await.unwrap();
    let key: i64 = crate::plan::lock_key("\"public\".\"threads\"", "empty_threads");
    assert_eq!(key, -6_916_149_691_783_426_497, "old and new versions have to agree");
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(key)
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    let runs = retention.run().await;
    assert_eq!(runs[0].outcome, RetentionOutcome::Elsewhere, "{runs:?}");
    assert_eq!((runs[0].deleted, runs[1].outcome), (0, RetentionOutcome::Ok));
    assert_eq!(retention.report().rules[0].backlog, None, "the other instance knows");
    elsewhere.rollback().await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 10);
    plimsoll.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_to_match_behind_a_run_goes_once_that_has_come_to_its_end() {
    let db = Db::sqlite().await;
    for id in 1..=30 {
        db.thread(id, id).await;
    }
    db.execute("INSERT INTO messages (id, thread_id) VALUES (1, 1)").await;
    let (plimsoll, _) = plimsoll();
    let brakes = Brakes { rows: 20, ..Brakes::default() };
    let retention =
        db.rules().brakes(brakes).rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.deleted, run.more), (20, true), "{run:?}");
    db.execute("DELETE FROM messages").await;
    // The second goes on behind the first; the third begins anew.
    let run = retention.run().await.remove(0);
    assert_eq!((run.deleted, run.more), (9, true), "{run:?}");
    assert_eq!(retention.run().await[0].deleted, 1);
    assert_eq!(db.count("threads").await, 0);
    plimsoll.shutdown().await;
}
