//! A pool's idle connections as something that can be given back.

use plimsoll_core::{
    CleanupLevel, CleanupRegistry, Holding, PruneError, PruneRequest, Pruned, Pruner, Registration,
};
use sqlx::{Connection, Database, Pool, database::HasStatementCache, pool::PoolConnection};

/// The name of the action in a cleanup's record.
pub const DATABASE_CONNECTIONS: &str = "database_connections";

/// Closes a pool's idle connections, and has those that stay forget their prepared statements.
///
/// Runs at the aggressive level only. The pool keeps its `min_connections`, and at least one: a
/// SQLite database in memory lives as long as a connection to it. Connections in use are not
/// touched.
#[derive(Debug)]
pub struct DatabaseConnections {
    pool: AnyPool,
}

#[derive(Debug)]
enum AnyPool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

/// Calls the same function with whichever pool it is.
macro_rules! on_pool {
    ($any:expr, $pool:ident => $call:expr) => {
        match $any {
            #[cfg(feature = "sqlite")]
            AnyPool::Sqlite($pool) => $call,
            #[cfg(feature = "postgres")]
            AnyPool::Postgres($pool) => $call,
        }
    };
}

impl DatabaseConnections {
    /// The connections of a SQLite pool; those that stay run `PRAGMA shrink_memory` too.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(pool: sqlx::SqlitePool) -> Self {
        Self { pool: AnyPool::Sqlite(pool) }
    }

    /// The connections of a PostgreSQL pool.
    #[cfg(feature = "postgres")]
    pub fn postgres(pool: sqlx::PgPool) -> Self {
        Self { pool: AnyPool::Postgres(pool) }
    }

    /// Registers it as `database_connections`.
    pub fn register(self, registry: &CleanupRegistry) -> Registration {
        registry.register(DATABASE_CONNECTIONS, self)
    }

    fn surplus(&self) -> u32 {
        on_pool!(&self.pool, pool => surplus(pool))
    }
}

impl Pruner for DatabaseConnections {
    async fn prune(&self, _: PruneRequest) -> Result<Pruned, PruneError> {
        let shrunk = match &self.pool {
            #[cfg(feature = "sqlite")]
            AnyPool::Sqlite(pool) => {
                prune(pool, async |connection| {
                    sqlx::query("PRAGMA shrink_memory").execute(connection).await.map(drop)
                })
                .await
            }
            #[cfg(feature = "postgres")]
            AnyPool::Postgres(pool) => prune(pool, async |_| Ok(())).await,
        };
        let detail = format!("{} closed, {} shrunk", shrunk.closed, shrunk.kept);
        Ok(Pruned::entries(shrunk.closed).detail(detail))
    }

    fn least_level(&self) -> CleanupLevel {
        CleanupLevel::Aggressive
    }

    fn holding(&self) -> Holding {
        let size = on_pool!(&self.pool, pool => pool.size());
        Holding::new(Some(size.into()), None)
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        let closes = request.level == CleanupLevel::Aggressive;
        Some(Pruned::entries(if closes { self.surplus().into() } else { 0 }))
    }
}

struct Shrunk {
    closed: u64,
    kept: u64,
}

fn least<D: Database>(pool: &Pool<D>) -> u32 {
    pool.options().get_min_connections().max(1)
}

/// Idle connections beyond those that the pool keeps.
fn surplus<D: Database>(pool: &Pool<D>) -> u32 {
    let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
    pool.size().saturating_sub(least(pool)).min(idle)
}

async fn prune<D>(
    pool: &Pool<D>,
    shrink: impl AsyncFn(&mut D::Connection) -> Result<(), sqlx::Error>,
) -> Shrunk
where
    D: Database + HasStatementCache,
{
    let mut shrunk = Shrunk { closed: 0, kept: 0 };
    let mut kept: Vec<PoolConnection<D>> = Vec::new();
    // One at a time, so that requests find the others; those that stay are few.
    for _ in 0..pool.num_idle() {
        let Some(mut connection) = pool.try_acquire() else { break };
        if pool.size() > least(pool) {
            // What it has prepared goes with it; one that does not close properly is gone too.
            let _ = connection.close().await;
            shrunk.closed += 1;
        } else if connection.clear_cached_statements().await.is_err()
            || shrink(&mut connection).await.is_err()
        {
            connection.close_on_drop();
        } else {
            shrunk.kept += 1;
            kept.push(connection);
        }
    }
    shrunk
}
