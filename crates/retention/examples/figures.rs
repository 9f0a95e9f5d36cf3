//! What deleting costs everybody else: 100,000 victims among 1,000,000 rows, with writers at work.
//!
//! ```text
//! cargo run --release -p plimsoll-retention --all-features --example figures [sqlite|postgres]
//! ```
//!
//! `PLIMSOLL_FIGURE_ROWS` sets the number of rows. Fails when a row too many or too few is gone;
//! times are printed and fail nothing.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use plimsoll_core::{Clock, MB, Plimsoll};
use plimsoll_retention::{Retention, RetentionBuilder, Rule, hours, timestamptz, unix_seconds};
use plimsoll_testkit::{ScriptedSource, ThrowawayPostgres};
use sqlx::{
    AssertSqlSafe, PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// One row in this many is a victim; of the others half are as old, but have a message.
const VICTIM_EVERY: i64 = 10;
const READERS: usize = 2;
const WRITERS: usize = 2;
/// Between two statements of a reader or writer: people think too.
const THINKING: Duration = Duration::from_millis(2);
/// How long latencies are taken while nothing is deleted.
const BEFORE: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

#[tokio::main]
async fn main() {
    let rows = std::env::var("PLIMSOLL_FIGURE_ROWS").ok();
    let rows: i64 = rows.map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("sqlite") {
        let path = std::env::temp_dir().join(format!("plimsoll-figures-{}", std::process::id()));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await;
        measure("sqlite", &Db::Sqlite(pool.expect("a file")), rows).await;
        for end in ["", "-wal", "-shm"] {
            // Not all of them are left.
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
    if wanted("postgres")
        && let Some(server) = ThrowawayPostgres::shared()
    {
        let pool = PgPoolOptions::new().max_connections(8).connect(&server.url("postgres")).await;
        measure("postgres", &Db::Postgres(pool.expect("a server")), rows).await;
    }
}

async fn measure(name: &str, db: &Db, rows: i64) {
    db.fill(rows).await;
    let clock = Clock::system();
    let phase = Arc::new(AtomicU8::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicI64::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| tokio::spawn(read(db.clone(), clock.clone(), rows, phase.clone(), stop.clone())))
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(write(db.clone(), rows, written.clone(), stop.clone())))
        .collect();

    tokio::time::sleep(BEFORE).await;
    phase.store(1, Relaxed);
    let began = clock.now();
    let (deleted, batches, longest) = delete(db).await;
    let took = clock.now() - began;
    stop.store(true, Relaxed);
    let mut latencies = [Vec::new(), Vec::new()];
    for reader in readers {
        let [before, during] = reader.await.expect("a reader");
        latencies[0].extend(before);
        latencies[1].extend(during);
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    db.judge(rows, written.load(Relaxed)).await;
    let [before, during] = latencies.map(p99);
    println!(
        "{name}: {deleted} of {rows} rows gone, exactly the victims, in {:.1} s and {batches} \
         batches, the longest {} ms; {} messages written meanwhile, all there; readers' p99 \
         {before} us before, {during} us during: ratio {:.2}",
        took.as_secs_f64(),
        longest.as_millis(),
        written.load(Relaxed),
        during as f64 / before.max(1) as f64,
    );
}

/// Runs the rule until nothing is left; rows deleted, batches, the longest batch.
async fn delete(db: &Db) -> (u64, u64, Duration) {
    let (source, script) = ScriptedSource::new();
    script.set_rss(MB);
    let plimsoll = Plimsoll::builder().start_with(source).expect("starts");
    let rules = db.rules().unscheduled().rule(db.rule());
    let retention = rules.start(&plimsoll).await.expect("a rule that fits");
    let (mut deleted, mut batches, mut longest) = (0, 0, Duration::ZERO);
    loop {
        let run = retention.run().await.remove(0);
        assert_eq!(run.outcome.as_str(), "ok", "{run:?}");
        deleted += run.deleted;
        batches += run.batches;
        longest = longest.max(run.longest_batch);
        if !run.more {
            plimsoll.shutdown().await;
            return (deleted, batches, longest);
        }
    }
}

/// Microseconds of each read: while nothing is deleted, and while rows are.
async fn read(
    db: Db,
    clock: Clock,
    rows: i64,
    phase: Arc<AtomicU8>,
    stop: Arc<AtomicBool>,
) -> [Vec<u128>; 2] {
    let mut latencies = [Vec::new(), Vec::new()];
    while !stop.load(Relaxed) {
        let id = fastrand::i64(1..=rows);
        let began = clock.now();
        let text = format!(
            "SELECT count(*) FROM threads LEFT JOIN messages ON thread_id = threads.id \
             WHERE threads.id BETWEEN {id} AND {id} + 50"
        );
        db.number(&text).await;
        latencies[usize::from(phase.load(Relaxed))].push((clock.now() - began).as_micros());
        tokio::time::sleep(THINKING).await;
    }
    latencies
}

/// Answers in threads that are no victims.
async fn write(db: Db, rows: i64, written: Arc<AtomicI64>, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let id = fastrand::i64(0..rows / VICTIM_EVERY) * VICTIM_EVERY + 2;
        db.execute(&format!("INSERT INTO messages (thread_id) VALUES ({id})")).await;
        written.fetch_add(1, Relaxed);
        tokio::time::sleep(THINKING).await;
    }
}

fn p99(mut latencies: Vec<u128>) -> u128 {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or(0)
}

impl Db {
    fn rules(&self) -> RetentionBuilder {
        match self {
            Self::Sqlite(pool) => Retention::sqlite(pool.clone()),
            Self::Postgres(pool) => Retention::postgres(pool.clone()),
        }
    }

    fn rule(&self) -> Rule {
        let age = match self {
            Self::Sqlite(_) => unix_seconds("created_at"),
            Self::Postgres(_) => timestamptz("created_at"),
        };
        let rule = Rule::delete_from("threads").key("id").older_than(age, hours(2));
        rule.unless_exists("messages", "thread_id")
    }

    /// Row n is a victim when n is a multiple of [`VICTIM_EVERY`].
    async fn fill(&self, rows: i64) {
        let (id, moment, series, old, young) = match self {
            Self::Sqlite(_) => (
                "INTEGER PRIMARY KEY",
                "INTEGER",
                format!(
                    "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {rows})"
                ),
                "unixepoch() - 90000 - i % 1000",
                "unixepoch() - i % 1000",
            ),
            Self::Postgres(_) => (
                "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
                "timestamptz",
                format!("WITH g(i) AS (SELECT generate_series(1, {rows}))"),
                "now() - interval '25 hours' - i % 1000 * interval '1 second'",
                "now() - i % 1000 * interval '1 second'",
            ),
        };
        for text in [
            format!("CREATE TABLE threads (id {id}, created_at {moment})"),
            format!(
                "CREATE TABLE messages (id {id}, thread_id bigint NOT NULL REFERENCES threads (id) \
                 ON DELETE CASCADE)"
            ),
            format!(
                "INSERT INTO threads (id, created_at) {series} SELECT i, CASE WHEN \
                 i % {VICTIM_EVERY} = 0 OR i % 2 = 1 THEN {old} ELSE {young} END FROM g"
            ),
            "INSERT INTO messages (thread_id) SELECT id FROM threads WHERE id % 2 = 1".to_owned(),
            "CREATE INDEX messages_thread_id ON messages (thread_id)".to_owned(),
            "CREATE INDEX threads_created_at ON threads (created_at)".to_owned(),
            "ANALYZE".to_owned(),
        ] {
            self.execute(&text).await;
        }
    }

    /// Exactly the victims are gone, and every message is there.
    async fn judge(&self, rows: i64, written: i64) {
        let victims = format!("SELECT count(*) FROM threads WHERE id % {VICTIM_EVERY} = 0");
        assert_eq!(self.number(&victims).await, 0, "victims left");
        let left = self.number("SELECT count(*) FROM threads").await;
        assert_eq!(left, rows - rows / VICTIM_EVERY, "rows that were no victims");
        let messages = self.number("SELECT count(*) FROM messages").await;
        assert_eq!(messages, rows / 2 + written, "messages");
    }

    async fn execute(&self, text: &str) {
        let text = AssertSqlSafe(text.to_owned());
        let done = match self {
            Self::Sqlite(pool) => sqlx::query(text).execute(pool).await.map(drop),
            Self::Postgres(pool) => sqlx::query(text).execute(pool).await.map(drop),
        };
        done.expect("the database answers");
    }

    async fn number(&self, text: &str) -> i64 {
        let text = AssertSqlSafe(text.to_owned());
        let number = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(text).fetch_one(pool).await,
            Self::Postgres(pool) => sqlx::query_scalar(text).fetch_one(pool).await,
        };
        number.expect("the database answers")
    }
}
