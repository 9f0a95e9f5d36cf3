//! One batch: one statement under the database's write lock.
//!
//! `BEGIN IMMEDIATE` takes that lock before anything is read, so nobody can commit a row between
//! looking and deleting.

use sqlx::{Row, SqliteConnection};

use super::{Sqlite, query};
use crate::{
    database::{Batch, BatchError},
    plan::{Cutoff, Plan},
    sql::Position,
};

/// How long a batch waits for whoever is writing.
const BUSY_TIMEOUT_MS: i64 = 5_000;

impl Sqlite {
    pub(crate) async fn batch(
        &self,
        plan: &Plan,
        cutoff: Cutoff,
        from: Position<'_>,
        limit: u32,
    ) -> Result<Option<Batch>, BatchError> {
        let _gate = self.gate.lock().await;
        let mut connection = self.pool.acquire().await.map_err(judged)?;
        let own = patience(&mut connection).await.map_err(judged)?;
        if own != BUSY_TIMEOUT_MS {
            sqlx::query("PRAGMA busy_timeout = 5000")
                .execute(&mut *connection)
                .await
                .map_err(judged)?;
        }
        let result = delete(&mut connection, plan, cutoff, from, limit).await;
        if own != BUSY_TIMEOUT_MS {
            // The pool's connections are the program's: one whose setting is lost is closed.
            let restored = sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {own}")));
            if restored.execute(&mut *connection).await.is_err() {
                connection.close_on_drop();
            }
        }
        result.map(Some)
    }
}

async fn patience(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA busy_timeout").fetch_one(connection).await
}

async fn delete(
    connection: &mut SqliteConnection,
    plan: &Plan,
    cutoff: Cutoff,
    from: Position<'_>,
    limit: u32,
) -> Result<Batch, BatchError> {
    // Dropped in the middle, it is rolled back.
    let mut tx =
        sqlx::Connection::begin_with(connection, "BEGIN IMMEDIATE").await.map_err(judged)?;
    let statement = plan.delete_oldest(cutoff, from, limit.into());
    let rows = query(statement).fetch_all(&mut *tx).await.map_err(judged)?;
    let deleted = rows.len() as u64;
    if deleted > u64::from(limit) {
        return Err(BatchError::Excess { selected: limit.into(), deleted });
    }
    let mut ages = Vec::with_capacity(rows.len());
    for row in &rows {
        ages.push(row.try_get::<String, _>(0).map_err(judged)?);
    }
    tx.commit().await.map_err(judged)?;
    Ok(Batch { selected: deleted, deleted, position: furthest(ages) })
}

/// Numbers by their value, texts as texts: each column holds one of both.
fn furthest(ages: Vec<String>) -> Option<String> {
    ages.into_iter().max_by(|one, other| match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.total_cmp(&other),
        _ => one.cmp(other),
    })
}

/// Locks pass; everything else is a failure.
fn judged(error: sqlx::Error) -> BatchError {
    // SQLITE_BUSY and SQLITE_LOCKED are the low byte of what they are refined to.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => BatchError::Busy(error),
        _ => BatchError::Failed(error),
    }
}
