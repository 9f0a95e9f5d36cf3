//! A small client of Socket.IO: protocol 5 over Engine.IO 4, text only, one namespace, no change
//! of transport. That is what a load needs; programs take a library.

use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use http_body_util::Full;
use hyper::{Method, StatusCode, body::Bytes};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::AbortHandle};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Target, http,
    talk::{self, Refusal, Socket},
};

const PATH: &str = "/socket.io/?EIO=4&transport=";
/// Between the packets of a poll.
const SEPARATOR: char = '\u{1e}';
/// Packets that wait to be looked at; a client that looks at none reads no more either.
const WAITING: usize = 64;

/// A packet from the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    /// The session is open; its id.
    Open(String),
    /// The server wants to know whether the client is there.
    Ping,
    /// The namespace was entered.
    Connected,
    /// It was not.
    Refused,
    /// An event with its first datum.
    Event(String, Value),
    /// The server has closed the namespace or the session.
    Closed,
    /// Anything else.
    Other,
}

impl Packet {
    /// Reads a packet: a digit of Engine.IO, for messages one of Socket.IO, and JSON.
    pub(crate) fn parse(text: &str) -> Self {
        let Some((kind, rest)) = text.split_at_checked(1) else { return Self::Other };
        match (kind, rest.split_at_checked(1)) {
            ("0", _) => {
                let open: Value = serde_json::from_str(rest).unwrap_or_default();
                open["sid"].as_str().map_or(Self::Other, |sid| Self::Open(sid.to_owned()))
            }
            ("1", _) | ("4", Some(("1", _))) => Self::Closed,
            ("2", _) => Self::Ping,
            ("4", Some(("0", _))) => Self::Connected,
            ("4", Some(("4", _))) => Self::Refused,
            ("4", Some(("2", event))) => match serde_json::from_str::<Vec<Value>>(event) {
                Ok(mut event) if event.first().is_some_and(Value::is_string) => {
                    let data = event.get_mut(1).map(Value::take).unwrap_or_default();
                    Self::Event(event[0].as_str().unwrap_or_default().to_owned(), data)
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// A connection to the namespace `/`. Dropped it is gone without a goodbye.
#[derive(Debug)]
pub(crate) struct Client {
    packets: mpsc::Receiver<Packet>,
    out: Out,
    // It reads in a task: a read that is given up in the middle would lose packets.
    reader: AbortHandle,
}

#[derive(Debug)]
enum Out {
    WebSocket(mpsc::Sender<String>),
    Polling(Box<Session>),
}

impl Client {
    /// Emits an event; `None` when the connection broke.
    pub(crate) async fn emit(&mut self, event: &str, data: &Value) -> Option<()> {
        self.send(format!("42{}", json!([event, data]))).await
    }

    /// The next event, or how it ended; `None` when the connection broke.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        self.packets.recv().await
    }

    /// Leaves the namespace and closes the session.
    pub(crate) async fn goodbye(mut self) {
        if self.send("41".to_owned()).await.is_some() && self.send("1".to_owned()).await.is_some() {
            while self.next().await.is_some() {}
        }
    }

    async fn send(&mut self, packet: String) -> Option<()> {
        match &self.out {
            Out::WebSocket(frames) => frames.send(packet).await.ok(),
            Out::Polling(session) => session.post(packet).await,
        }
    }

    async fn enter(mut self, auth: &Value) -> Result<Self, Refusal> {
        self.send(format!("40{auth}")).await.ok_or(Refusal::Broken)?;
        match self.next().await {
            Some(Packet::Connected) => Ok(self),
            Some(_) => Err(Refusal::Other),
            None => Err(Refusal::Broken),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Connects over a WebSocket.
pub(crate) async fn over_websocket(target: &Target, auth: &Value) -> Result<Client, Refusal> {
    let socket = talk::upgrade(target, &format!("{PATH}websocket")).await?;
    let (seen, packets) = mpsc::channel(WAITING);
    let (frames, to_send) = mpsc::channel(WAITING);
    let reader = tokio::spawn(converse(socket, seen, to_send)).abort_handle();
    Client { packets, out: Out::WebSocket(frames), reader }.enter(auth).await
}

/// Reads and writes one socket until it ends.
async fn converse(
    socket: Socket,
    seen: mpsc::Sender<Packet>,
    mut to_send: mpsc::Receiver<String>,
) -> Option<()> {
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            frame = to_send.recv() => sink.send(Message::text(frame?)).await.ok()?,
            frame = stream.next() => {
                if let Message::Text(text) = frame?.ok()? {
                    receive(&text, &seen, &mut sink).await?;
                }
            }
        }
    }
}

async fn receive(
    text: &str,
    seen: &mpsc::Sender<Packet>,
    sink: &mut SplitSink<Socket, Message>,
) -> Option<()> {
    match Packet::parse(text) {
        Packet::Ping => sink.send(Message::text("3")).await.ok(),
        Packet::Open(_) | Packet::Other => Some(()),
        packet => seen.send(packet).await.ok(),
    }
}

/// A polling session.
#[derive(Clone, Debug)]
struct Session {
    client: http::PollClient,
    uri: String,
}

impl Session {
    async fn post(&self, packet: String) -> Option<()> {
        let body = Full::new(Bytes::from(packet));
        let (status, ..) = http::exchange(&self.client, Method::POST, &self.uri, body).await?;
        (status == StatusCode::OK).then_some(())
    }
}

/// Connects by long polling.
pub(crate) async fn by_polling(target: &Target, auth: &Value) -> Result<Client, Refusal> {
    let client = http::poll_client();
    let uri = target.http(&format!("{PATH}polling"));
    let answer = http::exchange(&client, Method::GET, &uri, Full::default()).await;
    let text = match answer.ok_or(Refusal::Broken)? {
        (StatusCode::OK, _, text) => text,
        (StatusCode::SERVICE_UNAVAILABLE, headers, _) => {
            return Err(Refusal::Shed(http::retry_after(&headers)));
        }
        _ => return Err(Refusal::Other),
    };
    let Packet::Open(sid) = Packet::parse(&text) else { return Err(Refusal::Other) };
    let session = Session { client, uri: format!("{uri}&sid={sid}") };
    let (seen, packets) = mpsc::channel(WAITING);
    let reader = tokio::spawn(poll(session.clone(), seen)).abort_handle();
    Client { packets, out: Out::Polling(Box::new(session)), reader }.enter(auth).await
}

/// Polls until the session ends.
async fn poll(session: Session, seen: mpsc::Sender<Packet>) -> Option<()> {
    loop {
        let answer =
            http::exchange(&session.client, Method::GET, &session.uri, Full::default()).await?;
        let (StatusCode::OK, _, text) = answer else { return None };
        for packet in text.split(SEPARATOR) {
            match Packet::parse(packet) {
                Packet::Ping => session.post("3".to_owned()).await?,
                Packet::Open(_) | Packet::Other => {}
                packet => seen.send(packet).await.ok()?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart_and_garbage_is_none() {
        for (text, packet) in [
            (r#"0{"sid":"abc","upgrades":[]}"#, Packet::Open("abc".into())),
            ("0", Packet::Other),
            ("1", Packet::Closed),
            ("2", Packet::Ping),
            (r#"40{"sid":"x"}"#, Packet::Connected),
            ("41", Packet::Closed),
            (r#"44{"message":"no"}"#, Packet::Refused),
            (r#"42["say",{"a":1}]"#, Packet::Event("say".into(), json!({ "a": 1 }))),
            (r#"42["bare"]"#, Packet::Event("bare".into(), Value::Null)),
            ("42[]", Packet::Other),
            ("42{", Packet::Other),
            ("", Packet::Other),
            ("4", Packet::Other),
            ("ä", Packet::Other),
        ] {
            assert_eq!(Packet::parse(text), packet, "{text}");
        }
    }
}
