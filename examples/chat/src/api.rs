//! The chat over plain HTTP: rooms with their participants and messages, and chat sessions with
//! their threads and messages. Every list has an end.

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    app::App,
    db::{Participant, Session, Thread},
    message::{Body, Message, Name},
    problem::Problem,
};

/// The longest body: far above the longest message in any encoding of JSON.
const MAX_BODY_BYTES: usize = 32 * 1024;

type Answer<T> = Result<Json<T>, Problem>;
type Created<T> = Result<(StatusCode, Json<T>), Problem>;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/rooms", get(rooms))
        .route("/api/rooms/{room}/messages", get(messages).post(say))
        .route("/api/rooms/{room}/participants", get(participants))
        .route("/api/sessions", get(sessions).post(open_session))
        .route("/api/sessions/{id}/threads", get(threads).post(open_thread))
        .route("/api/threads/{id}/messages", get(thread_messages).post(post_to_thread))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// `GET /api/rooms`
async fn rooms(State(app): State<App>) -> Answer<Value> {
    let rooms = app.db.rooms().await?;
    let present = app.rooms.present();
    let rooms: Vec<_> = rooms
        .into_iter()
        .map(|room| json!({ "name": room.name, "present": present(room.id) }))
        .collect();
    Ok(Json(json!({ "rooms": rooms })))
}

/// `GET /api/rooms/{room}/messages`: the newest, oldest first.
async fn messages(
    State(app): State<App>,
    room: Result<Path<String>, PathRejection>,
) -> Answer<Vec<Message>> {
    let messages = app.db.history(&room_name(room)?).await?;
    for message in &messages {
        app.chaos.rendered(&message.body);
    }
    Ok(Json(messages))
}

/// `GET /api/rooms/{room}/participants`: the last seen first.
async fn participants(
    State(app): State<App>,
    room: Result<Path<String>, PathRejection>,
) -> Answer<Vec<Participant>> {
    Ok(Json(app.db.participants(&room_name(room)?).await?))
}

/// Somebody says something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    user: String,
    body: String,
}

impl Said {
    fn check(body: Result<Json<Self>, JsonRejection>) -> Result<(Name, Body), Problem> {
        let Json(said) = body.map_err(unreadable)?;
        let user = Name::parse("user", &said.user).map_err(Problem::invalid)?;
        Ok((user, Body::parse(&said.body).map_err(Problem::invalid)?))
    }
}

/// `POST /api/rooms/{room}/messages`: everybody who is there hears it.
async fn say(
    State(app): State<App>,
    room: Result<Path<String>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Created<Message> {
    let room = room_name(room)?;
    let (user, body) = Said::check(said)?;
    let member = app.join(user, room).await?;
    Ok((StatusCode::CREATED, Json(app.say(&member, &body).await?)))
}

/// Whose sessions.
#[derive(Debug, Deserialize)]
struct Whose {
    user: String,
}

/// `GET /api/sessions?user=Ada`: the newest first.
async fn sessions(
    State(app): State<App>,
    whose: Result<Query<Whose>, QueryRejection>,
) -> Answer<Vec<Session>> {
    let Query(whose) = whose.map_err(Problem::malformed)?;
    let user = Name::parse("user", &whose.user).map_err(Problem::malformed)?;
    Ok(Json(app.db.sessions(&user).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSession {
    user: String,
    title: String,
}

/// `POST /api/sessions`: one for each title of a person; a second call comes back to it.
async fn open_session(
    State(app): State<App>,
    body: Result<Json<NewSession>, JsonRejection>,
) -> Created<Session> {
    let Json(new) = body.map_err(unreadable)?;
    let user = Name::parse("user", &new.user).map_err(Problem::invalid)?;
    let title = Name::parse("title", &new.title).map_err(Problem::invalid)?;
    Ok((StatusCode::CREATED, Json(app.db.open_session(&user, &title).await?)))
}

/// `GET /api/sessions/{id}/threads`: the newest first.
async fn threads(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
) -> Answer<Vec<Thread>> {
    let Path(id) = id.map_err(Problem::malformed)?;
    let threads = app.db.threads(id).await?;
    threads.map(Json).ok_or_else(|| none("session", id))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewThread {
    title: String,
}

/// `POST /api/sessions/{id}/threads`
async fn open_thread(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
    body: Result<Json<NewThread>, JsonRejection>,
) -> Created<Thread> {
    let Path(id) = id.map_err(Problem::malformed)?;
    let Json(new) = body.map_err(unreadable)?;
    let title = Name::parse("title", &new.title).map_err(Problem::invalid)?;
    if title.as_str().starts_with('#') {
        return Err(Problem::invalid("title begins with #, which marks the rooms' own threads"));
    }
    let thread = app.db.open_thread(id, &title).await?;
    thread.map(|thread| (StatusCode::CREATED, Json(thread))).ok_or_else(|| none("session", id))
}

/// `GET /api/threads/{id}/messages`: the newest, oldest first.
async fn thread_messages(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
) -> Answer<Vec<Message>> {
    let Path(id) = id.map_err(Problem::malformed)?;
    let messages = app.db.thread_messages(id).await?;
    messages.map(Json).ok_or_else(|| none("thread", id))
}

/// `POST /api/threads/{id}/messages`
async fn post_to_thread(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Created<Message> {
    let Path(id) = id.map_err(Problem::malformed)?;
    let (user, body) = Said::check(said)?;
    let message = app.db.post_to_thread(id, &user, &body).await?;
    message.map(|message| (StatusCode::CREATED, Json(message))).ok_or_else(|| none("thread", id))
}

fn room_name(room: Result<Path<String>, PathRejection>) -> Result<Name, Problem> {
    let Path(room) = room.map_err(Problem::malformed)?;
    Name::parse("room", &room).map_err(Problem::malformed)
}

/// The rejection knows best: 400, 413, 415 or 422, and why.
fn unreadable(rejection: JsonRejection) -> Problem {
    Problem::new(rejection.status(), rejection.body_text())
}

fn none(what: &str, id: i64) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {what} {id}"))
}
