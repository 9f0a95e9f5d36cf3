//! The chat itself, without its protection: what all handlers share, and the routes.

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use plimsoll::prelude::{ConnectionRegistry, Journal};
use serde_json::{Value, json};
use socketioxide::layer::SocketIoLayer;

use crate::{api, chaos::Chaos, db::Database, hold, page, problem::Problem, room::Rooms, ws};

/// Entries of each log that are shown.
const SHOWN: usize = 50;

/// What all handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) db: Database,
    pub(crate) sockets: ConnectionRegistry,
    pub(crate) rooms: Rooms,
    pub(crate) journal: Journal,
    pub(crate) chaos: Chaos,
}

impl App {
    pub(crate) fn new(
        db: Database,
        sockets: ConnectionRegistry,
        journal: Journal,
        chaos: Chaos,
    ) -> Self {
        Self { db, rooms: Rooms::new(&sockets), sockets, journal, chaos }
    }

    /// The routes of the chat, Socket.IO's among them.
    pub(crate) fn router(&self, socket_io: SocketIoLayer) -> Router {
        let mut router = Router::new()
            .route("/", get(page::index))
            .route("/assets/chat.js", get(page::script))
            .route("/assets/chat.css", get(page::style))
            .route("/api/journal", get(journal))
            .route("/ws", get(ws::upgrade))
            .merge(api::routes());
        if self.chaos.hold {
            router = router.route(hold::PATH, post(hold::hold));
        }
        router
            .fallback(not_found)
            .layer(socket_io)
            .layer(middleware::from_fn_with_state(self.clone(), leak))
            .with_state(self.clone())
    }
}

/// `GET /api/journal`: what happened lately, newest first.
async fn journal(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "socketEvents": app.sockets.events(SHOWN),
        "errors": app.journal.errors.newest(SHOWN),
        "latencies": app.journal.latencies.snapshot(),
    }))
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here")
}

/// Has the faults see every request.
async fn leak(State(app): State<App>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    app.chaos.request(&head, &app.db).await;
    next.run(Request::from_parts(head, body)).await
}
