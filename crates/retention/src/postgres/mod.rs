//! Rules on PostgreSQL.

mod batch;
mod catalog;
mod check;

use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres as Db, Row, Transaction, postgres::PgArguments,
    query::Query,
};

use crate::sql::{Bind, Statement};

/// A count over a large table takes its time, and disturbs nobody.
const READ_SETTINGS: &str = "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '500ms'; \
                             SET LOCAL TimeZone = 'UTC'; \
                             SET LOCAL DateStyle = 'ISO, YMD'";

#[derive(Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    /// Stands still in tests, in microseconds since 1970.
    #[cfg(test)]
    pub(crate) frozen: Option<i64>,
}

impl Postgres {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            #[cfg(test)]
            frozen: None,
        }
    }

    pub(crate) async fn now(&self) -> Result<i64, sqlx::Error> {
        #[cfg(test)]
        if let Some(frozen) = self.frozen {
            return Ok(frozen);
        }
        sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            .fetch_one(&self.pool)
            .await
    }

    pub(crate) async fn count(&self, statement: Statement) -> Result<i64, sqlx::Error> {
        let mut tx = self.begin_reading().await?;
        query(statement).fetch_one(&mut *tx).await?.try_get(0)
    }

    pub(crate) async fn keys(
        &self,
        statement: Statement,
        columns: usize,
    ) -> Result<Vec<Vec<String>>, sqlx::Error> {
        let mut tx = self.begin_reading().await?;
        let rows = query(statement).fetch_all(&mut *tx).await?;
        rows.iter().map(|row| (0..columns).map(|at| row.try_get(at)).collect()).collect()
    }

    /// The server itself refuses to write in it.
    async fn begin_reading(&self) -> Result<Transaction<'static, Db>, sqlx::Error> {
        begin(&self.pool, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", READ_SETTINGS).await
    }
}

/// Begins a transaction with settings that end with it, so that a pooler may stand between.
async fn begin(
    pool: &PgPool,
    begin: &'static str,
    settings: &'static str,
) -> Result<Transaction<'static, Db>, sqlx::Error> {
    let pool = pool.clone();
    // A task of its own: dropped between BEGIN and its answer, sqlx hands the connection back with
    // the transaction open, and whoever gets it next could not write. What a task begins for
    // nobody is dropped whole, and so rolled back.
    let begun = tokio::spawn(async move { pool.begin_with(begin).await });
    // An error is the end of the runtime.
    let mut tx = begun.await.map_err(|_| sqlx::Error::WorkerCrashed)??;
    let connection: &mut PgConnection = &mut tx;
    sqlx::raw_sql(settings).execute(connection).await?;
    Ok(tx)
}

/// A statement that leaves nothing in the connection's cache.
///
/// Its text was written by [`crate::sql`] from checked names and types of the catalog; values are
/// bound.
fn query(statement: Statement) -> Query<'static, Db, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.text)).persistent(false);
    for bind in statement.binds {
        query = match bind {
            Bind::Integer(number) => query.bind(number),
            Bind::Text(text) => query.bind(text),
            Bind::Texts(texts) => query.bind(texts),
        };
    }
    query
}
