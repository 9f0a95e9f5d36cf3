//! On SQLite in memory, on PostgreSQL, and on a file of a directory that is removed again.

use sqlx::SqlitePool;

use super::*;
use crate::{
    location::Location,
    testing::{databases, postgres},
};

async fn memory() -> Database {
    Database::open(&Location::Memory).await.unwrap()
}

fn sqlite(db: &Database) -> &SqlitePool {
    let Link::Sqlite(pool) = db.link() else { panic!("no SQLite") };
    pool
}

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn body(text: &str) -> Body {
    Body::parse(text).unwrap()
}

async fn count(db: &Database, sql: &'static str) -> i64 {
    db.numbers(sql).await[0]
}

#[tokio::test]
async fn what_was_said_is_read_back_oldest_first_and_only_in_its_room() {
    for (db, _place) in &databases().await {
        let ada = db.join(name("Ada"), name("lobby")).await.unwrap();
        let ben = db.join(name("Ben"), name("harbour")).await.unwrap();
        let first = db.post(&ada, &body("first")).await.unwrap();
        db.post(&ben, &body("elsewhere")).await.unwrap();
        let second = db.post(&ada, &body("'; DROP TABLE messages; --")).await.unwrap();
        assert_eq!(db.history(&name("lobby")).await.unwrap(), [first, second]);
        assert_eq!(db.history(&name("engine room")).await.unwrap(), []);
    }
}

#[tokio::test]
async fn history_is_the_newest_fifty() {
    for (db, _place) in &databases().await {
        let ada = db.join(name("Ada"), name("lobby")).await.unwrap();
        for n in 0..60 {
            db.post(&ada, &body(&n.to_string())).await.unwrap();
        }
        let history = db.history(&name("lobby")).await.unwrap();
        assert_eq!(history.len(), 50);
        assert_eq!((history[0].body.as_str(), history[49].body.as_str()), ("10", "59"));
    }
}

#[tokio::test]
async fn joining_twice_makes_nothing_twice() {
    for (db, _place) in &databases().await {
        let first = db.join(name("Ada"), name("lobby")).await.unwrap();
        let again = db.join(name("Ada"), name("lobby")).await.unwrap();
        assert_eq!((first.user_id, first.room_id), (again.user_id, again.room_id));
        for table in [
            "SELECT count(*) FROM users",
            "SELECT count(*) FROM chat_sessions",
            "SELECT count(*) FROM room_participants",
        ] {
            assert_eq!(count(db, table).await, 1, "{table}");
        }
    }
}

#[tokio::test]
async fn rooms_have_a_limit_and_a_refusal_leaves_nothing_behind() {
    for (db, _place) in &databases().await {
        let ada = name("Ada");
        let there = i64::try_from(db.rooms().await.unwrap().len()).unwrap();
        for n in there..MAX_ROOMS {
            db.join(ada.clone(), name(&format!("room {n}"))).await.unwrap();
        }
        let refused = db.join(name("Ben"), name("one more")).await;
        assert!(matches!(refused, Err(JoinError::TooManyRooms)), "{refused:?}");
        assert_eq!(count(db, "SELECT count(*) FROM users WHERE name = 'Ben'").await, 0);
        assert!(db.join(name("Ben"), name("lobby")).await.is_ok());
    }
}

#[tokio::test]
async fn being_seen_refreshes_the_participant() {
    for (db, _place) in &databases().await {
        let ada = db.join(name("Ada"), name("lobby")).await.unwrap();
        db.execute("UPDATE room_participants SET last_seen_at = 0").await;
        db.seen(&ada).await.unwrap();
        let seen = count(db, "SELECT last_seen_at - unixepoch() FROM room_participants").await;
        assert!((-5..=0).contains(&seen), "{seen}");
    }
}

