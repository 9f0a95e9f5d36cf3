//! What a run asks of a database, whichever it is.

use plimsoll_core::Clock;

use crate::{
    error::RuleError,
    plan::{Checked, Cutoff, Plan},
    rule::Parsed,
    sql::{Dialect, Position, Statement},
};

/// One of the databases that rules can run on.
#[derive(Debug)]
pub(crate) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(crate::sqlite::Sqlite),
    #[cfg(feature = "postgres")]
    Postgres(crate::postgres::Postgres),
}

/// What one transaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) selected: u64,
    pub(crate) deleted: u64,
    /// Where the next batch goes on.
    pub(crate) position: Option<String>,
}

/// Why a batch was rolled back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    /// Somebody else was in the way, or it took too long; a smaller batch may do.
    #[error("the database was busy")]
    Busy(#[source] sqlx::Error),
    #[error("the database failed")]
    Failed(#[source] sqlx::Error),
    /// The key named more rows than were looked for.
    #[error(
        "{deleted} rows would have gone for {selected} keys, so the key is none; nothing was \
         deleted"
    )]
    Excess { selected: u64, deleted: u64 },
}

/// Calls the same method of whichever database it is.
macro_rules! on_database {
    ($database:expr, $it:ident => $call:expr) => {
        match $database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite($it) => $call,
            #[cfg(feature = "postgres")]
            Database::Postgres($it) => $call,
        }
    };
}

impl Database {
    /// The word in the report.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => "sqlite",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgres",
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Holds a rule against the tables. The outer error is the database's, the inner the rule's.
    pub(crate) async fn check(
        &self,
        rule: &Parsed,
    ) -> Result<Result<Checked, Vec<RuleError>>, sqlx::Error> {
        on_database!(self, it => it.check(rule).await)
    }

    /// The database's clock, in microseconds since 1970.
    pub(crate) async fn now(&self) -> Result<i64, sqlx::Error> {
        on_database!(self, it => it.now().await)
    }

    /// Deletes up to `limit` rows in one transaction; `None` when another instance works on
    /// this rule.
    pub(crate) async fn batch(
        &self,
        plan: &Plan,
        cutoff: Cutoff,
        from: Position<'_>,
        limit: u32,
    ) -> Result<Option<Batch>, BatchError> {
        on_database!(self, it => it.batch(plan, cutoff, from, limit).await)
    }

    /// Runs a statement that only reads and returns one number.
    pub(crate) async fn count(&self, statement: Statement) -> Result<u64, sqlx::Error> {
        let count: i64 = on_database!(self, it => it.count(statement).await)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Runs a statement that only reads and returns a row's key, `columns` texts each.
    pub(crate) async fn keys(
        &self,
        statement: Statement,
        columns: usize,
    ) -> Result<Vec<Vec<String>>, sqlx::Error> {
        on_database!(self, it => it.keys(statement, columns).await)
    }

    /// What is to be done once rows were deleted.
    pub(crate) async fn after_deleting(&self, clock: &Clock) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.tidy(clock).await,
            // Autovacuum does that here.
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {
                let _ = clock;
            }
        }
    }
}
