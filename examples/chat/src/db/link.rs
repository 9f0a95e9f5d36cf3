//! The two databases behind one face: the queries are the same, so only who carries them out
//! is told apart, and only here.

use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction, postgres::PgRow, sqlite::SqliteRow,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// How long a query waits for a connection, and a connection for a lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A value bound to a query.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Int(i64),
    Text(&'a str),
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// A query with its values; both databases know parameters as `$1`.
macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match *value {
                Value::Int(int) => query.bind(int),
                Value::Text(text) => query.bind(text),
            };
        }
        query
    }};
}

/// A pool of connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Link {
    /// Reads.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Sqlite(pool) => Ok(bound!(sql, values)
                .fetch_all(pool)
                .await?
                .into_iter()
                .map(Row::Sqlite)
                .collect()),
            Self::Postgres(pool) => Ok(bound!(sql, values)
                .fetch_all(pool)
                .await?
                .into_iter()
                .map(Row::Postgres)
                .collect()),
        }
    }

    /// Writes with a single statement.
    pub(super) async fn execute(
        &self,
        gate: &Arc<Mutex<()>>,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(pool) => {
                let _gate = pass(gate).await?;
                bound!(sql, values).execute(pool).await.map(drop)
            }
            Self::Postgres(pool) => bound!(sql, values).execute(pool).await.map(drop),
        }
    }

    pub(super) async fn begin(&self, gate: &Arc<Mutex<()>>) -> sqlx::Result<Tx> {
        match self {
            Self::Sqlite(pool) => {
                let gate = pass(gate).await?;
                // IMMEDIATE: a transaction that reads first and writes later cannot be made to
                // wait for another writer, it would fail.
                Ok(Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?, gate))
            }
            Self::Postgres(pool) => Ok(Tx::Postgres(pool.begin().await?)),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// SQLite has one writer at a time: ours queue here, fairly and without polling a file lock.
async fn pass(gate: &Arc<Mutex<()>>) -> sqlx::Result<OwnedMutexGuard<()>> {
    let passed = tokio::time::timeout(PATIENCE, Arc::clone(gate).lock_owned()).await;
    passed.map_err(|_| sqlx::Error::PoolTimedOut)
}

/// A transaction that writes. Dropped without a commit it is rolled back.
#[derive(Debug)]
pub(super) enum Tx {
    // The gate opens after the transaction has ended: fields drop in order.
    Sqlite(Transaction<'static, Sqlite>, OwnedMutexGuard<()>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// The first row, if there is one.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> sqlx::Result<Option<Row>> {
        match self {
            Self::Sqlite(tx, _) => {
                Ok(bound!(sql, values).fetch_optional(&mut **tx).await?.map(Row::Sqlite))
            }
            Self::Postgres(tx) => {
                Ok(bound!(sql, values).fetch_optional(&mut **tx).await?.map(Row::Postgres))
            }
        }
    }

    /// The first column of the row that there must be.
    pub(super) async fn int(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> sqlx::Result<i64> {
        self.row(sql, values).await?.ok_or(sqlx::Error::RowNotFound)?.int(0)
    }

    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx, _) => bound!(sql, values).execute(&mut **tx).await.map(drop),
            Self::Postgres(tx) => bound!(sql, values).execute(&mut **tx).await.map(drop),
        }
    }

    /// What differs: how a row that is about to be referred to is kept from being deleted.
    /// SQLite needs nothing for it, since a writer is alone.
    pub(super) fn keeping(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite(..) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx, _gate) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }
}

/// A row of either.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn int(&self, column: usize) -> sqlx::Result<i64> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn text(&self, column: usize) -> sqlx::Result<String> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}
