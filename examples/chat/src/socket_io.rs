//! `/socket.io/`: Socket.IO, over a WebSocket or long polling, in the same rooms.
//!
//! A client connects with `auth: { name, room }` and sends `message` with a text, or with
//! `{ body }`. It gets the events `welcome`, `message`, `joined`, `left` and `error`, whose data
//! is that of the WebSocket's frames. Who may not come in gets a `connect_error`.

use plimsoll::sockets::socketio;
use serde::Deserialize;
use socketioxide::{
    SocketIo,
    extract::{SocketRef, TryData},
    handler::ConnectHandler as _,
    layer::SocketIoLayer,
};
use tokio::sync::watch;

use crate::{
    app::App,
    conversation::{Entry, Visitor, same_origin},
    db::Membership,
    message::Body,
    room::Speech,
};

/// The path of the requests.
pub(crate) const PATH: &str = "/socket.io";

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Frame { body: String },
}

/// The layer that answers `/socket.io/`, and the handle that closes it.
pub(crate) fn layer(app: &App) -> (SocketIoLayer, SocketIo) {
    let builder = socketio::configured(SocketIo::builder(), app.sockets.limits());
    let (layer, io) = builder.build_layer();
    let app = app.clone();
    let doorman = app.clone();
    let connected = async move |socket: SocketRef| connected(&app, &socket).await;
    let check = async move |socket: SocketRef, TryData(entry): TryData<Entry>| {
        check(&doorman, &socket, entry).await
    };
    io.ns("/", connected.with(check));
    (layer, io)
}

/// What the check hands on to the handler.
#[derive(Clone)]
struct Expected {
    member: Membership,
    /// Tells the socket's events who is talking, once that is known.
    arrived: watch::Sender<Option<Visitor>>,
}

/// Before the namespace is entered: who is it, and may they?
async fn check<E: std::fmt::Display>(
    app: &App,
    socket: &SocketRef,
    entry: Result<Entry, E>,
) -> Result<(), String> {
    if !same_origin(&socket.req_parts().headers) {
        return Err("a page of another site may not connect".to_owned());
    }
    let entry = entry.map_err(|error| format!("expected auth {{name, room}}: {error}"))?;
    let (name, room) = entry.check().map_err(|error| error.to_string())?;
    let member = app.join(name, room).await.map_err(|error| error.to_string())?;
    let (arrived, visitor) = watch::channel(None);
    // A client may talk as soon as it hears that it is connected, which is before the handler
    // runs. What it says waits for the seat in the room, else it would not hear itself.
    socket.on("message", async move |TryData(said): TryData<Said>| {
        hear(visitor.clone(), said).await;
    });
    socket.extensions.insert(Expected { member, arrived });
    Ok(())
}

async fn connected(app: &App, socket: &SocketRef) {
    let Some(expected) = socket.extensions.remove::<Expected>() else { return };
    // Refused for want of room: the socket is disconnected already.
    let Ok(connection) = socketio::track(&app.sockets, socket) else { return };
    let visitor = Visitor::new(app, expected.member, Speech::SocketIo, connection);
    visitor.enter().await;
    expected.arrived.send_replace(Some(visitor));
}

async fn hear<E>(mut arrived: watch::Receiver<Option<Visitor>>, said: Result<Said, E>) {
    let visitor = match arrived.wait_for(Option::is_some).await {
        Ok(visitor) => visitor.clone(),
        // It has ended before it came in.
        Err(_) => return,
    };
    let Some(visitor) = visitor else { return };
    let body = match said {
        Ok(Said::Text(text) | Said::Frame { body: text }) => {
            visitor.note_frame(&text);
            Body::parse(&text).map_err(|error| error.to_string())
        }
        Err(_) => Err("expected a text, or an object with the text as `body`".to_owned()),
    };
    visitor.hear(body).await;
}
