//! The chat itself, without its protection: what all handlers share, and the routes.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{MatchedPath, Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    chaos::Chaos,
    db::Database,
    hold,
    journal::Journal,
    message::{Message, Name},
    page,
    problem::Problem,
    room::Hub,
    socket,
};

/// WebSockets that can be open at the same time.
pub(crate) const MAX_SOCKETS: u32 = 1024;

/// What all handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) db: Database,
    pub(crate) hub: Hub,
    pub(crate) journal: Journal,
    pub(crate) chaos: Chaos,
    /// A permit for each open socket.
    pub(crate) sockets: Arc<Semaphore>,
    /// Becomes true when the server stops.
    pub(crate) stop: watch::Sender<bool>,
}

impl App {
    pub(crate) fn new(db: Database, journal: Journal, chaos: Chaos) -> Self {
        Self {
            db,
            hub: Hub::default(),
            journal,
            chaos,
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS as usize)),
            stop: watch::Sender::new(false),
        }
    }

    /// Says goodbye to all sockets and waits until the last is gone.
    pub(crate) async fn close_sockets(&self) {
        self.stop.send_replace(true);
        // All permits together can be had only when no socket holds one any more.
        let _ = self.sockets.acquire_many(MAX_SOCKETS).await;
    }

    /// The routes of the chat.
    pub(crate) fn router(&self) -> Router {
        let mut router = Router::new()
            .route("/", get(page::index))
            .route("/assets/chat.js", get(page::script))
            .route("/assets/chat.css", get(page::style))
            .route("/api/rooms", get(rooms))
            .route("/api/rooms/{room}/messages", get(messages))
            .route("/api/journal", get(journal))
            .route("/ws", get(socket::upgrade));
        if self.chaos.hold {
            router = router.route(hold::PATH, post(hold::hold));
        }
        router
            .fallback(not_found)
            .layer(middleware::from_fn_with_state(self.clone(), observe))
            .with_state(self.clone())
    }
}

/// `GET /api/rooms`
async fn rooms(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let rooms: Vec<_> = (app.db.rooms().await?.into_iter())
        .map(|room| json!({ "name": room.name, "present": app.hub.present(room.id) }))
        .collect();
    Ok(Json(json!({ "rooms": rooms })))
}

/// `GET /api/rooms/{room}/messages`
async fn messages(
    State(app): State<App>,
    room: Result<Path<String>, PathRejection>,
) -> Result<Json<Vec<Message>>, Problem> {
    let Path(room) = room.map_err(Problem::malformed)?;
    let room = Name::parse("room", &room).map_err(Problem::malformed)?;
    let messages = app.db.history(&room).await?;
    for message in &messages {
        app.chaos.rendered(&message.body);
    }
    Ok(Json(messages))
}

/// `GET /api/journal`: what happened lately.
async fn journal(State(app): State<App>) -> Json<Value> {
    Json(app.journal.newest())
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here")
}

/// Notes the latency of every request and every answer that is a failure of ours.
async fn observe(
    State(app): State<App>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let (head, body) = request.into_parts();
    app.chaos.request(&head);
    let response = next.run(Request::from_parts(head, body)).await;
    // The template and not the path: there are as many paths as clients like.
    let route = path.as_ref().map_or("<unmatched>", MatchedPath::as_str);
    app.journal.latency(route, start.elapsed());
    if response.status().is_server_error() {
        app.journal.error("http", format!("{route}: {}", response.status()));
    }
    response
}
