//! What SQLite is left like after rows were deleted.

use plimsoll_core::RetentionOutcome;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode},
};

use super::support::{Db, NOW, TempFile, plimsoll};
use crate::{Retention, Rule, hours, unix_seconds};

/// Pages before and after a run that deletes most rows: all and free ones.
async fn pages(auto_vacuum: SqliteAutoVacuum) -> [(i64, i64); 2] {
    let mode = format!("{auto_vacuum:?}").to_lowercase();
    let name = format!("plimsoll_retention_tidy_{mode}_{}", std::process::id());
    let file = TempFile(std::env::temp_dir().join(name));
    let options = SqliteConnectOptions::new()
        .filename(&file.0)
        .create_if_missing(true)
        .auto_vacuum(auto_vacuum)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER, body BLOB)")
        .execute(&pool)
        .await
        .unwrap();
    // A page and more each, so that a row deleted is a page freed.
    sqlx::query(
        "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 1000) \
         INSERT INTO t SELECT i, 0, zeroblob(12000) FROM g",
    )
    .execute(&pool)
    .await
    .unwrap();
    let pages = async || {
        let all: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&pool).await.unwrap();
        let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&pool).await.unwrap();
        (all, free)
    };
    let before = pages().await;
    let (plimsoll, _) = plimsoll();
    let rule = Rule::delete_from("t").older_than(unix_seconds("at"), hours(2)).allow_majority();
    let retention = Retention::sqlite(pool.clone()).frozen(NOW).unscheduled().rule(rule);
    let retention = retention.start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.outcome, run.deleted), (RetentionOutcome::Ok, 1_000), "{run:?}");
    plimsoll.shutdown().await;
    let after = pages().await;
    pool.close().await;
    [before, after]
}

#[tokio::test]
async fn free_pages_are_given_back_in_a_bounded_step() {
    let [(before, free), (after, left)] = pages(SqliteAutoVacuum::Incremental).await;
    assert!(before > 3_000 && free == 0, "{before} pages");
    // The pages that told where those were go with them.
    assert!((2_000..2_010).contains(&(before - after)), "{before} to {after}");
    assert!(left > 0 && left < before - 2_000, "{left} of {after} pages are free");
}

#[tokio::test]
async fn a_database_that_was_not_made_for_it_is_never_rewritten() {
    let [(before, _), (after, free)] = pages(SqliteAutoVacuum::None).await;
    assert_eq!(before, after);
    assert!(free > 2_900, "{free}");
}

#[tokio::test]
async fn a_batch_gives_a_connection_back_as_it_was() {
    let db = Db::sqlite().await;
    let Db::Sqlite(pool, file) = &db else { unreachable!("made above") };
    pool.close().await;
    let options = SqliteConnectOptions::new()
        .filename(&file.0)
        .busy_timeout(std::time::Duration::from_millis(1_234));
    let one = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    let pool = one.connect_with(options).await.unwrap();
    let (plimsoll, _) = plimsoll();
    let rules = Retention::sqlite(pool.clone()).unscheduled().rule(db.empty_threads());
    let retention = rules.start(&plimsoll).await.unwrap();
    assert_eq!(retention.run().await[0].outcome, RetentionOutcome::Ok);
    let own: i64 = sqlx::query_scalar("PRAGMA busy_timeout").fetch_one(&pool).await.unwrap();
    assert_eq!(own, 1_234);
    plimsoll.shutdown().await;
}
