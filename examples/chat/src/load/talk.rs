//! A conversation by whichever protocol.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

use super::{
    Target, http,
    socket_io::{self, Packet},
    summary::Outcome,
};

pub(super) type Socket = WebSocketStream<TcpStream>;

/// How a client talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Frames over a plain WebSocket.
    WebSocket,
    /// Socket.IO over a WebSocket.
    SocketIo,
    /// Socket.IO over long polling.
    Polling,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::WebSocket, Self::SocketIo, Self::Polling];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::SocketIo => "io",
            Self::Polling => "poll",
        }
    }

    /// This one and no other.
    pub(super) fn alone(self) -> &'static [Self] {
        match self {
            Self::WebSocket => &[Self::WebSocket],
            Self::SocketIo => &[Self::SocketIo],
            Self::Polling => &[Self::Polling],
        }
    }

    /// What Socket.IO calls it.
    pub(super) fn transport(self) -> &'static str {
        match self {
            Self::WebSocket | Self::SocketIo => "websocket",
            Self::Polling => "polling",
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Shed(Option<Duration>),
    Other,
    Broken,
}

impl Refusal {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Shed(_) => Outcome::Shed,
            Self::Other => Outcome::Other,
            Self::Broken => Outcome::Error,
        }
    }

    pub(super) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Shed(after) => after,
            Self::Other | Self::Broken => None,
        }
    }
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody said this, maybe oneself.
    Message(String),
    /// What was said last was refused.
    Refusal,
    /// Anything else, by its name.
    Other(String),
}

/// An open connection. Dropped it is gone without a goodbye.
#[derive(Debug)]
pub(crate) enum Talk {
    Plain(Box<Socket>),
    Io(socket_io::Client),
}

impl Talk {
    /// Connects and enters a room.
    pub(crate) async fn connect(
        target: &Target,
        protocol: Protocol,
        name: &str,
        room: &str,
    ) -> Result<Self, Refusal> {
        let auth = json!({ "name": name, "room": room });
        match protocol {
            Protocol::WebSocket => {
                let path = format!("/ws?name={name}&room={room}");
                Ok(Self::Plain(Box::new(upgrade(target, &path).await?)))
            }
            Protocol::SocketIo => socket_io::over_websocket(target, &auth).await.map(Self::Io),
            Protocol::Polling => socket_io::by_polling(target, &auth).await.map(Self::Io),
        }
    }

    /// Says something; `None` when the connection broke.
    pub(crate) async fn send(&mut self, body: &str) -> Option<()> {
        match self {
            Self::Plain(socket) => {
                let frame = json!({ "type": "message", "body": body }).to_string();
                socket.send(Message::text(frame)).await.ok()
            }
            Self::Io(client) => client.emit("message", &json!(body)).await,
        }
    }

    /// The next thing heard; `None` when the connection ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn hear(&mut self) -> Option<Heard> {
        let (name, data) = match self {
            Self::Plain(socket) => loop {
                let Message::Text(text) = socket.next().await?.ok()? else { continue };
                let frame: Value = serde_json::from_str(&text).ok()?;
                break (frame["type"].as_str()?.to_owned(), frame);
            },
            Self::Io(client) => match client.next().await? {
                Packet::Event(name, data) => (name, data),
                _ => return None,
            },
        };
        Some(match name.as_str() {
            "message" => Heard::Message(data["body"].as_str()?.to_owned()),
            "error" => Heard::Refusal,
            _ => Heard::Other(name),
        })
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn goodbye(self) {
        match self {
            Self::Plain(mut socket) => close(&mut socket).await,
            Self::Io(client) => client.goodbye().await,
        }
    }
}

/// Reads on until the goodbye is answered: to leave with unread frames resets the connection.
pub(super) async fn close(socket: &mut Socket) {
    if socket.close(None).await.is_err() {
        return;
    }
    while let Some(Ok(_)) = socket.next().await {}
}

/// Opens a WebSocket at a path.
pub(super) async fn upgrade(target: &Target, path: &str) -> Result<Socket, Refusal> {
    let stream = TcpStream::connect(target.authority()).await.map_err(|_| Refusal::Broken)?;
    // As browsers have it: small frames do not wait for each other.
    stream.set_nodelay(true).map_err(|_| Refusal::Broken)?;
    // The library's default is 128 KiB for each socket.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    match client_async_with_config(target.ws(path), stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) if response.status() == 503 => {
            Err(Refusal::Shed(http::retry_after(response.headers())))
        }
        Err(tungstenite::Error::Http(_)) => Err(Refusal::Other),
        Err(_) => Err(Refusal::Broken),
    }
}
