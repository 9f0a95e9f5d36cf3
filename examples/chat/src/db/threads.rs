//! Chat sessions of people, and the threads in them.

use serde::Serialize;

use super::{
    Database, HISTORY, LIST, add_message,
    link::{Row, Tx},
    message, touch_user,
};
use crate::message::{Body, Message, Name};

/// Begins the titles of the rooms' own threads.
pub(super) const ROOM_MARK: char = '#';

/// A chat session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) id: i64,
    title: String,
    /// Unix time in seconds.
    created_at: i64,
    /// Unix time in seconds.
    last_activity_at: i64,
}

/// A thread of a chat session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Thread {
    pub(crate) id: i64,
    title: String,
    /// Unix time in seconds.
    created_at: i64,
}

impl Database {
    /// Opens a person's chat session, or comes back to it.
    pub(crate) async fn open_session(&self, user: &Name, title: &Name) -> sqlx::Result<Session> {
        let mut tx = self.begin().await?;
        let user_id = touch_user(&mut tx, user).await?;
        let id = touch_session(&mut tx, user_id, title.as_str()).await?;
        let row = tx
            .row(
                "SELECT id, title, created_at, last_activity_at FROM chat_sessions WHERE id = $1",
                &[id.into()],
            )
            .await?;
        tx.commit().await?;
        session(&row.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// A person's chat sessions, the newest first.
    pub(crate) async fn sessions(&self, user: &Name) -> sqlx::Result<Vec<Session>> {
        let rows = self
            .link
            .rows(
                "SELECT s.id, s.title, s.created_at, s.last_activity_at \
                 FROM chat_sessions AS s JOIN users AS u ON u.id = s.user_id \
                 WHERE u.name = $1 ORDER BY s.id DESC LIMIT $2",
                &[user.as_str().into(), LIST.into()],
            )
            .await?;
        rows.iter().map(session).collect()
    }

    /// The threads of a session, the newest first; `None` when there is no such session.
    pub(crate) async fn threads(&self, session_id: i64) -> sqlx::Result<Option<Vec<Thread>>> {
        let there = "SELECT id FROM chat_sessions WHERE id = $1";
        if self.link.rows(there, &[session_id.into()]).await?.is_empty() {
            return Ok(None);
        }
        let rows = self
            .link
            .rows(
                "SELECT id, title, created_at FROM threads WHERE session_id = $1 \
                 ORDER BY id DESC LIMIT $2",
                &[session_id.into(), LIST.into()],
            )
            .await?;
        rows.iter().map(thread).collect::<sqlx::Result<_>>().map(Some)
    }

    /// Opens a thread in a session; `None` when there is no such session.
    pub(crate) async fn open_thread(
        &self,
        session_id: i64,
        title: &Name,
    ) -> sqlx::Result<Option<Thread>> {
        let mut tx = self.begin().await?;
        let touched = tx
            .row(
                "UPDATE chat_sessions SET last_activity_at = unixepoch() WHERE id = $1 \
                 RETURNING id",
                &[session_id.into()],
            )
            .await?;
        if touched.is_none() {
            return Ok(None);
        }
        let id = add_thread(&mut tx, session_id, title.as_str()).await?;
        let sql = "SELECT id, title, created_at FROM threads WHERE id = $1";
        let row = tx.row(sql, &[id.into()]).await?.ok_or(sqlx::Error::RowNotFound)?;
        tx.commit().await?;
        thread(&row).map(Some)
    }

    /// The newest messages of a thread, oldest first; `None` when there is no such thread.
    pub(crate) async fn thread_messages(
        &self,
        thread_id: i64,
    ) -> sqlx::Result<Option<Vec<Message>>> {
        let there = "SELECT id FROM threads WHERE id = $1";
        if self.link.rows(there, &[thread_id.into()]).await?.is_empty() {
            return Ok(None);
        }
        let rows = self
            .link
            .rows(
                "SELECT m.id, u.name, m.body, m.created_at \
                 FROM messages AS m JOIN users AS u ON u.id = m.user_id \
                 WHERE m.thread_id = $1 ORDER BY m.id DESC LIMIT $2",
                &[thread_id.into(), HISTORY.into()],
            )
            .await?;
        rows.iter().rev().map(message).collect::<sqlx::Result<_>>().map(Some)
    }

    /// Says something in a thread of a person; `None` when there is no such thread, or when it
    /// is a room's.
    pub(crate) async fn post_to_thread(
        &self,
        thread_id: i64,
        user: &Name,
        body: &Body,
    ) -> sqlx::Result<Option<Message>> {
        let mut tx = self.begin().await?;
        // Locked, so that no retention rule takes it for empty before the commit.
        let find = tx.keeping(
            "SELECT session_id, title FROM threads WHERE id = $1",
            "SELECT session_id, title FROM threads WHERE id = $1 FOR KEY SHARE",
        );
        let Some(row) = tx.row(find, &[thread_id.into()]).await? else { return Ok(None) };
        if row.text(1)?.starts_with(ROOM_MARK) {
            return Ok(None);
        }
        let session_id = row.int(0)?;
        let user_id = touch_user(&mut tx, user).await?;
        tx.execute(
            "UPDATE chat_sessions SET last_activity_at = unixepoch() WHERE id = $1",
            &[session_id.into()],
        )
        .await?;
        let message = add_message(&mut tx, thread_id, user_id, user, body).await?;
        tx.commit().await?;
        Ok(Some(message))
    }

    /// Leaves an empty thread behind that is `age` seconds old, for the fault that does so: in one
    /// statement, so that it takes memory rather than time.
    pub(crate) async fn litter(&self, session: i64, title: &str, age: i64) -> sqlx::Result<()> {
        self.link
            .execute(
                &self.gate,
                "INSERT INTO threads (session_id, title, created_at) \
                 VALUES ($1, $2, unixepoch() - $3)",
                &[session.into(), title.into(), age.into()],
            )
            .await
    }
}

/// Makes the session, which comes back when a retention rule has taken it for empty.
pub(super) async fn touch_session(tx: &mut Tx, user_id: i64, title: &str) -> sqlx::Result<i64> {
    tx.int(
        "INSERT INTO chat_sessions (user_id, title) VALUES ($1, $2) \
         ON CONFLICT (user_id, title) DO UPDATE SET last_activity_at = unixepoch() RETURNING id",
        &[user_id.into(), title.into()],
    )
    .await
}

pub(super) async fn add_thread(tx: &mut Tx, session_id: i64, title: &str) -> sqlx::Result<i64> {
    tx.int(
        "INSERT INTO threads (session_id, title) VALUES ($1, $2) RETURNING id",
        &[session_id.into(), title.into()],
    )
    .await
}

fn session(row: &Row) -> sqlx::Result<Session> {
    Ok(Session {
        id: row.int(0)?,
        title: row.text(1)?,
        created_at: row.int(2)?,
        last_activity_at: row.int(3)?,
    })
}

fn thread(row: &Row) -> sqlx::Result<Thread> {
    Ok(Thread { id: row.int(0)?, title: row.text(1)?, created_at: row.int(2)? })
}
