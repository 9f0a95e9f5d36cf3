//! The embedded SQLite database: people, rooms and what was said in them.
//!
//! A room's messages hang on a thread that bears the room's name, in the chat session of the
//! person who opened it. Threads and sessions that stayed empty may be deleted at any time
//! by a retention rule, so whoever needs one makes it again, in the same transaction.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    message::{Body, Message, Name},
    options::Location,
};

/// Connections of the pool.
const POOL_CONNECTIONS: u32 = 10;
/// How long a query waits for a connection, and a connection for a lock.
const PATIENCE: Duration = Duration::from_secs(3);
/// Messages that somebody who joins gets to see.
pub(crate) const HISTORY: i64 = 50;
/// Rooms that can exist; joining one that does not exist makes it.
pub(crate) const MAX_ROOMS: i64 = 100;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: SqlitePool,
    // SQLite has one writer at a time: ours queue here, fairly and without polling a file lock.
    write_gate: Arc<Mutex<()>>,
    // A database in memory lives as long as a connection to it. The pool may close all of its
    // own, this one stays.
    _anchor: Option<Arc<Mutex<SqliteConnection>>>,
}

/// A person in a room.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) user_id: i64,
    pub(crate) room_id: i64,
    pub(crate) user: Name,
    pub(crate) room: Name,
}

/// A room as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomRow {
    pub(crate) id: i64,
    pub(crate) name: String,
}

