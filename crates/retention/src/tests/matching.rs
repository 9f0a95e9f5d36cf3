//! Each kind of age column, and further conditions.

use std::time::Duration;

use plimsoll_core::RetentionOutcome;

use super::support::{Db, HOUR, NOW, NOW_S, on_both, plimsoll};
use crate::{AgeColumn, Is, Rule, hours, iso_text, unix_millis, unix_seconds};

on_both!(
    texts_are_moments_only_when_they_are_whole,
    milliseconds_and_seconds_are_cut_so_that_rows_stay,
    of_several_age_columns_the_newest_counts,
    further_conditions_all_have_to_hold,
    values_are_bound_and_never_read_as_sql,
    names_that_are_words_of_sql_work,
);

/// Makes the table `t (id, moment)`, runs a rule over it, and returns what is left.
async fn left(db: &Db, kind: &str, age: AgeColumn, rows: &[(i64, String)]) -> Vec<i64> {
    db.execute(&format!("CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, moment {kind})")).await;
    for (id, moment) in rows {
        db.execute(&format!("INSERT INTO t VALUES ({id}, {moment})")).await;
    }
    let rule = Rule::delete_from("t").older_than(age, hours(2));
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!(run.outcome, RetentionOutcome::Ok, "{run:?}");
    plimsoll.shutdown().await;
    db.ids("t").await
}

async fn texts_are_moments_only_when_they_are_whole(db: Db) {
    // The cutoff is 2026-01-08T08:30:00.400Z.
    let gone = [
        "2026-01-08T08:30:00Z",
        "2026-01-08 08:30:00.399",
        "2026-01-08T10:29:59+02:00",
        "2026-01-07T22:30:00-10:00",
        "2026-01-08T08:29Z",
        "1999-12-31 23:59:59",
        "2026-01-01T00:00:00",
    ];
    let kept = [
        "2026-01-08T08:30:00.400Z",
        "2026-01-08T08:30:01Z",
        "2026-01-08T08:00:00-01:00",
        "2026-01-08T19:00:00+10:00",
        "2027-01-01T00:00:00Z",
        "",
        "never",
        "now",
        "0",
        "2460000.5",
        "08:30",
        "0000-00-00 00:00:00",
        "2026-13-01T00:00:00Z",
        "2025-01-01T99:00:00Z",
        "2025-01-01 soon",
        "'; DROP TABLE t; --",
    ];
    let mut rows: Vec<_> = (1..)
        .zip(gone.iter().chain(&kept))
        .map(|(id, text)| (id, format!("'{}'", text.replace('\'', "''"))))
        .collect();
    rows.push((99, "NULL".to_owned()));
    let expected: Vec<_> =
        rows.iter().map(|(id, _)| *id).filter(|id| *id > gone.len() as i64).collect();
    assert_eq!(left(&db, "text", iso_text("moment"), &rows).await, expected);
}

async fn milliseconds_and_seconds_are_cut_so_that_rows_stay(db: Db) {
    let cutoff = NOW / 1_000 - 2 * HOUR * 1_000;
    let rows = [
        (1, (cutoff - 1).to_string()),
        (2, cutoff.to_string()),
        (3, (cutoff + 1).to_string()),
        (4, "NULL".to_owned()),
        (5, (NOW / 1_000 + 1).to_string()),
        (6, i64::MAX.to_string()),
    ];
    assert_eq!(left(&db, "bigint", unix_millis("moment"), &rows).await, [2, 3, 4, 5, 6]);
    db.execute("DROP TABLE t").await;
    // This second began 0.4 s before the cutoff, and a row that was cut to it may be younger.
    let cutoff = NOW_S - 2 * HOUR;
    let rows = [(1, (cutoff - 1).to_string()), (2, cutoff.to_string()), (3, "NULL".to_owned())];
    assert_eq!(left(&db, "bigint", unix_seconds("moment"), &rows).await, [2, 3]);
}

