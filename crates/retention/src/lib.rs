//! Retention rules on sqlx: old rows that nothing needs are deleted in small batches.
//!
//! **What it protects:** a database from threads, sessions and participants that nobody will ever
//! look at again, and everybody else's rows from the deleting. A row goes only if it matches the
//! whole rule at the moment at which it is deleted, under a lock that keeps others from beginning to
//! refer to it. No text of yours becomes SQL: names are held against a strict pattern and the
//! catalog, values are bound.
//!
//! **What it cannot see:** references that the database does not know as foreign keys. Rules that
//! rest on such a reference are refused, unless they say [`Rule::trust_age_only`].
//!
//! Deleting rows does not lower the memory of the process, and for a moment raises it. So no cleanup
//! of memory runs a rule: rules run by their own schedule, or because somebody asked, and wait while
//! memory is critical.
//!
#![cfg_attr(
    feature = "sqlite",
    doc = r#"
```no_run
use plimsoll_core::Plimsoll;
use plimsoll_retention::{DatabaseConnections, Retention, Rule, hours, unix_seconds};

# async fn rules(plimsoll: Plimsoll) -> Result<(), Box<dyn std::error::Error>> {
let pool = sqlx::SqlitePool::connect("sqlite:chat.db").await?;
let retention = Retention::sqlite(pool.clone())
    .rule(
        Rule::delete_from("threads")
            .named("empty_threads")
            .key("id")
            .older_than(unix_seconds("created_at"), hours(2))
            .unless_exists("messages", "thread_id"),
    )
    .start(&plimsoll)
    .await?;
for run in retention.preview().await {
    println!("{}: {} rows would go", run.rule, run.selected);
}
DatabaseConnections::sqlite(pool).register(plimsoll.registry()).forget();
# Ok(())
# }
```
"#
)]
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `sqlite` | no | [`Retention`] on SQLite (`Retention::sqlite`), its own library bundled |
//! | `postgres` | no | [`Retention`] on PostgreSQL (`Retention::postgres`) |
//!
//! With neither there are rules, but nothing to run them on.
//!
//! The minimum supported Rust version is 1.94, which sqlx asks for.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(dead_code, reason = "rules are only read by a database's part")
)]

mod age;
mod condition;
mod error;
mod identifier;
mod rule;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod brakes;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod builder;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod check;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod database;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod pace;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod plan;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod pools;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod retention;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod run;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod schedule;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod state;

pub use self::{
    age::{
        AgeColumn, AgeColumns, AgeKind, days, hours, iso_text, minutes, timestamptz, unix_millis,
        unix_seconds,
    },
    condition::{Is, Value},
    error::{RefusedRules, RetentionError, RuleError},
    identifier::IdentifierError,
    rule::{Columns, LEAST_AGE, MOST_AGE, Rule},
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use self::{
    builder::RetentionBuilder,
    pools::{DATABASE_CONNECTIONS, DatabaseConnections},
    retention::Retention,
};

#[cfg(test)]
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod tests;
