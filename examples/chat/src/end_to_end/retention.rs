//! The rules on the tables of the chat, on both databases.

use std::time::Duration;

use plimsoll::prelude::{ConnectionMeta, Transport};

use super::*;
use crate::{conversation::Visitor, db::Database, message::Name, room::Speech, testing::places};

/// Rows on both sides of each age and of each condition; those that are to go say so. SQL that both
/// databases know. Ages are a minute off the boundary, since time goes on meanwhile.
const FIXTURE: [&str; 4] = [
    "INSERT INTO users (id, name) VALUES (901, 'u1'), (902, 'u2'), (903, 'u3')",
    "INSERT INTO chat_sessions (id, user_id, title, created_at, last_activity_at) VALUES \
     (901, 901, 'goes: empty, old', unixepoch() - 86460, unixepoch() - 86460), \
     (902, 901, 'empty, not old enough', unixepoch() - 86340, unixepoch() - 86340), \
     (903, 901, 'old, active', unixepoch() - 999999, unixepoch()), \
     (904, 901, 'old, with a thread that stays', unixepoch() - 999999, unixepoch() - 999999), \
     (905, 901, 'goes: old, its only thread goes', unixepoch() - 90000, unixepoch() - 90000), \
     (906, 901, 'from the future', unixepoch() + 999999, unixepoch() + 999999)",
    "INSERT INTO threads (id, session_id, title, created_at) VALUES \
     (901, 904, 'goes: empty, old', unixepoch() - 7260), \
     (902, 904, 'empty, not old enough', unixepoch() - 7140), \
     (903, 904, 'old, with a message', unixepoch() - 999999), \
     (904, 905, 'goes: empty, old', unixepoch() - 7260), \
     (905, 904, 'from the future', unixepoch() + 999999)",
    "INSERT INTO room_participants (room_id, user_id, joined_at, last_seen_at) \
     SELECT r.id, u.id, unixepoch() - 25200, \
       CASE u.id WHEN 901 THEN unixepoch() - 21660 WHEN 902 THEN unixepoch() - 21540 \
       ELSE unixepoch() END \
     FROM rooms AS r JOIN users AS u ON u.id > 900 WHERE r.name = 'lobby'",
];

async fn plant(db: &Database) {
    for sql in FIXTURE {
        db.execute(sql).await;
    }
    db.execute("INSERT INTO messages (thread_id, user_id, body) VALUES (903, 901, 'x')").await;
}

/// The planted rows that are left, by table.
async fn left(db: &Database) -> [Vec<i64>; 3] {
    [
        db.numbers("SELECT id FROM chat_sessions WHERE id > 900 ORDER BY id").await,
        db.numbers("SELECT id FROM threads WHERE id > 900 ORDER BY id").await,
        db.numbers("SELECT user_id FROM room_participants WHERE user_id > 900 ORDER BY 1").await,
    ]
}

/// What the rules did or would do: rule, selected, deleted.
async fn run(server: &Running, query: &str) -> Vec<(String, u64, u64)> {
    let answer = server.post(&format!("/api/cleanup/aggressive{query}"), json!({})).await.json();
    let rules =
        answer["data"]["database"]["rules"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let number = |value: &Value| value.as_u64().unwrap();
    let told = |run: &Value| {
        assert_eq!(run["outcome"], "ok", "{run}");
        let rule = run["rule"].as_str().unwrap().to_owned();
        (rule, number(&run["selected"]), number(&run["deleted"]))
    };
    rules.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_rows_that_nobody_needs_go() {
    for place in places().await {
        let server = Running::start_on(place.location.clone(), &[], false).await;
        let db = &server.app.db;
        plant(db).await;
        let before = left(db).await;
        let rule = |name: &str, selected, deleted| (name.to_owned(), selected, deleted);
        let dry = [
            rule("empty_threads", 2, 0),
            // The thread of the other one is there still.
            rule("empty_chat_sessions", 1, 0),
            rule("abandoned_room_participants", 1, 0),
        ];
        assert_eq!(run(&server, "?dryRun=true").await, dry, "{place:?}");
        assert_eq!(left(db).await, before, "a dry run writes nothing");
        let done = [
            rule("empty_threads", 2, 2),
            rule("empty_chat_sessions", 2, 2),
            rule("abandoned_room_participants", 1, 1),
        ];
        assert_eq!(run(&server, "").await, done, "{place:?}");
        let expected = [vec![902, 903, 904, 906], vec![902, 903, 905], vec![902, 903]];
        assert_eq!(left(db).await, expected, "{place:?}");
        server.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_socket_open_stays_however_long_ago_they_joined() {
    for place in places().await {
        let server = Running::start_on(place.location.clone(), &[], false).await;
        let app = &server.app;
        let name = |text: &str| Name::parse("name", text).unwrap();
        let gone = app.join(name("Ben"), name("lobby")).await.unwrap();
        let member = app.join(name("Ada"), name("lobby")).await.unwrap();
        let connection = app.sockets.connect(ConnectionMeta::new(Transport::Other)).unwrap();
        let ada = Visitor::new(app, member.clone(), Speech::WebSocket, connection.downgrade());
        app.db
            .execute(
                "UPDATE room_participants SET joined_at = unixepoch() - 25200, \
                 last_seen_at = unixepoch() - 25200",
            )
            .await;
        ada.enter_seen_every(Duration::from_millis(2)).await;
        let fresh = "SELECT user_id FROM room_participants WHERE last_seen_at > unixepoch() - 60";
        let seen = async { while app.db.numbers(fresh).await != [member.user_id] {} };
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect("a live socket is seen");
        let runs = run(&server, "").await;
        assert_eq!(runs[2], ("abandoned_room_participants".to_owned(), 1, 1), "{place:?}");
        let stay = app.db.numbers("SELECT user_id FROM room_participants").await;
        assert_eq!(stay, [member.user_id], "and {} is gone", gone.user_id);
        drop(connection);
        server.stop().await.unwrap();
    }
}
