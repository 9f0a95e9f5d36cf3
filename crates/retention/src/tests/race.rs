//! A message that somebody writes while a batch runs is never destroyed.
//!
//! Writers begin to refer to rows that a batch is about to delete. Each of their inserts ends in
//! one of two ways: it is committed, and then the message is there afterwards; or the thread was
//! gone and it is refused. The same race run on forms that look right loses messages, which shows
//! that it is one.
//!
//! `PLIMSOLL_RACE_ATTEMPTS` sets how many inserts run into a batch, 1000 without it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
};

use tokio::sync::Barrier;

use super::support::{Db, NOW, on_both};
use crate::{
    database::{Batch, Database},
    plan::{Cutoff, Plan},
    postgres::Postgres,
    sqlite::Sqlite,
};

on_both!(
    a_message_written_while_a_batch_runs_is_never_destroyed,
    what_does_not_look_again_loses_messages,
);

const WRITERS: usize = 4;
const THREADS: i64 = 400;
/// Rounds after which a form that should lose messages has not.
const MOST_ROUNDS: u32 = 500;

#[derive(Debug, Default)]
struct Tally {
    /// Inserts that began while a batch ran.
    attempts: u64,
    committed: u64,
    refused: u64,
    lost: u64,
    deleted: u64,
    reprieved: u64,
}

fn wanted_attempts() -> u64 {
    let given = std::env::var("PLIMSOLL_RACE_ATTEMPTS").ok();
    given.map_or(1_000, |text| text.parse().expect("PLIMSOLL_RACE_ATTEMPTS is a number"))
}

async fn a_message_written_while_a_batch_runs_is_never_destroyed(db: Db) {
    let ours = Ours::new(&db).await;
    let mut tally = Tally::default();
    while tally.attempts < wanted_attempts() {
        round(&db, async || ours.batch().await, &mut tally).await;
        assert_eq!(tally.lost, 0, "{tally:?}");
    }
    eprintln!("{} {tally:?}", ours.database.word());
    assert!(tally.committed > 0 && tally.refused > 0 && tally.deleted > 0, "no race: {tally:?}");
}

/// The control: were it not for our form, messages would be lost.
async fn what_does_not_look_again_loses_messages(db: Db) {
    let mut tally = Tally::default();
    for _ in 0..MOST_ROUNDS {
        round(&db, async || naive(&db).await, &mut tally).await;
        if tally.lost > 0 {
            eprintln!("the control lost messages: {tally:?}");
            return;
        }
    }
    panic!("the race does not show what it should: {tally:?}");
}

/// A batch as it is run for real.
struct Ours {
    database: Database,
    plan: Plan,
}

impl Ours {
    async fn new(db: &Db) -> Self {
        let database = match db {
            Db::Sqlite(pool, _) => Database::Sqlite(Sqlite::new(pool.clone())),
            Db::Postgres(pool, _) => Database::Postgres(Postgres::new(pool.clone())),
        };
        let rule = db.empty_threads().parse().unwrap();
        let plan = database.check(&rule).await.unwrap().unwrap().plan;
        Self { database, plan }
    }

    async fn batch(&self) -> Batch {
        let cutoff = Cutoff::before(NOW, self.plan.older_than).unwrap();
        self.database
            .batch(&self.plan, cutoff, None, 5_000)
            .await
            .unwrap()
            .expect("no other instance")
    }
}

/// What is often written instead: on PostgreSQL one statement, on SQLite two without a
/// transaction.
async fn naive(db: &Db) -> Batch {
    let matching = "SELECT id FROM threads AS victim WHERE NOT EXISTS \
                    (SELECT 1 FROM messages WHERE thread_id = victim.id) ORDER BY created_at LIMIT 5000";
    let deleted = match db {
        Db::Postgres(..) => {
            let text =
                format!("DELETE FROM threads WHERE id IN ({matching} FOR UPDATE SKIP LOCKED)");
            db.execute(&text).await
        }
        Db::Sqlite(..) => {
            let ids: Vec<_> =
                db.numbers(matching).await.into_iter().map(|id| id.to_string()).collect();
            db.execute(&format!("DELETE FROM threads WHERE id IN ({})", ids.join(","))).await
        }
    };
    Batch { selected: deleted, deleted, position: None }
}

/// One batch over [`THREADS`] threads, while writers answer in them.
async fn round(db: &Db, batch: impl AsyncFnOnce() -> Batch, tally: &mut Tally) {
    db.threads(1, THREADS, 0).await;
    let next = Arc::new(AtomicI64::new(1));
    let (running, begun) = (Arc::new(AtomicBool::new(true)), Arc::new(Barrier::new(WRITERS + 1)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (db, next) = (db.clone(), Arc::clone(&next));
            let (running, begun) = (Arc::clone(&running), Arc::clone(&begun));
            tokio::spawn(async move {
                begun.wait().await;
                write(&db, &next, &running).await
            })
        })
        .collect();
    begun.wait().await;
    let done = batch().await;
    running.store(false, SeqCst);
    let mut committed = 0;
    for writer in writers {
        let (attempts, written, refused) = writer.await.unwrap();
        tally.attempts += attempts;
        tally.refused += refused;
        committed += written;
    }
    let there = u64::try_from(db.count("messages").await).unwrap();
    tally.committed += committed;
    tally.lost += committed.checked_sub(there).expect("nobody else writes");
    tally.deleted += done.deleted;
    tally.reprieved += done.selected - done.deleted;
    db.execute("DELETE FROM messages").await;
    db.execute("DELETE FROM threads").await;
}

/// Attempts, committed and refused of one writer.
async fn write(db: &Db, next: &AtomicI64, running: &AtomicBool) -> (u64, u64, u64) {
    let (mut attempts, mut committed, mut refused) = (0, 0, 0);
    while running.load(SeqCst) {
        let id = next.fetch_add(1, SeqCst);
        if id > THREADS {
            break;
        }
        attempts += 1;
        let text =
            format!("INSERT INTO messages (id, thread_id, body) VALUES ({id}, {id}, 'kept')");
        match db.try_execute(&text).await {
            Ok(_) => committed += 1,
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    (attempts, committed, refused)
}
