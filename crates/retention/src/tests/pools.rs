//! Idle connections are given back, busy ones are not touched.

use plimsoll_core::{CleanupLevel, PruneRequest, Pruner};
use sqlx::{Database, Pool, pool::PoolConnection, sqlite::SqlitePoolOptions};

use super::support::{Db, on_both, plimsoll};
use crate::{DATABASE_CONNECTIONS, DatabaseConnections};

on_both!(
    idle_connections_are_closed_and_busy_ones_finish,
    only_an_aggressive_cleanup_closes_connections
);

async fn hold<D: Database>(pool: &Pool<D>, count: usize) -> Vec<PoolConnection<D>> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(pool.acquire().await.unwrap());
    }
    held
}

/// Opens five connections and lets them go again, until all are idle.
async fn five_idle<D: Database>(pool: &Pool<D>) {
    // One that is still on its way back would be opened once more.
    all_idle(pool).await;
    drop(hold(pool, 5).await);
    all_idle(pool).await;
    assert_eq!(pool.size(), 5);
}

async fn all_idle<D: Database>(pool: &Pool<D>) {
    while pool.num_idle() < pool.size() as usize {
        tokio::task::yield_now().await;
    }
}

fn sizes(db: &Db) -> (u32, usize) {
    match db {
        Db::Sqlite(pool, _) => (pool.size(), pool.num_idle()),
        Db::Postgres(pool, _) => (pool.size(), pool.num_idle()),
    }
}

fn pruner(db: &Db) -> DatabaseConnections {
    match db {
        Db::Sqlite(pool, _) => DatabaseConnections::sqlite(pool.clone()),
        Db::Postgres(pool, _) => DatabaseConnections::postgres(pool.clone()),
    }
}

async fn idle_connections_are_closed_and_busy_ones_finish(db: Db) {
    let pruner = pruner(&db);
    let request = PruneRequest::new(CleanupLevel::Aggressive);
    match &db {
        Db::Sqlite(pool, _) => five_idle(pool).await,
        Db::Postgres(pool, _) => five_idle(pool).await,
    }
    assert_eq!(pruner.preview(request).unwrap().entries, 4);
    assert_eq!(sizes(&db).0, 5, "a preview closes none");
    let pruned = pruner.prune(request).await.unwrap();
    assert_eq!((pruned.entries, pruned.detail.as_deref()), (4, Some("4 closed, 1 shrunk")));
    assert_eq!(sizes(&db).0, 1);
    // With two in the middle of a transaction, all idle ones go and those two go on.
    match &db {
        Db::Sqlite(pool, _) => {
            five_idle(pool).await;
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let _second = hold(pool, 1).await;
            sqlx::query("INSERT INTO threads (id) VALUES (1)").execute(&mut *tx).await.unwrap();
            assert_eq!(pruner.prune(request).await.unwrap().entries, 3);
            tx.commit().await.unwrap();
        }
        Db::Postgres(pool, _) => {
            five_idle(pool).await;
            let mut tx = pool.begin().await.unwrap();
            let _second = hold(pool, 1).await;
            sqlx::query("INSERT INTO threads (id) VALUES (1)").execute(&mut *tx).await.unwrap();
            assert_eq!(pruner.prune(request).await.unwrap().entries, 3);
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(db.ids("threads").await, [1]);
}

async fn only_an_aggressive_cleanup_closes_connections(db: Db) {
    match &db {
        Db::Sqlite(pool, _) => five_idle(pool).await,
        Db::Postgres(pool, _) => five_idle(pool).await,
    }
    let (plimsoll, _) = plimsoll();
    let _registered = pruner(&db).register(plimsoll.registry());
    plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
    assert_eq!(sizes(&db).0, 5);
    let record = plimsoll.cleanup(CleanupLevel::Aggressive).await.unwrap();
    let action = record.results.iter().find(|action| action.name == DATABASE_CONNECTIONS).unwrap();
    assert_eq!(action.removed, Some(4), "{record:?}");
    assert_eq!(sizes(&db).0, 1);
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn a_pool_keeps_its_least_connections_and_a_database_in_memory() {
    let kept = SqlitePoolOptions::new().min_connections(2).max_connections(8);
    let pool = kept.connect("sqlite::memory:").await.unwrap();
    five_idle(&pool).await;
    let pruner = DatabaseConnections::sqlite(pool.clone());
    let pruned = pruner.prune(PruneRequest::new(CleanupLevel::Aggressive)).await.unwrap();
    assert_eq!((pruned.entries, pool.size()), (3, 2));

    let one = SqlitePoolOptions::new().max_connections(1);
    let pool = one.connect("sqlite::memory:").await.unwrap();
    sqlx::query("CREATE TABLE kept (id)").execute(&pool).await.unwrap();
    let pruner = DatabaseConnections::sqlite(pool.clone());
    pruner.prune(PruneRequest::new(CleanupLevel::Aggressive)).await.unwrap();
    sqlx::query("SELECT * FROM kept").fetch_all(&pool).await.expect("still there");
}

#[tokio::test]
async fn what_stays_forgets_its_statements() {
    let pool =
        SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::query("SELECT 1").fetch_all(&pool).await.unwrap();
    let cached = async || {
        let connection = pool.acquire().await.unwrap();
        sqlx::Connection::cached_statements_size(&*connection)
    };
    assert!(cached().await > 0);
    while pool.num_idle() < 1 {
        tokio::task::yield_now().await;
    }
    let pruner = DatabaseConnections::sqlite(pool.clone());
    let pruned = pruner.prune(PruneRequest::new(CleanupLevel::Aggressive)).await.unwrap();
    assert_eq!(pruned.detail.as_deref(), Some("0 closed, 1 shrunk"));
    // `PRAGMA shrink_memory` itself may be kept.
    assert!(cached().await <= 1);
}
