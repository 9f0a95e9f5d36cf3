//! Databases that fail in the middle: a clear error, and nothing lost.

use std::{
    future::{Future as _, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use plimsoll_core::{RetentionOutcome, RetentionRun};
use sqlx::{
    AssertSqlSafe, PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::support::{Db, on_both, plimsoll};
use crate::{Retention, brakes::Brakes};

on_both!(
    a_pool_that_closes_in_mid_run_is_a_failure,
    a_table_that_goes_away_in_mid_run_is_a_failure,
    a_trigger_that_fails_rolls_its_batch_back,
);

/// Starts a run over 900 rows, waits for its first batch, and does something to the database.
async fn disturbed(db: &Db, disturb: impl AsyncFnOnce()) -> RetentionRun {
    db.threads(1, 900, 0).await;
    let (plimsoll, _) = plimsoll();
    // Long enough to do something to it between two batches.
    let brakes = Brakes { pause: Duration::from_secs(2), ..Brakes::default() };
    let rules = db.rules().brakes(brakes).rule(db.empty_threads());
    let retention = rules.start(&plimsoll).await.unwrap();
    let run = retention.clone();
    let run = tokio::spawn(async move { run.run().await.remove(0) });
    while retention.report().rules[0].deleted_total == 0 {
        tokio::task::yield_now().await;
    }
    disturb().await;
    let run = run.await.unwrap();
    let rule = &retention.report().rules[0];
    assert_eq!((rule.last.as_ref(), rule.last_success), (Some(&run), None));
    plimsoll.shutdown().await;
    run
}

async fn a_pool_that_closes_in_mid_run_is_a_failure(db: Db) {
    let other = db.other_instance().await;
    let run = disturbed(&db, async || db.close().await).await;
    assert_eq!((run.outcome, run.more), (RetentionOutcome::Failed, true), "{run:?}");
    assert!(run.detail.as_ref().is_some_and(|why| why.contains("closed")), "{run:?}");
    assert_eq!(other.count("threads").await, 900 - run.deleted.cast_signed());
    other.close().await;
}

async fn a_table_that_goes_away_in_mid_run_is_a_failure(db: Db) {
    let run = disturbed(&db, async || {
        db.execute("ALTER TABLE threads RENAME TO moved").await;
    })
    .await;
    assert_eq!(run.outcome, RetentionOutcome::Failed, "{run:?}");
    assert!(run.detail.as_ref().is_some_and(|why| why.contains("threads")), "{run:?}");
    assert_eq!(db.count("moved").await, 900 - run.deleted.cast_signed());
}

async fn a_trigger_that_fails_rolls_its_batch_back(db: Db) {
    db.threads(1, 20, 0).await;
    match &db {
        Db::Sqlite(..) => {
            db.execute(
                "CREATE TRIGGER no BEFORE DELETE ON threads WHEN old.id = 15 \
                 BEGIN SELECT RAISE(ABORT, 'fifteen stays'); END",
            )
            .await;
        }
        Db::Postgres(..) => {
            db.execute(
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN IF old.id = 15 THEN RAISE ''fifteen stays''; END IF; RETURN old; END'",
            )
            .await;
            db.execute(
                "CREATE TRIGGER no BEFORE DELETE ON threads FOR EACH ROW EXECUTE FUNCTION no()",
            )
            .await;
        }
    }
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.outcome, run.deleted), (RetentionOutcome::Failed, 0), "{run:?}");
    assert!(run.detail.unwrap().contains("fifteen stays"));
    assert_eq!(db.count("threads").await, 20);
    plimsoll.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lets_nobody_in_is_a_failure() {
    let Some(db) = Db::postgres().await else { return };
    let Db::Postgres(pool, server) = &db else { unreachable!("made above") };
    let name: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(pool).await.unwrap();
    let admin = PgPool::connect(&server.url("postgres")).await.unwrap();
    let run = disturbed(&db, async || {
        for text in [
            format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"),
            format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ),
        ] {
            sqlx::query(AssertSqlSafe(text)).execute(&admin).await.unwrap();
        }
    })
    .await;
    assert_eq!(run.outcome, RetentionOutcome::Failed, "{run:?}");
    let back = AssertSqlSafe(format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"));
    sqlx::query(back).execute(&admin).await.unwrap();
    let left = db.other_instance().await.count("threads").await.cast_unsigned();
    // The last commit may have come through although its answer did not.
    assert!(left <= 900 - run.deleted && (900 - left) % 500 <= 400, "{left} left: {run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_holds_is_left_for_the_next_run() {
    let Some(db) = Db::postgres().await else { return };
    let Db::Postgres(pool, _) = &db else { unreachable!("made above") };
    db.threads(1, 10, 0).await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let mut holder = pool.begin().await.unwrap();
    // As an insert of a message does until it is committed.
    sqlx::query("SELECT 1 FROM threads WHERE id = 4 FOR KEY SHARE")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert_eq!(retention.run().await[0].deleted, 9);
    holder.rollback().await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 1);
    plimsoll.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_somebody_locks_is_a_failure_in_time() {
    let Some(db) = Db::postgres().await else { return };
    let Db::Postgres(pool, _) = &db else { unreachable!("made above") };
    db.threads(1, 10, 0).await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let mut holder = pool.begin().await.unwrap();
    // Reading goes on, locking rows does not.
    sqlx::query("LOCK TABLE threads IN EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.outcome, run.deleted), (RetentionOutcome::Failed, 0), "{run:?}");
    let detail = run.detail.unwrap();
    assert!(detail.contains("busy") && detail.contains("lock timeout"), "{detail}");
    holder.rollback().await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 10);
    plimsoll.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_rolls_its_batch_back() {
    let db = Db::sqlite().await;
    let Db::Sqlite(pool, file) = &db else { unreachable!("made above") };
    // What is deleted is archived, which needs room.
    db.execute("CREATE TABLE archive (id INTEGER PRIMARY KEY, body BLOB)").await;
    db.execute(
        "CREATE TRIGGER keep AFTER DELETE ON threads \
         BEGIN INSERT INTO archive VALUES (old.id, zeroblob(2000)); END",
    )
    .await;
    db.threads(1, 300, 0).await;
    let pages = db.numbers("PRAGMA page_count").await[0];
    pool.close().await;
    let options = SqliteConnectOptions::new()
        .filename(&file.0)
        .pragma("max_page_count", (pages + 50).to_string());
    let small: SqlitePool =
        SqlitePoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
    let (plimsoll, _) = plimsoll();
    let rules = Retention::sqlite(small.clone()).frozen(super::support::NOW).unscheduled();
    let retention = rules.rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let run = retention.run().await.remove(0);
    assert_eq!((run.outcome, run.deleted), (RetentionOutcome::Failed, 0), "{run:?}");
    assert!(run.detail.as_ref().is_some_and(|why| why.contains("full")), "{run:?}");
    let counts: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM threads), (SELECT count(*) FROM archive)")
            .fetch_one(&small)
            .await
            .unwrap();
    assert_eq!(counts, (300, 0));
    plimsoll.shutdown().await;
}

/// Whoever asks for one may hang up at any await: the connection is the program's afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_that_is_given_up_leaves_no_transaction_open() {
    let Some(db) = Db::postgres().await else { return };
    let Db::Postgres(pool, server) = &db else { unreachable!("made above") };
    let options = PgPoolOptions::new().max_connections(1);
    let one = options.connect_with((*pool.connect_options()).clone()).await.unwrap();
    let db = Db::Postgres(one.clone(), Arc::clone(server));
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    for polls in 1.. {
        let mut preview = Box::pin(retention.preview());
        let mut left = polls;
        let ended = poll_fn(|cx| {
            left -= 1;
            match preview.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(preview);
        let read_only: String =
            sqlx::query_scalar("SHOW transaction_read_only").fetch_one(&one).await.unwrap();
        assert_eq!(read_only, "off", "given up after {polls} polls");
        if ended {
            break;
        }
    }
    plimsoll.shutdown().await;
}