/// Why somebody could not join a room.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("there are {MAX_ROOMS} rooms already, join one of them")]
    TooManyRooms,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Database {
    /// Opens the database, makes it when it is missing, and brings its tables up.
    pub(crate) async fn open(location: &Location) -> Result<Self, sqlx::Error> {
        let options = connect_options(location);
        let anchor = match location {
            Location::Memory => Some(Arc::new(Mutex::new(options.connect().await?))),
            Location::File(_) => None,
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(POOL_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await?;
        Ok(Self { pool, write_gate: Arc::default(), _anchor: anchor })
    }

    /// Makes a person, the room, and the person's chat session in it, as far as they are missing.
    pub(crate) async fn join(&self, user: Name, room: Name) -> Result<Membership, JoinError> {
        let (_gate, mut tx) = self.begin().await?;
        let user_id: i64 = sqlx::query_scalar(
            "INSERT INTO users (name) VALUES (?1) \
             ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
        )
        .bind(user.as_str())
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO rooms (name) \
             SELECT ?1 WHERE (SELECT count(*) FROM (SELECT 1 FROM rooms LIMIT ?2)) < ?2 \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(room.as_str())
        .bind(MAX_ROOMS)
        .execute(&mut *tx)
        .await?;
        let room_id: Option<i64> =
            sqlx::query_scalar("SELECT id FROM rooms WHERE name = ?1 LIMIT 1")
                .bind(room.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        // Without a commit the transaction is rolled back: a refusal leaves nothing behind.
        let room_id = room_id.ok_or(JoinError::TooManyRooms)?;
        let member = Membership { user_id, room_id, user, room };
        touch_session(&mut tx, &member).await?;
        touch_participant(&mut tx, &member).await?;
        tx.commit().await?;
        Ok(member)
    }

    /// Stores a message.
    pub(crate) async fn post(&self, member: &Membership, body: &Body) -> sqlx::Result<Message> {
        let (_gate, mut tx) = self.begin().await?;
        let session_id = touch_session(&mut tx, member).await?;
        touch_participant(&mut tx, member).await?;
        let thread_id: Option<i64> =
            sqlx::query_scalar("SELECT id FROM threads WHERE title = ?1 ORDER BY id LIMIT 1")
                .bind(member.room.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let thread_id: i64 = match thread_id {
            Some(id) => id,
            None => {
                sqlx::query_scalar(
                    "INSERT INTO threads (session_id, title) VALUES (?1, ?2) RETURNING id",
                )
                .bind(session_id)
                .bind(member.room.as_str())
                .fetch_one(&mut *tx)
                .await?
            }
        };
        let row = sqlx::query(
            "INSERT INTO messages (thread_id, user_id, body) VALUES (?1, ?2, ?3) \
             RETURNING id, created_at",
        )
        .bind(thread_id)
        .bind(member.user_id)
        .bind(body.as_str())
        .fetch_one(&mut *tx)
        .await?;
        let message = Message {
            id: row.try_get(0)?,
            name: member.user.as_str().to_owned(),
            body: body.as_str().to_owned(),
            at: row.try_get(1)?,
        };
        tx.commit().await?;
        Ok(message)
    }

    /// The newest messages of a room, oldest first.
    pub(crate) async fn history(&self, room: &Name) -> sqlx::Result<Vec<Message>> {
        let rows = sqlx::query(
            "SELECT m.id, u.name, m.body, m.created_at \
             FROM messages AS m JOIN users AS u ON u.id = m.user_id \
             WHERE m.thread_id = (SELECT id FROM threads WHERE title = ?1 ORDER BY id LIMIT 1) \
             ORDER BY m.id DESC LIMIT ?2",
        )
        .bind(room.as_str())
        .bind(HISTORY)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().rev().map(message).collect()
    }

    /// The rooms, oldest first.
    pub(crate) async fn rooms(&self) -> sqlx::Result<Vec<RoomRow>> {
        let rows = sqlx::query("SELECT id, name FROM rooms ORDER BY id LIMIT ?1")
            .bind(MAX_ROOMS)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(RoomRow { id: row.try_get(0)?, name: row.try_get(1)? })).collect()
    }

    /// Notes that a person is still there.
    pub(crate) async fn seen(&self, member: &Membership) -> sqlx::Result<()> {
        let (_gate, mut tx) = self.begin().await?;
        touch_participant(&mut tx, member).await?;
        tx.commit().await
    }

    /// Closes the connections after their last query.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> sqlx::Result<(MutexGuard<'_, ()>, Transaction<'static, Sqlite>)> {
        let gate = tokio::time::timeout(PATIENCE, self.write_gate.lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        // IMMEDIATE: a transaction that reads first and writes later cannot be made to wait
        // for another writer, it would fail.
        Ok((gate, self.pool.begin_with("BEGIN IMMEDIATE").await?))
    }
}

fn connect_options(location: &Location) -> SqliteConnectOptions {
    // Every database in memory of this process has a name of its own.
    static MEMORY_NAMES: AtomicU64 = AtomicU64::new(0);
    let options = SqliteConnectOptions::new().busy_timeout(PATIENCE).foreign_keys(true);
    match location {
        // This file system shares a database between connections and knows file locks. The
        // older way, a shared cache, answers "table is locked" at once instead of waiting.
        Location::Memory => options
            .vfs("memdb")
            .filename(format!("/chat-{}", MEMORY_NAMES.fetch_add(1, Ordering::Relaxed)))
            .create_if_missing(true),
        Location::File(path) => options
            .filename(path)
            .create_if_missing(true)
            // Must be set before the first table: later, freed pages stay in the file.
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal),
    }
}

async fn touch_session(tx: &mut Transaction<'_, Sqlite>, member: &Membership) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO chat_sessions (user_id, title) VALUES (?1, ?2) \
         ON CONFLICT (user_id, title) DO UPDATE SET last_activity_at = unixepoch() RETURNING id",
    )
    .bind(member.user_id)
    .bind(member.room.as_str())
    .fetch_one(&mut **tx)
    .await
}

async fn touch_participant(
    tx: &mut Transaction<'_, Sqlite>,
    member: &Membership,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO room_participants (room_id, user_id) VALUES (?1, ?2) \
         ON CONFLICT (room_id, user_id) DO UPDATE SET last_seen_at = unixepoch()",
    )
    .bind(member.room_id)
    .bind(member.user_id)
    .execute(&mut **tx)
    .await
    .map(drop)
}

fn message(row: &SqliteRow) -> sqlx::Result<Message> {
    Ok(Message {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        body: row.try_get(2)?,
        at: row.try_get(3)?,
    })
}

#[cfg(test)]
mod tests;
