//! Rules on SQLite.

mod batch;
mod catalog;
mod check;
mod tidy;

use sqlx::{AssertSqlSafe, Row, Sqlite as Db, SqlitePool, query::Query, sqlite::SqliteArguments};
use tokio::sync::Mutex;

use crate::sql::{Bind, Statement};

#[derive(Debug)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
    /// SQLite has one writer at a time; ours wait here rather than on the file.
    gate: Mutex<()>,
    /// Stands still in tests, in microseconds since 1970.
    #[cfg(test)]
    pub(crate) frozen: Option<i64>,
}

impl Sqlite {
    pub(crate) fn new(pool: SqlitePool) -> Self {
        Self {
            pool,
            gate: Mutex::default(),
            #[cfg(test)]
            frozen: None,
        }
    }

    pub(crate) async fn now(&self) -> Result<i64, sqlx::Error> {
        #[cfg(test)]
        if let Some(frozen) = self.frozen {
            return Ok(frozen);
        }
        // It tells milliseconds.
        sqlx::query_scalar("SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000")
            .fetch_one(&self.pool)
            .await
    }

    pub(crate) async fn count(&self, statement: Statement) -> Result<i64, sqlx::Error> {
        query(statement).fetch_one(&self.pool).await?.try_get(0)
    }

    pub(crate) async fn keys(
        &self,
        statement: Statement,
        columns: usize,
    ) -> Result<Vec<Vec<String>>, sqlx::Error> {
        let rows = query(statement).fetch_all(&self.pool).await?;
        rows.iter().map(|row| (0..columns).map(|at| row.try_get(at)).collect()).collect()
    }
}

/// A statement that leaves nothing in the connection's cache.
///
/// Its text was written by [`crate::sql`] from checked names; values are bound.
fn query(statement: Statement) -> Query<'static, Db, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.text)).persistent(false);
    for bind in statement.binds {
        query = match bind {
            Bind::Integer(number) => query.bind(number),
            Bind::Text(text) => query.bind(text),
            // Only written for PostgreSQL.
            #[cfg(feature = "postgres")]
            Bind::Texts(texts) => query.bind(texts.join(",")),
        };
    }
    query
}