#[tokio::test]
async fn a_member_can_post_after_retention_took_the_empty_thread_and_session() {
    for (db, _place) in &databases().await {
        let ada = db.join(name("Ada"), name("lobby")).await.unwrap();
        db.post(&ada, &body("before")).await.unwrap();
        db.execute("DELETE FROM messages").await;
        db.execute("DELETE FROM threads").await;
        db.execute("DELETE FROM chat_sessions").await;
        db.execute("DELETE FROM room_participants").await;
        db.post(&ada, &body("after")).await.unwrap();
        assert_eq!(db.history(&name("lobby")).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_readers_at_once_lose_nothing() {
    for (db, _place) in &databases().await {
        let tasks: Vec<_> = (0..24)
            .map(|n| {
                let db = db.clone();
                tokio::spawn(async move {
                    let member = db.join(name(&format!("p{n}")), name("lobby")).await.unwrap();
                    for _ in 0..5 {
                        db.post(&member, &body("x")).await.unwrap();
                        assert!(!db.history(&name("lobby")).await.unwrap().is_empty());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(count(db, "SELECT count(*) FROM messages").await, 24 * 5);
    }
}

#[tokio::test]
async fn two_databases_in_memory_are_two() {
    let (one, other) = (memory().await, memory().await);
    one.join(name("Ada"), name("lobby")).await.unwrap();
    assert_eq!(count(&other, "SELECT count(*) FROM users").await, 0);
}

#[tokio::test]
async fn a_database_in_memory_outlives_the_connections_of_its_pool() {
    let db = memory().await;
    db.join(name("Ada"), name("lobby")).await.unwrap();
    while sqlite(&db).size() > 0 {
        sqlite(&db).acquire().await.unwrap().close().await.unwrap();
    }
    assert_eq!(count(&db, "SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn a_file_keeps_its_messages_in_wal_mode_with_foreign_keys() {
    let directory = std::env::temp_dir().join(format!("chat-db-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let location = Location::File(directory.join("chat.db"));
    let db = Database::open(&location).await.unwrap();
    let ada = db.join(name("Ada"), name("lobby")).await.unwrap();
    db.post(&ada, &body("kept")).await.unwrap();
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(sqlite(&db)).await.unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(count(&db, "PRAGMA foreign_keys").await, 1);
    assert_eq!(count(&db, "PRAGMA auto_vacuum").await, 2, "incremental");
    db.close().await;
    let again = Database::open(&location).await.unwrap();
    assert_eq!(again.history(&name("lobby")).await.unwrap()[0].body, "kept");
    again.close().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_is_an_error() {
    let location = Location::File("/dev/null/chat.db".into());
    assert!(Database::open(&location).await.is_err());
}

#[tokio::test]
async fn threads_of_a_session_are_listed_and_end_with_the_list() {
    for (db, _place) in &databases().await {
        let session = db.open_session(&name("Ada"), &name("plans")).await.unwrap();
        assert_eq!(db.open_session(&name("Ada"), &name("plans")).await.unwrap().id, session.id);
        for n in 0..=LIST {
            let thread = db.open_thread(session.id, &name(&format!("t{n}"))).await.unwrap();
            assert!(thread.is_some());
        }
        let threads = db.threads(session.id).await.unwrap().unwrap();
        assert_eq!(threads.len(), usize::try_from(LIST).unwrap());
        let newest = threads[0].id;
        let said = db.post_to_thread(newest, &name("Ben"), &body("hi")).await.unwrap().unwrap();
        assert_eq!(db.thread_messages(newest).await.unwrap().unwrap(), [said]);
        assert_eq!(db.sessions(&name("Ada")).await.unwrap().len(), 1);
        for missing in [-1, i64::MAX] {
            assert_eq!(db.threads(missing).await.unwrap(), None);
            assert_eq!(db.open_thread(missing, &name("x")).await.unwrap(), None);
            assert_eq!(db.thread_messages(missing).await.unwrap(), None);
            let posted = db.post_to_thread(missing, &name("Ben"), &body("x")).await.unwrap();
            assert_eq!(posted, None);
        }
    }
}

#[tokio::test]
async fn a_rooms_own_thread_is_no_thread_of_a_person() {
    for (db, _place) in &databases().await {
        let ada = db.join(name("Ada"), name("lobby")).await.unwrap();
        db.post(&ada, &body("in the room")).await.unwrap();
        let thread = count(db, "SELECT id FROM threads").await;
        let posted = db.post_to_thread(thread, &name("Ben"), &body("behind its back")).await;
        assert_eq!(posted.unwrap(), None);
        assert_eq!(db.history(&name("lobby")).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn several_servers_may_open_one_postgres_at_once() {
    let Some(place) = postgres().await else { return };
    let opening: Vec<_> = (0..4)
        .map(|_| {
            let location = place.location.clone();
            tokio::spawn(async move { Database::open(&location).await })
        })
        .collect();
    for opened in opening {
        let db = opened.await.unwrap().unwrap();
        assert_eq!(db.rooms().await.unwrap().len(), 3);
    }
}
