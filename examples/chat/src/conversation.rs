//! What happens on a connection, whichever protocol it speaks: somebody comes into a room, says
//! things, hears things, and leaves.

use std::{borrow::Cow, time::Duration};

use axum::http::{HeaderMap, Uri, header};
use plimsoll::{prelude::WeakConnection, sockets::CloseCause};
use serde::Deserialize;

use crate::{
    app::App,
    db::{JoinError, Membership},
    message::{Body, InvalidText, Message, Name, ServerFrame},
    room::Speech,
};

/// Time between two notes that somebody is still there: far below the age at which a retention
/// rule takes a participant for gone.
const STILL_THERE: Duration = Duration::from_secs(60);
/// WebSocket close code: the server failed.
const FAILED: u16 = 1011;

/// Who wants to come in and where to: the query of a WebSocket, the `auth` of Socket.IO.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default = "lobby")]
    room: String,
}

fn lobby() -> String {
    "lobby".to_owned()
}

impl Entry {
    /// The name and the room, checked.
    pub(crate) fn check(&self) -> Result<(Name, Name), InvalidText> {
        Ok((Name::parse("name", &self.name)?, Name::parse("room", &self.room)?))
    }
}

/// Browsers do not hold WebSockets to the same-origin rule, the server has to. Programs send no
/// `Origin`.
pub(crate) fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => origin.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// A person on a connection. Cheap to clone; it keeps the connection by no means.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    app: App,
    member: Membership,
    speech: Speech,
    connection: WeakConnection,
}

impl Visitor {
    pub(crate) fn new(
        app: &App,
        member: Membership,
        speech: Speech,
        connection: WeakConnection,
    ) -> Self {
        Self { app: app.clone(), member, speech, connection }
    }

    /// Shows what was said, takes a seat and tells the others. All that comes of it belongs to
    /// the connection and ends with it.
    pub(crate) async fn enter(&self) {
        self.enter_seen_every(STILL_THERE).await;
    }

    /// The same with another time between two notes that the person is still there.
    pub(crate) async fn enter_seen_every(&self, period: Duration) {
        let Self { app, member, .. } = self;
        app.chaos.connected(&self.connection);
        let order = app.rooms.order(member.room_id).await;
        let messages = match app.db.history(&member.room).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(%error, "the history could not be read");
                let reason = Cow::Borrowed("the history could not be read, try again");
                self.connection.close(CloseCause::Closed { code: FAILED, reason });
                return;
            }
        };
        let (name, room) = (&member.user, &member.room);
        self.tell(&ServerFrame::Welcome { name, room, messages: &messages });
        for message in &messages {
            app.chaos.rendered(&message.body);
        }
        if self.connection.join(&self.speech.room(member.room_id)).is_err() {
            // Gone before it was there.
            return;
        }
        app.rooms.say(member.room_id, &ServerFrame::Joined { name });
        drop(order);
        let visitor = self.clone();
        let farewell = self.connection.on_disconnect("farewell", async move || visitor.left());
        if farewell.is_err() {
            self.left();
        }
        // An error is a connection that has ended meanwhile.
        let _ = self.connection.spawn_while_open("presence", self.clone().stay(period));
    }

    /// Hears what the person says; `Err` is told to that person alone.
    pub(crate) async fn hear(&self, said: Result<Body, String>) {
        self.connection.touch();
        let refusal = match said {
            Ok(body) => match self.app.say(&self.member, &body).await {
                Ok(_) => return,
                Err(_) => "the message could not be stored, try again".to_owned(),
            },
            Err(refusal) => refusal,
        };
        self.tell(&ServerFrame::Error { error: &refusal });
    }

    /// Notes a frame for the fault that keeps them all.
    pub(crate) fn note_frame(&self, text: &str) {
        self.app.chaos.frame(&self.connection, self.member.user.as_str(), text);
    }

    fn tell(&self, frame: &ServerFrame<'_>) {
        // An error is a connection that is closing.
        let _ = self.connection.send(self.speech.encode(frame));
    }

    fn left(&self) {
        self.app.rooms.say(self.member.room_id, &ServerFrame::Left { name: &self.member.user });
    }

    async fn stay(self, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            if let Err(error) = self.app.db.seen(&self.member).await {
                // The next time tries again.
                tracing::error!(%error, "a participant could not be refreshed");
            }
        }
    }
}

impl App {
    /// Lets somebody into a room.
    pub(crate) async fn join(&self, name: Name, room: Name) -> Result<Membership, JoinError> {
        self.db.join(name, room).await.inspect_err(|error| {
            if let JoinError::Database(error) = error {
                tracing::error!(%error, "nobody can come in");
            }
        })
    }

    /// Stores what somebody says in a room, and tells everybody in it.
    pub(crate) async fn say(&self, member: &Membership, body: &Body) -> sqlx::Result<Message> {
        let _order = self.rooms.order(member.room_id).await;
        let message = self.db.post(member, body).await.inspect_err(|error| {
            tracing::error!(%error, "a message could not be stored");
        })?;
        self.rooms.say(member.room_id, &ServerFrame::Message(&message));
        self.chaos.rendered(&message.body);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:3000".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_our_own_page_and_programs_may_connect() {
        for (origin, good) in [
            (None, true),
            (Some("http://127.0.0.1:3000"), true),
            (Some("https://127.0.0.1:3000"), true),
            (Some("http://127.0.0.1:3001"), false),
            (Some("http://evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(same_origin(&headers(origin)), good, "{origin:?}");
        }
    }
}
