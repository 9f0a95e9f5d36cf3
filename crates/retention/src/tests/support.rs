//! A database with the tables of a chat, on SQLite or PostgreSQL.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{MB, Plimsoll, Thresholds};
use plimsoll_testkit::{ScriptHandle, ScriptedSource, ThrowawayPostgres};
use sqlx::{
    AssertSqlSafe, PgPool, Row, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};

use crate::{
    AgeColumn, Retention, RetentionBuilder, Rule, database::Database, hours, timestamptz,
    unix_seconds,
};

/// When the tests' databases think it is: 2026-01-08T10:30:00.4Z, in microseconds since 1970.
pub(super) const NOW: i64 = 1_767_868_200_400_000;
/// The same in whole seconds.
pub(super) const NOW_S: i64 = NOW / 1_000_000;
pub(super) const HOUR: i64 = 3_600;

#[derive(Clone, Debug)]
pub(super) enum Db {
    Sqlite(SqlitePool, Arc<TempFile>),
    Postgres(PgPool, Arc<ThrowawayPostgres>),
}

/// A database file, removed at the end.
#[derive(Debug)]
pub(super) struct TempFile(pub(super) PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            // Not all of them exist.
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

static DATABASES: AtomicU32 = AtomicU32::new(0);

fn unique() -> String {
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    format!("plimsoll_retention_{}_{number}", std::process::id())
}

impl Db {
    pub(super) async fn sqlite() -> Self {
        let file = TempFile(std::env::temp_dir().join(unique()));
        let options = SqliteConnectOptions::new()
            .filename(&file.0)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        let db = Self::Sqlite(pool, Arc::new(file));
        db.make_tables().await;
        db
    }

    /// `None` where there is no PostgreSQL.
    pub(super) async fn postgres() -> Option<Self> {
        let server = ThrowawayPostgres::shared()?;
        let name = unique();
        let admin = PgPool::connect(&server.url("postgres")).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        sqlx::query(AssertSqlSafe(create)).execute(&admin).await.unwrap();
        admin.close().await;
        let options = PgPoolOptions::new().max_connections(8);
        let pool = options.connect(&server.url(&name)).await.unwrap();
        let db = Self::Postgres(pool, server);
        db.make_tables().await;
        Some(db)
    }

    async fn make_tables(&self) {
        let (id, moment) = match self {
            Self::Sqlite(..) => ("INTEGER PRIMARY KEY", "INTEGER"),
            Self::Postgres(..) => ("bigint PRIMARY KEY", "timestamptz"),
        };
        for table in [
            format!("CREATE TABLE chat_sessions (id {id}, last_activity_at {moment})"),
            format!(
                "CREATE TABLE threads (id {id}, session_id bigint REFERENCES chat_sessions (id) \
                 ON DELETE CASCADE, title text, created_at {moment}, touched_at {moment})"
            ),
            format!(
                "CREATE TABLE messages (id {id}, thread_id bigint NOT NULL REFERENCES threads (id) \
                 ON DELETE CASCADE, body text)"
            ),
            format!(
                "CREATE TABLE room_participants (room_id bigint NOT NULL, user_id text NOT NULL, \
                 last_seen_at {moment}, PRIMARY KEY (room_id, user_id))"
            ),
            "CREATE INDEX messages_thread_id ON messages (thread_id)".to_owned(),
            "CREATE INDEX threads_created_at ON threads (created_at)".to_owned(),
        ] {
            self.execute(&table).await;
        }
    }

    pub(super) async fn execute(&self, text: &str) -> u64 {
        self.try_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    pub(super) async fn try_execute(&self, text: &str) -> Result<u64, sqlx::Error> {
        let text = AssertSqlSafe(text.to_owned());
        Ok(match self {
            Self::Sqlite(pool, _) => sqlx::query(text).execute(pool).await?.rows_affected(),
            Self::Postgres(pool, _) => sqlx::query(text).execute(pool).await?.rows_affected(),
        })
    }

    pub(super) async fn numbers(&self, text: &str) -> Vec<i64> {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(pool, _) => sqlx::query_scalar(text).fetch_all(pool).await.unwrap(),
            Self::Postgres(pool, _) => sqlx::query_scalar(text).fetch_all(pool).await.unwrap(),
        }
    }

    pub(super) async fn ids(&self, table: &str) -> Vec<i64> {
        self.numbers(&format!("SELECT id FROM {table} ORDER BY id")).await
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        self.numbers(&format!("SELECT count(*) FROM {table}")).await[0]
    }

    /// Every value of every table.
    pub(super) async fn contents(&self) -> Vec<String> {
        let mut contents = Vec::new();
        for (table, columns) in [
            ("chat_sessions", &["id", "last_activity_at"][..]),
            ("threads", &["id", "session_id", "title", "created_at", "touched_at"]),
            ("messages", &["id", "thread_id", "body"]),
            ("room_participants", &["room_id", "user_id", "last_seen_at"]),
        ] {
            let texts: Vec<_> =
                columns.iter().map(|c| format!("coalesce(CAST({c} AS text), 'NULL')")).collect();
            let text = format!("SELECT {} FROM {table} ORDER BY 1", texts.join(" || '|' || "));
            let text = AssertSqlSafe(text);
            let rows: Vec<String> = match self {
                Self::Sqlite(pool, _) => {
                    let rows = sqlx::query(text).fetch_all(pool).await.unwrap();
                    rows.iter().map(|row| row.get(0)).collect()
                }
                Self::Postgres(pool, _) => {
                    let rows = sqlx::query(text).fetch_all(pool).await.unwrap();
                    rows.iter().map(|row| row.get(0)).collect()
                }
            };
            contents.extend(rows.into_iter().map(|row| format!("{table}:{row}")));
        }
        contents
    }

    /// A moment as a literal; `None` is NULL.
    pub(super) fn moment(&self, seconds: impl Into<Option<i64>>) -> String {
        match (self, seconds.into()) {
            (_, None) => "NULL".to_owned(),
            (Self::Sqlite(..), Some(seconds)) => seconds.to_string(),
            // As far into its second as NOW is.
            (Self::Postgres(..), Some(seconds)) => format!("to_timestamp({seconds}.4)"),
        }
    }

    /// A column of moments of these tables.
    pub(super) fn age(&self, column: &str) -> AgeColumn {
        match self {
            Self::Sqlite(..) => unix_seconds(column),
            Self::Postgres(..) => timestamptz(column),
        }
    }

    pub(super) async fn thread(&self, id: i64, created: impl Into<Option<i64>>) {
        let created = self.moment(created);
        self.execute(&format!("INSERT INTO threads (id, created_at) VALUES ({id}, {created})"))
            .await;
    }

    /// `from..=to`, all equally old.
    pub(super) async fn threads(&self, from: i64, to: i64, created: i64) {
        let series = match self {
            Self::Sqlite(..) => format!(
                "WITH RECURSIVE g(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM g WHERE i < {to})"
            ),
            Self::Postgres(..) => {
                format!("WITH g(i) AS (SELECT generate_series({from}::bigint, {to}::bigint))")
            }
        };
        let created = self.moment(created);
        let text =
            format!("INSERT INTO threads (id, created_at) {series} SELECT i, {created} FROM g");
        // SQLite wants the series in front of the SELECT, as PostgreSQL does.
        self.execute(&text).await;
    }

    pub(super) fn empty_threads(&self) -> Rule {
        Rule::delete_from("threads")
            .named("empty_threads")
            .key("id")
            .older_than(self.age("created_at"), hours(2))
            .unless_exists("messages", "thread_id")
    }

    /// Rules whose database thinks it is [`NOW`], run only when asked.
    pub(super) fn rules(&self) -> RetentionBuilder {
        self.at(NOW)
    }

    pub(super) fn at(&self, now: i64) -> RetentionBuilder {
        self.plain().frozen(now)
    }

    /// Rules on the database's own clock.
    pub(super) fn plain(&self) -> RetentionBuilder {
        match self {
            Self::Sqlite(pool, _) => Retention::sqlite(pool.clone()),
            Self::Postgres(pool, _) => Retention::postgres(pool.clone()),
        }
        .unscheduled()
    }

    /// Another pool on the same database, as another instance has.
    pub(super) async fn other_instance(&self) -> Self {
        match self {
            Self::Sqlite(pool, file) => {
                let options = (*pool.connect_options()).clone();
                Self::Sqlite(SqlitePool::connect_with(options).await.unwrap(), Arc::clone(file))
            }
            Self::Postgres(pool, server) => {
                let options = (*pool.connect_options()).clone();
                Self::Postgres(PgPool::connect_with(options).await.unwrap(), Arc::clone(server))
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool, _) => pool.close().await,
            Self::Postgres(pool, _) => pool.close().await,
        }
    }
}

impl RetentionBuilder {
    pub(super) fn frozen(mut self, now: i64) -> Self {
        match self.database_mut() {
            Database::Sqlite(sqlite) => sqlite.frozen = Some(now),
            Database::Postgres(postgres) => postgres.frozen = Some(now),
        }
        self
    }
}

/// A Plimsoll with plenty of memory, and the script that changes that.
pub(super) fn plimsoll() -> (Plimsoll, ScriptHandle) {
    let (source, script) = ScriptedSource::new();
    script.set_rss(10 * MB);
    let plimsoll = Plimsoll::builder()
        .thresholds(Thresholds::new(1_000 * MB, 2_000 * MB).unwrap())
        .check_interval(Duration::from_secs(600))
        .start_with(source)
        .unwrap();
    (plimsoll, script)
}

/// Makes a test for each database of `async fn name(db: Db)`.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::tests::support::Db::sqlite().await).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(db) = $crate::tests::support::Db::postgres().await {
                    super::$name(db).await;
                }
            })+
        }
    };
}
pub(super) use on_both;
