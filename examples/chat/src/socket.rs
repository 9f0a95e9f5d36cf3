//! One WebSocket: a single task reads it, writes it and ends with it.

use std::time::Duration;

use axum::{
    extract::{
        Query, State, WebSocketUpgrade,
        rejection::QueryRejection,
        ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket, close_code},
    },
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use serde::Deserialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{
    app::App,
    db::{JoinError, Membership},
    message::{Name, ServerFrame, read_frame},
    problem::Problem,
    room::{Broadcast, Seat},
    stop::{Stop, stopped},
};

/// Longest frame from a client: far above the longest message in any encoding of JSON.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Allocated for each socket as long as it lives, so small: the library's default is 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// A welcome with the longest history fits in.
const MAX_WRITE_BUFFER_BYTES: usize = 2 * 1024 * 1024;
/// Time between two pings; a client that is silent for two of them is gone.
const PING: Duration = Duration::from_secs(20);
/// How long a client may take to accept a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The query of an upgrade.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default = "lobby")]
    room: String,
}

fn lobby() -> String {
    "lobby".to_owned()
}

/// `GET /ws?name=Ada&room=lobby`
pub(crate) async fn upgrade(
    State(app): State<App>,
    entry: Result<Query<Entry>, QueryRejection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let Query(entry) = entry.map_err(Problem::malformed)?;
    // Refused before the upgrade, so that bad input never costs a socket.
    let name = Name::parse("name", &entry.name).map_err(Problem::malformed)?;
    let room = Name::parse("room", &entry.room).map_err(Problem::malformed)?;
    if !same_origin(&headers) {
        let detail = "a page of another site may not connect";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let Ok(permit) = app.sockets.clone().try_acquire_owned() else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many people are here"));
    };
    let member = app.db.join(name, room).await.map_err(|error| match error {
        JoinError::TooManyRooms => Problem::new(StatusCode::CONFLICT, error.to_string()),
        JoinError::Database(error) => error.into(),
    })?;
    Ok(upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .on_upgrade(move |socket| run(app, member, socket, permit)))
}

/// Browsers do not hold WebSockets to the same-origin rule, the server has to. Programs
/// send no `Origin`.
fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => origin.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Why a conversation ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client said goodbye or is gone.
    Left,
    /// The client broke the protocol or its connection failed.
    Failed(String),
    /// Nothing was heard from the client for two pings.
    Silent,
    /// The client does not read as fast as its room talks.
    Slow,
    /// The server stops.
    Stopped,
}

impl End {
    fn event(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Failed(_) => "failed",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Stopped => "stopped",
        }
    }

    /// The close frame to send, when there is somebody to read it.
    fn close(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Left | Self::Failed(_) | Self::Silent => return None,
            Self::Slow => (close_code::AGAIN, "too slow"),
            Self::Stopped => (close_code::AWAY, "the server stops"),
        };
        Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })
    }
}

async fn run(app: App, member: Membership, socket: WebSocket, permit: OwnedSemaphorePermit) {
    let name = member.user.to_string();
    app.journal.socket(&name, "connected");
    let seat = app.hub.join(member.room_id);
    seat.say(None, ServerFrame::Joined { name: &member.user }.to_text());
    let stop = app.stop.subscribe();
    let mut conversation =
        Conversation { app: &app, member: &member, seat, socket, stop, shown: 0 };
    let end = match conversation.converse().await {
        Err(end) => end,
        Ok(never) => match never {},
    };
    if let Some(close) = end.close() {
        let goodbye = conversation.socket.send(Frame::Close(Some(close)));
        // A slow client does not read the goodbye either, so it is not waited for long.
        let _ = timeout(Duration::from_millis(500), goodbye).await;
    }
    conversation.seat.say(None, ServerFrame::Left { name: &member.user }.to_text());
    drop(conversation);
    if let End::Failed(error) = &end {
        app.journal.error("socket", format!("{name}: {error}"));
    }
    app.journal.socket(&name, end.event());
    // Last, so that whoever waits for all permits knows that everything is over.
    drop(permit);
}