async fn of_several_age_columns_the_newest_counts(db: Db) {
    let (old, young) = (NOW_S - 3 * HOUR, NOW_S - HOUR);
    for (id, created, touched) in [
        (1, Some(old), Some(old)),
        (2, Some(old), Some(young)),
        (3, Some(young), Some(old)),
        (4, Some(old), None),
    ] {
        let (created, touched) = (db.moment(created), db.moment(touched));
        db.execute(&format!(
            "INSERT INTO threads (id, created_at, touched_at) VALUES ({id}, {created}, {touched})"
        ))
        .await;
    }
    let rule = Rule::delete_from("threads")
        .older_than([db.age("created_at"), db.age("touched_at")], hours(2))
        .unless_exists("messages", "thread_id");
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 1);
    assert_eq!(db.ids("threads").await, [2, 3, 4], "NULL is never old");
    plimsoll.shutdown().await;
}

/// A table with a column for each kind of value.
async fn tickets(db: &Db) {
    let (flag, yes, no) = match db {
        Db::Sqlite(..) => ("INTEGER", "1", "0"),
        Db::Postgres(..) => ("boolean", "true", "false"),
    };
    db.execute(&format!(
        "CREATE TABLE tickets (id bigint NOT NULL PRIMARY KEY, state text, size bigint, \
         open {flag}, at bigint)"
    ))
    .await;
    for (id, state, size, open) in [
        (1, "'closed'", "5", no),
        (2, "'closed'", "5", yes),
        (3, "'open'", "5", no),
        (4, "NULL", "5", no),
        (5, "'closed'", "50", no),
        (6, "'closed'' OR 1=1 --'", "5", no),
    ] {
        db.execute(&format!("INSERT INTO tickets VALUES ({id}, {state}, {size}, {open}, 1)")).await;
    }
}

async fn matching_tickets(db: &Db, conditions: Vec<(&str, Is)>) -> Vec<String> {
    let mut rule = Rule::delete_from("tickets").older_than(unix_seconds("at"), hours(2));
    for (column, is) in conditions {
        rule = rule.only_if(column, is);
    }
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    let run = retention.preview().await.remove(0);
    assert_eq!(run.outcome, RetentionOutcome::Ok, "{run:?}");
    plimsoll.shutdown().await;
    let mut keys = run.sample_keys;
    keys.sort();
    keys
}

async fn further_conditions_all_have_to_hold(db: Db) {
    tickets(&db).await;
    for (conditions, expected) in [
        (vec![("state", Is::equal_to("closed"))], &["1", "2", "5"][..]),
        (vec![("state", Is::equal_to("closed")), ("open", Is::equal_to(false))], &["1", "5"]),
        (vec![("state", Is::not("closed"))], &["3", "6"]),
        (vec![("state", Is::null())], &["4"]),
        (vec![("state", Is::not_null()), ("size", Is::above(5))], &["5"]),
        (vec![("size", Is::below(50)), ("state", Is::one_of(["open", "x"]))], &["3"]),
    ] {
        assert_eq!(matching_tickets(&db, conditions.clone()).await, expected, "{conditions:?}");
    }
}

async fn values_are_bound_and_never_read_as_sql(db: Db) {
    tickets(&db).await;
    let hostile = "closed' OR 1=1 --";
    assert_eq!(matching_tickets(&db, vec![("state", Is::equal_to(hostile))]).await, ["6"]);
    for nothing in ["' OR ''='", "\\'; DELETE FROM tickets; --", "%", "$1", "?1", "\u{1f6a2}"] {
        let found = matching_tickets(&db, vec![("state", Is::equal_to(nothing))]).await;
        assert_eq!(found, [] as [&str; 0], "{nothing}");
    }
}

async fn names_that_are_words_of_sql_work(db: Db) {
    db.execute("CREATE TABLE \"select\" (\"where\" bigint NOT NULL PRIMARY KEY, \"from\" bigint)")
        .await;
    db.execute("INSERT INTO \"select\" VALUES (1, 1), (2, NULL)").await;
    let rule = Rule::delete_from("select")
        .key("where")
        .older_than(unix_seconds("from"), Duration::from_secs(60));
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 1);
    assert_eq!(db.numbers("SELECT \"where\" FROM \"select\"").await, [2]);
    plimsoll.shutdown().await;
}
