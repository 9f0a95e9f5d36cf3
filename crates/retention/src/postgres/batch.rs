//! One batch: lock, then delete what still matches.
//!
//! Two statements, because one is not enough. A single `DELETE … WHERE id IN (SELECT … FOR UPDATE
//! SKIP LOCKED)` judges `NOT EXISTS` by the snapshot it began with, and so destroys a child that
//! was committed while it waited for its turn. In READ COMMITTED the second statement has a
//! snapshot of its own, taken when the rows are locked already: a child that was committed
//! before is seen, and one that comes later waits for our lock and fails on its foreign key.

use sqlx::{PgConnection, Row};

use super::{Postgres, begin, query};
use crate::{
    database::{Batch, BatchError},
    plan::{Cutoff, Plan},
    sql::Position,
};

/// What every batch sets.
macro_rules! settings {
    ($more:literal) => {
        concat!(
            "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '500ms'; ",
            "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'",
            $more
        )
    };
}

const SETTINGS: &str = settings!("");
/// A batch touches few rows of large tables. Where indexes lead to them, reading a whole table to
/// join it is never the better plan, and the one that the planner may fall for.
const INDEXED: &str =
    settings!("; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off");

impl Postgres {
    pub(crate) async fn batch(
        &self,
        plan: &Plan,
        cutoff: Cutoff,
        from: Position<'_>,
        limit: u32,
    ) -> Result<Option<Batch>, BatchError> {
        // Dropped in the middle, it is rolled back.
        let settings = if plan.indexed { INDEXED } else { SETTINGS };
        let mut tx = begin(&self.pool, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", settings)
            .await
            .map_err(judged)?;
        let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
            .persistent(false)
            .bind(plan.lock_key())
            .fetch_one(&mut *tx)
            .await
            .map_err(judged)?;
        if !locked {
            return Ok(None);
        }
        let (keys, position) = select(&mut tx, plan, cutoff, from, limit).await?;
        let selected = keys.first().map_or(0, Vec::len) as u64;
        if selected == 0 {
            return Ok(Some(Batch::default()));
        }
        let deleted = query(plan.delete_locked(cutoff, keys))
            .execute(&mut *tx)
            .await
            .map_err(judged)?
            .rows_affected();
        if deleted > selected {
            return Err(BatchError::Excess { selected, deleted });
        }
        tx.commit().await.map_err(judged)?;
        Ok(Some(Batch { selected, deleted, position }))
    }
}

/// The keys by column, and the last position.
async fn select(
    connection: &mut PgConnection,
    plan: &Plan,
    cutoff: Cutoff,
    from: Position<'_>,
    limit: u32,
) -> Result<(Vec<Vec<String>>, Option<String>), BatchError> {
    let statement = plan.lock_victims(cutoff, from, limit.into());
    let rows = query(statement).fetch_all(connection).await.map_err(judged)?;
    let mut keys = vec![Vec::with_capacity(rows.len()); plan.key.len()];
    for row in &rows {
        for (at, texts) in keys.iter_mut().enumerate() {
            texts.push(row.try_get(at).map_err(judged)?);
        }
    }
    let last = rows.last().map(|row| row.try_get(plan.key.len())).transpose().map_err(judged)?;
    Ok((keys, last))
}

/// Timeouts and conflicts pass; everything else is a failure.
fn judged(error: sqlx::Error) -> BatchError {
    const PASSING: [&str; 4] = [
        "55P03", // lock_not_available
        "57014", // query_canceled: the statement's timeout
        "40P01", // deadlock_detected
        "40001", // serialization_failure
    ];
    let code = error.as_database_error().and_then(|error| error.code());
    match code {
        Some(code) if PASSING.contains(&code.as_ref()) => BatchError::Busy(error),
        _ => BatchError::Failed(error),
    }
}
