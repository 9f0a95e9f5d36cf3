//! Exactly the rows that match, on the tables of a chat.

use plimsoll_core::{RetentionOutcome, RetentionRun};

use super::support::{Db, HOUR, NOW_S, on_both, plimsoll};
use crate::{Rule, hours};

on_both!(
    exactly_the_matching_threads_go,
    rules_run_in_order_so_that_what_they_empty_goes_too,
    participants_go_by_a_key_of_two_columns,
    a_dry_run_counts_the_same_rows_and_writes_nothing,
    nothing_to_do_is_a_success,
);

/// Forty threads of which seven match.
async fn plant(db: &Db) -> Vec<i64> {
    let cutoff = NOW_S - 2 * HOUR;
    let mut matching = Vec::new();
    for (id, created) in (1..=7).zip([1, 2, 60, HOUR, 24 * HOUR, 10_000 * HOUR, 100]) {
        db.thread(id, cutoff - created).await;
        matching.push(id);
    }
    // The boundary: exactly two hours old, and a second younger than that.
    db.thread(8, cutoff).await;
    db.thread(9, cutoff + 1).await;
    for id in 10..15 {
        db.thread(id, None).await;
    }
    for id in 15..20 {
        db.thread(id, NOW_S + id * HOUR).await;
    }
    for id in 20..30 {
        db.thread(id, cutoff - 1_000).await;
        db.execute(&format!("INSERT INTO messages (id, thread_id, body) VALUES ({id}, {id}, 'x')"))
            .await;
    }
    for id in 30..=40 {
        db.thread(id, NOW_S - id).await;
    }
    assert_eq!(db.count("threads").await, 40);
    matching
}

async fn exactly_the_matching_threads_go(db: Db) {
    let matching = plant(&db).await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let runs = retention.run().await;
    let [run] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!(run.outcome, RetentionOutcome::Ok, "{run:?}");
    assert_eq!((run.selected, run.deleted, run.reprieved), (7, 7, 0));
    assert_eq!((run.batches, run.more, run.rule.as_str()), (1, false, "empty_threads"));
    assert_eq!(run.cutoff, "2026-01-08T08:30:00Z");
    let left: Vec<_> = (1..=40).filter(|id| !matching.contains(id)).collect();
    assert_eq!(db.ids("threads").await, left);
    assert_eq!(db.count("messages").await, 10, "no message went");

    let report = plimsoll.report().retention.unwrap();
    let rule = &report.rules[0];
    assert_eq!((rule.deleted_total, rule.reprieved_total), (7, 0));
    assert_eq!((rule.backlog, rule.backlog_capped), (Some(0), false));
    assert_eq!((rule.older_than_seconds, rule.last.as_ref()), (7_200, Some(run)));
    assert!(rule.last_success.is_some() && report.last_run.is_some() && !report.running);
    plimsoll.shutdown().await;
}

async fn rules_run_in_order_so_that_what_they_empty_goes_too(db: Db) {
    let old = db.moment(NOW_S - 48 * HOUR);
    for id in 1..=3 {
        let text = format!("INSERT INTO chat_sessions (id, last_activity_at) VALUES ({id}, {old})");
        db.execute(&text).await;
        let text =
            format!("INSERT INTO threads (id, session_id, created_at) VALUES ({id}, {id}, {old})");
        db.execute(&text).await;
    }
    db.execute("INSERT INTO messages (id, thread_id) VALUES (1, 3)").await;
    let sessions = Rule::delete_from("chat_sessions")
        .named("empty_chat_sessions")
        .older_than(db.age("last_activity_at"), hours(24))
        .unless_exists("threads", "session_id");
    let (plimsoll, _) = plimsoll();
    let rules = db.rules().rule(db.empty_threads()).rule(sessions);
    let retention = rules.start(&plimsoll).await.unwrap();
    let cascades = retention.warnings().iter().filter(|w| w.contains("ON DELETE CASCADE")).count();
    assert_eq!(cascades, 2, "{:?}", retention.warnings());
    let deleted: Vec<_> = retention.run().await.iter().map(|run| run.deleted).collect();
    assert_eq!(deleted, [2, 2]);
    assert_eq!(db.ids("chat_sessions").await, [3]);
    assert_eq!((db.ids("threads").await, db.count("messages").await), (vec![3], 1));
    plimsoll.shutdown().await;
}

async fn participants_go_by_a_key_of_two_columns(db: Db) {
    for room in 1..=5 {
        for (user, seen) in [("ann", 5 * HOUR), ("o'brien, \"bob\"", 7 * HOUR), ("cy\\{}", 0)] {
            let seen = db.moment(NOW_S - seen);
            let user = user.replace('\'', "''");
            db.execute(&format!("INSERT INTO room_participants VALUES ({room}, '{user}', {seen})"))
                .await;
        }
    }
    let rule = Rule::delete_from("room_participants")
        .named("abandoned_room_participants")
        .key(["room_id", "user_id"])
        .older_than(db.age("last_seen_at"), hours(6));
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    let preview = retention.preview().await;
    assert!(preview[0].sample_keys.contains(&"3,o'brien, \"bob\"".to_owned()), "{preview:?}");
    let run = &retention.run().await[0];
    assert_eq!((run.deleted, run.outcome), (5, RetentionOutcome::Ok), "{run:?}");
    let left = "SELECT count(*) FROM room_participants WHERE user_id IN ('ann', 'cy\\{}')";
    assert_eq!((db.numbers(left).await, db.count("room_participants").await), (vec![10], 10));
    plimsoll.shutdown().await;
}

async fn a_dry_run_counts_the_same_rows_and_writes_nothing(db: Db) {
    plant(&db).await;
    let before = db.contents().await;
    let written = written(&db).await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let RetentionRun { selected, deleted, batches, sample_keys, outcome, detail, .. } =
        retention.preview().await.remove(0);
    assert_eq!((selected, deleted, batches, outcome), (7, 0, 0, RetentionOutcome::Ok));
    assert_eq!(detail.as_deref(), Some("older than 2h"));
    // The five oldest, from the oldest on.
    assert_eq!(sample_keys, ["6", "5", "4", "7", "3"]);
    assert_eq!(db.contents().await, before);
    assert_eq!(self::written(&db).await, written, "nobody wrote");
    assert_eq!(plimsoll.report().retention.unwrap().rules[0].last, None);
    plimsoll.shutdown().await;
}

/// What moves with every write.
async fn written(db: &Db) -> Vec<i64> {
    match db {
        Db::Sqlite(_, file) => vec![
            std::fs::metadata(format!("{}-wal", file.0.display())).unwrap().len().cast_signed(),
            std::fs::metadata(&file.0).unwrap().len().cast_signed(),
        ],
        // Deleting, changing and locking a row leave their mark on it.
        Db::Postgres(..) => db.numbers("SELECT xmax::text::bigint FROM threads ORDER BY id").await,
    }
}

async fn nothing_to_do_is_a_success(db: Db) {
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let run = &retention.run().await[0];
    assert_eq!((run.outcome, run.batches, run.more), (RetentionOutcome::Ok, 0, false));
    plimsoll.shutdown().await;
}
