//! Opening a database: connections, and the tables where they are missing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sqlx::{
    ConnectOptions as _, Connection as _,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};
use tokio::sync::Mutex;

use super::{Database, link::Link, link::PATIENCE};
use crate::location::Location;

/// Connections of the pool.
const POOL_CONNECTIONS: u32 = 10;

impl Database {
    /// Opens the database, makes a file of SQLite when it is missing, and brings the tables up.
    pub(crate) async fn open(location: &Location) -> Result<Self, sqlx::Error> {
        match location {
            Location::Postgres(options) => Self::open_postgres(options).await,
            Location::Memory => Self::open_sqlite(memory_options(), true).await,
            Location::File(path) => {
                let options = sqlite_options()
                    .filename(path)
                    .create_if_missing(true)
                    // Must be set before the first table: later, freed pages stay in the file.
                    .auto_vacuum(SqliteAutoVacuum::Incremental)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal);
                Self::open_sqlite(options, false).await
            }
        }
    }

    async fn open_sqlite(options: SqliteConnectOptions, in_memory: bool) -> sqlx::Result<Self> {
        let anchor = match in_memory {
            true => Some(Arc::new(Mutex::new(options.connect().await?))),
            false => None,
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(POOL_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(include_str!("../schema/sqlite.sql")).execute(&pool).await?;
        Ok(Self { link: Link::Sqlite(pool), gate: Arc::default(), _anchor: anchor })
    }

    async fn open_postgres(options: &PgConnectOptions) -> sqlx::Result<Self> {
        let options = options
            .clone()
            .application_name("chat")
            // Else it says of each table that it is there already.
            .options([("client_min_messages", "warning")]);
        // A pool asks again until its time is up, and then says only that it is. This one says why.
        options.connect().await?.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(include_str!("../schema/postgres.sql")).execute(&pool).await?;
        Ok(Self { link: Link::Postgres(pool), gate: Arc::default(), _anchor: None })
    }
}

fn sqlite_options() -> SqliteConnectOptions {
    SqliteConnectOptions::new().busy_timeout(PATIENCE).foreign_keys(true)
}

fn memory_options() -> SqliteConnectOptions {
    // Every database in memory of this process has a name of its own.
    static MEMORY_NAMES: AtomicU64 = AtomicU64::new(0);
    // This file system shares a database between connections and knows file locks. The older
    // way, a shared cache, answers "table is locked" at once instead of waiting.
    sqlite_options()
        .vfs("memdb")
        .filename(format!("/chat-{}", MEMORY_NAMES.fetch_add(1, Ordering::Relaxed)))
        .create_if_missing(true)
}
