//! Databases for tests.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use plimsoll_testkit::ThrowawayPostgres;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{db::Database, location::Location};

/// A database of a test's own, and the server that it is on.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) location: Location,
    _server: Option<Arc<ThrowawayPostgres>>,
}

/// SQLite in memory, and PostgreSQL where it is installed.
pub(crate) async fn places() -> Vec<Place> {
    let mut places = vec![Place { location: Location::Memory, _server: None }];
    places.extend(postgres().await);
    places
}

/// An empty database of PostgreSQL; `None`, with a message, where that is not installed.
pub(crate) async fn postgres() -> Option<Place> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = ThrowawayPostgres::shared()?;
    let name = format!("chat_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let location = server.url(&name).parse().unwrap();
    Some(Place { location, _server: Some(server) })
}

/// The same, opened.
pub(crate) async fn databases() -> Vec<(Database, Place)> {
    let mut databases = Vec::new();
    for place in places().await {
        databases.push((Database::open(&place.location).await.unwrap(), place));
    }
    databases
}
