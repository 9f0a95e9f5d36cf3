//! The rules by which old rows go.

use plimsoll::{
    prelude::{Plimsoll, Registration},
    retention::{
        DatabaseConnections, Retention, RetentionBuilder, RetentionError, Rule, hours, unix_seconds,
    },
};

use crate::db::Link;

/// Starts the rules for the chat's database, and lets a cleanup close connections that idle.
/// Rules run every `RETENTION_INTERVAL` if `scheduled`, and whenever somebody asks.
///
/// They run until Plimsoll is shut down; the registration unregisters when it is dropped.
pub(crate) async fn start(
    link: &Link,
    plimsoll: &Plimsoll,
    scheduled: bool,
) -> Result<Registration, RetentionError> {
    let (retention, connections) = match link {
        Link::Sqlite(pool) => {
            (Retention::sqlite(pool.clone()), DatabaseConnections::sqlite(pool.clone()))
        }
        Link::Postgres(pool) => {
            (Retention::postgres(pool.clone()), DatabaseConnections::postgres(pool.clone()))
        }
    };
    let retention = rules(retention);
    let retention = if scheduled { retention } else { retention.unscheduled() };
    retention.start(plimsoll).await?;
    Ok(connections.register(plimsoll.registry()))
}

/// In the order in which rows depend on each other: a session is empty once its threads are gone.
fn rules(retention: RetentionBuilder) -> RetentionBuilder {
    retention
        .rule(
            Rule::delete_from("threads")
                .named("empty_threads")
                .older_than(unix_seconds("created_at"), hours(2))
                .unless_exists("messages", "thread_id")
                // An import that breaks off leaves more empty threads than there are others.
                .allow_majority(),
        )
        .rule(
            Rule::delete_from("chat_sessions")
                .named("empty_chat_sessions")
                .older_than(unix_seconds("last_activity_at"), hours(24))
                .unless_exists("threads", "session_id"),
        )
        .rule(
            // Whoever has a socket open is seen every minute, so however long ago they joined,
            // they stay.
            Rule::delete_from("room_participants")
                .named("abandoned_room_participants")
                .older_than(unix_seconds("last_seen_at"), hours(6)),
        )
}