struct Conversation<'a> {
    app: &'a App,
    member: &'a Membership,
    seat: Seat,
    socket: WebSocket,
    stop: Stop,
    /// Number of the newest message that the welcome showed.
    shown: i64,
}

/// A conversation goes on until it ends, there is no other result.
enum Never {}

impl Conversation<'_> {
    async fn converse(&mut self) -> Result<Never, End> {
        self.welcome().await?;
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_since_ping = true;
        loop {
            tokio::select! {
                // All three are cancel safe; `biased` lets a stop win over a busy room.
                biased;
                () = stopped(&mut self.stop) => return Err(End::Stopped),
                _ = ping.tick() => {
                    if !heard_since_ping {
                        return Err(End::Silent);
                    }
                    heard_since_ping = false;
                    self.send(Frame::Ping(Default::default())).await?;
                    self.seen().await;
                }
                frame = self.socket.recv() => {
                    heard_since_ping = true;
                    self.receive(frame).await?;
                }
                heard = self.seat.hear() => self.deliver(heard.ok_or(End::Slow)?).await?,
            }
        }
    }

    /// Sends the history. The seat was taken before, so nothing is missed in between; what
    /// is in both is left out by its number.
    async fn welcome(&mut self) -> Result<(), End> {
        let messages = match self.app.db.history(&self.member.room).await {
            Ok(messages) => messages,
            Err(error) => return Err(End::Failed(error.to_string())),
        };
        self.shown = messages.last().map_or(0, |message| message.id);
        let (name, room) = (&self.member.user, &self.member.room);
        let frame = ServerFrame::Welcome { name, room, messages: &messages }.to_text();
        self.app.chaos.rendered(&frame);
        self.send(Frame::Text(frame.into())).await
    }

    async fn deliver(&mut self, heard: Broadcast) -> Result<(), End> {
        if heard.id.is_some_and(|id| id <= self.shown) {
            return Ok(());
        }
        self.app.chaos.rendered(&heard.frame);
        self.send(Frame::Text(heard.frame)).await
    }

    async fn receive(&mut self, frame: Option<Result<Frame, axum::Error>>) -> Result<(), End> {
        match frame {
            None | Some(Ok(Frame::Close(_))) => Err(End::Left),
            Some(Err(error)) => Err(End::Failed(error.to_string())),
            Some(Ok(Frame::Text(text))) => self.text(&text).await,
            Some(Ok(Frame::Binary(_))) => self.refuse("binary frames are not accepted").await,
            // The library answers pings itself.
            Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => Ok(()),
        }
    }

    async fn text(&mut self, text: &str) -> Result<(), End> {
        self.app.chaos.frame(self.member.user.as_str(), text);
        let body = match read_frame(text) {
            Ok(body) => body,
            Err(error) => return self.refuse(&error).await,
        };
        match self.app.db.post(self.member, &body).await {
            Ok(message) => {
                self.seat.say(Some(message.id), ServerFrame::Message(&message).to_text());
                Ok(())
            }
            Err(error) => {
                self.app.journal.error("database", error.to_string());
                self.refuse("the message could not be stored, try again").await
            }
        }
    }

    async fn refuse(&mut self, error: &str) -> Result<(), End> {
        self.send(Frame::Text(ServerFrame::Error { error }.to_text().into())).await
    }

    async fn seen(&mut self) {
        if let Err(error) = self.app.db.seen(self.member).await {
            // The next ping tries again.
            self.app.journal.error("database", error.to_string());
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), End> {
        tokio::select! {
            // A client that does not read must not hold up a stop.
            () = stopped(&mut self.stop) => Err(End::Stopped),
            sent = timeout(SEND_TIMEOUT, self.socket.send(frame)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(End::Failed(error.to_string())),
                Err(_) => Err(End::Slow),
            },
        }
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

    #[test]
    fn who_is_dropped_for_no_fault_of_its_own_is_told_so() {
        assert_eq!(End::Stopped.close().unwrap().code, 1001);
        assert_eq!(End::Slow.close().unwrap().code, 1013);
        assert!(End::Left.close().is_none());
    }
}
