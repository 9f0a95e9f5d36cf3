//! `GET /ws`: a plain WebSocket as a connection of the registry.

use axum::{
    extract::{Query, State, WebSocketUpgrade, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use plimsoll::{
    prelude::{ConnectionMeta, Transport},
    sockets::{self, Session},
};

use crate::{
    app::App,
    conversation::{Entry, Visitor, same_origin},
    db::Membership,
    message::{Name, read_frame},
    problem::Problem,
    room::Speech,
};

/// `GET /ws?name=Ada&room=lobby`
pub(crate) async fn upgrade(
    State(app): State<App>,
    entry: Result<Query<Entry>, QueryRejection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let Query(entry) = entry.map_err(Problem::malformed)?;
    // Refused before the upgrade, so that bad input never costs a socket.
    let (name, room) = entry.check().map_err(Problem::malformed)?;
    if !same_origin(&headers) {
        let detail = "a page of another site may not connect";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let meta = ConnectionMeta::new(Transport::WebSocket).peer(name.as_str());
    match enter(&app, &meta, name, room).await? {
        Ok(member) => {
            let registry = app.sockets.clone();
            let converse = |session| converse(app, member, session);
            Ok(sockets::axum::upgrade(&registry, upgrade, meta, converse))
        }
        Err(refused) => Ok(refused),
    }
}

/// Joins the room, if there is room for a connection at all.
async fn enter(
    app: &App,
    meta: &ConnectionMeta,
    name: Name,
    room: Name,
) -> Result<Result<Membership, Response>, Problem> {
    // Kept while the database works, so that nobody joins only to be refused.
    let _place = match app.sockets.admit(meta) {
        Ok(place) => place,
        Err(refused) => return Ok(Err(refused.response().map(axum::body::Body::from))),
    };
    Ok(Ok(app.join(name, room).await?))
}

async fn converse(app: App, member: Membership, mut session: Session) {
    let connection = session.connection().downgrade();
    let visitor = Visitor::new(&app, member, Speech::WebSocket, connection);
    visitor.enter().await;
    while let Some(message) = session.recv().await {
        match message.as_text() {
            Some(text) => {
                visitor.note_frame(text);
                visitor.hear(read_frame(text)).await;
            }
            None => visitor.hear(Err("binary frames are not accepted".to_owned())).await,
        }
    }
}
