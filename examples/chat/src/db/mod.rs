//! The database: people, rooms, chat sessions, threads, and what was said in them.
//!
//! SQLite, embedded, or PostgreSQL, with the same tables and the same queries. A room's messages
//! hang on a thread of its own, in the chat session of the person who opened it. Threads and
//! sessions that stayed empty may be deleted at any time by a retention rule, so whoever needs
//! one makes it again, in the same transaction.

mod link;
mod open;
mod threads;

use std::sync::Arc;

use sqlx::SqliteConnection;
use tokio::sync::Mutex;

pub(crate) use self::{
    link::Link,
    threads::{Session, Thread},
};
use self::{
    link::{Row, Tx, Value},
    threads::touch_session,
};
use crate::message::{Body, Message, Name};

/// Messages that somebody who joins gets to see.
pub(crate) const HISTORY: i64 = 50;
/// Rows of any other list.
pub(crate) const LIST: i64 = 100;
/// Rooms that can exist; joining one that does not exist makes it.
pub(crate) const MAX_ROOMS: i64 = 100;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    link: Link,
    /// Writers of SQLite queue here.
    gate: Arc<Mutex<()>>,
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

/// Somebody who is or was in a room.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Participant {
    name: String,
    /// Unix time in seconds.
    joined_at: i64,
    /// Unix time in seconds.
    last_seen_at: i64,
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
    /// The connections, for whoever looks after them.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Makes a person, the room, and the person's chat session in it, as far as they are missing.
    pub(crate) async fn join(&self, user: Name, room: Name) -> Result<Membership, JoinError> {
        let mut tx = self.begin().await?;
        let user_id = touch_user(&mut tx, &user).await?;
        tx.execute(
            "INSERT INTO rooms (name) \
             SELECT $1 WHERE (SELECT count(*) FROM (SELECT 1 FROM rooms LIMIT $2) AS few) < $2 \
             ON CONFLICT (name) DO NOTHING",
            &[room.as_str().into(), MAX_ROOMS.into()],
        )
        .await?;
        let room_id =
            tx.row("SELECT id FROM rooms WHERE name = $1 LIMIT 1", &[room.as_str().into()]).await?;
        // Without a commit the transaction is rolled back: a refusal leaves nothing behind.
        let room_id = room_id.ok_or(JoinError::TooManyRooms)?.int(0)?;
        touch_session(&mut tx, user_id, room.as_str()).await?;
        let member = Membership { user_id, room_id, user, room };
        touch_participant(&mut tx, &member).await?;
        tx.commit().await?;
        Ok(member)
    }

    /// Stores a message of a room.
    pub(crate) async fn post(&self, member: &Membership, body: &Body) -> sqlx::Result<Message> {
        let mut tx = self.begin().await?;
        let session_id = touch_session(&mut tx, member.user_id, member.room.as_str()).await?;
        touch_participant(&mut tx, member).await?;
        let thread_id = room_thread(&mut tx, member, session_id).await?;
        let message = add_message(&mut tx, thread_id, member.user_id, &member.user, body).await?;
        tx.commit().await?;
        Ok(message)
    }

    /// The newest messages of a room, oldest first.
    pub(crate) async fn history(&self, room: &Name) -> sqlx::Result<Vec<Message>> {
        let rows = self
            .link
            .rows(
                "SELECT m.id, u.name, m.body, m.created_at \
                 FROM messages AS m JOIN users AS u ON u.id = m.user_id \
                 WHERE m.thread_id = \
                   (SELECT id FROM threads WHERE title = $1 ORDER BY id LIMIT 1) \
                 ORDER BY m.id DESC LIMIT $2",
                &[room_title(room).as_str().into(), HISTORY.into()],
            )
            .await?;
        rows.iter().rev().map(message).collect()
    }

    /// The rooms, oldest first.
    pub(crate) async fn rooms(&self) -> sqlx::Result<Vec<RoomRow>> {
        let sql = "SELECT id, name FROM rooms ORDER BY id LIMIT $1";
        let rows = self.link.rows(sql, &[MAX_ROOMS.into()]).await?;
        rows.iter().map(|row| Ok(RoomRow { id: row.int(0)?, name: row.text(1)? })).collect()
    }

    /// Who is or was in a room, the last seen first.
    pub(crate) async fn participants(&self, room: &Name) -> sqlx::Result<Vec<Participant>> {
        let rows = self
            .link
            .rows(
                "SELECT u.name, p.joined_at, p.last_seen_at \
                 FROM room_participants AS p \
                 JOIN users AS u ON u.id = p.user_id JOIN rooms AS r ON r.id = p.room_id \
                 WHERE r.name = $1 ORDER BY p.last_seen_at DESC, u.id LIMIT $2",
                &[room.as_str().into(), LIST.into()],
            )
            .await?;
        let participant = |row: &Row| {
            Ok(Participant {
                name: row.text(0)?,
                joined_at: row.int(1)?,
                last_seen_at: row.int(2)?,
            })
        };
        rows.iter().map(participant).collect()
    }

    /// Notes that a person is still there.
    pub(crate) async fn seen(&self, member: &Membership) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        touch_participant(&mut tx, member).await?;
        tx.commit().await
    }

    /// Closes the connections after their last query.
    pub(crate) async fn close(&self) {
        self.link.close().await;
    }

    /// Carries a statement of a test out.
    #[cfg(test)]
    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut tx = self.begin().await.unwrap();
        tx.execute(sql, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Reads a column of numbers for a test.
    #[cfg(test)]
    pub(crate) async fn numbers(&self, sql: &'static str) -> Vec<i64> {
        let rows = self.link.rows(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.int(0).unwrap()).collect()
    }

    async fn begin(&self) -> sqlx::Result<Tx> {
        self.link.begin(&self.gate).await
    }
}

/// The title of a room's own thread; no thread of a person begins like that.
fn room_title(room: &Name) -> String {
    format!("{}{room}", threads::ROOM_MARK)
}

/// The person, made when missing. Nobody is locked who is there already: people are never
/// deleted, and a lock would be one more to wait for each other at.
async fn touch_user(tx: &mut Tx, user: &Name) -> sqlx::Result<i64> {
    let values = [user.as_str().into()];
    let find = "SELECT id FROM users WHERE name = $1";
    if let Some(row) = tx.row(find, &values).await? {
        return row.int(0);
    }
    let add = "INSERT INTO users (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
    tx.execute(add, &values).await?;
    tx.int(find, &values).await
}

/// The participant, who comes back when a retention rule has taken it for gone.
async fn touch_participant(tx: &mut Tx, member: &Membership) -> sqlx::Result<()> {
    tx.execute(
        "INSERT INTO room_participants (room_id, user_id) VALUES ($1, $2) \
         ON CONFLICT (room_id, user_id) DO UPDATE SET last_seen_at = unixepoch()",
        &[member.room_id.into(), member.user_id.into()],
    )
    .await
}

/// The room's thread, made when it is missing. It is locked against deletion until the commit.
async fn room_thread(tx: &mut Tx, member: &Membership, session_id: i64) -> sqlx::Result<i64> {
    let title = room_title(&member.room);
    let find = tx.keeping(
        "SELECT id FROM threads WHERE title = $1 ORDER BY id LIMIT 1",
        "SELECT id FROM threads WHERE title = $1 ORDER BY id LIMIT 1 FOR KEY SHARE",
    );
    if let Some(row) = tx.row(find, &[title.as_str().into()]).await? {
        return row.int(0);
    }
    // One of two that come at once makes it, the other one waits here and finds it.
    let lock = tx.keeping(
        "SELECT id FROM rooms WHERE id = $1",
        "SELECT id FROM rooms WHERE id = $1 FOR NO KEY UPDATE",
    );
    tx.row(lock, &[member.room_id.into()]).await?;
    match tx.row(find, &[title.as_str().into()]).await? {
        Some(row) => row.int(0),
        None => threads::add_thread(tx, session_id, &title).await,
    }
}

async fn add_message(
    tx: &mut Tx,
    thread_id: i64,
    user_id: i64,
    user: &Name,
    body: &Body,
) -> sqlx::Result<Message> {
    let values: [Value<'_>; 3] = [thread_id.into(), user_id.into(), body.as_str().into()];
    let row = tx
        .row(
            "INSERT INTO messages (thread_id, user_id, body) VALUES ($1, $2, $3) \
             RETURNING id, created_at",
            &values,
        )
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    Ok(Message {
        id: row.int(0)?,
        name: user.as_str().to_owned(),
        body: body.as_str().to_owned(),
        at: row.int(1)?,
    })
}

fn message(row: &Row) -> sqlx::Result<Message> {
    Ok(Message { id: row.int(0)?, name: row.text(1)?, body: row.text(2)?, at: row.int(3)? })
}

#[cfg(test)]
mod tests;
