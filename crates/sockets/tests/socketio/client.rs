//! A client of the protocol, as little as the tests need.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message as Frame,
};

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn patient<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    patient(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// One request on a connection of its own: status, head and body.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    query: &str,
    user: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!(
        "{method} /socket.io/?EIO=4&{query} HTTP/1.1\r\nhost: x\r\nx-user: {user}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    patient(stream.read_to_string(&mut answer)).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

/// Between two packets of one answer.
const SEPARATOR: char = '\u{1e}';

/// Whether an answer holds a ping, be it beside other packets.
pub(crate) fn has_ping(body: &str) -> bool {
    body.split(SEPARATOR).any(|packet| packet.trim() == "2")
}

/// A session over long polling.
pub(crate) struct Polling {
    address: SocketAddr,
    query: String,
}

impl Polling {
    /// The handshake alone; no namespace is joined.
    pub(crate) async fn handshake(address: SocketAddr, user: &str) -> Result<Self, u16> {
        let (status, _, body) = request(address, "GET", "transport=polling", user, "").await;
        if status != 200 {
            return Err(status);
        }
        let json = body.find('{').map(|at| &body[at..=body.rfind('}').expect("closed")]);
        let open: serde_json::Value = serde_json::from_str(json.expect("json")).expect("json");
        let query = format!("transport=polling&sid={}", open["sid"].as_str().expect("a sid"));
        Ok(Self { address, query })
    }

    pub(crate) async fn connect(address: SocketAddr, user: &str) -> Result<Self, u16> {
        let session = Self::handshake(address, user).await?;
        session.send("40").await;
        assert!(session.poll().await.contains("40{"), "joined");
        Ok(session)
    }

    pub(crate) async fn send(&self, packet: &str) {
        let (status, ..) = request(self.address, "POST", &self.query, "", packet).await;
        assert_eq!(status, 200);
    }

    pub(crate) async fn try_poll(&self) -> (u16, String) {
        let (status, _, body) = request(self.address, "GET", &self.query, "", "").await;
        (status, body)
    }

    /// Polls until a message comes; pings are answered.
    pub(crate) async fn poll(&self) -> String {
        loop {
            let (status, body) = self.try_poll().await;
            assert_eq!(status, 200, "{body}");
            if has_ping(&body) {
                self.send("3").await;
            }
            if body.split(SEPARATOR).any(|packet| packet.starts_with('4')) {
                return body;
            }
        }
    }

    pub(crate) fn sid(&self) -> &str {
        self.query.rsplit('=').next().expect("a sid")
    }
}

/// A session over a WebSocket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(address: SocketAddr, more: &str) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{more}");
        Self(connect_async(url).await.expect("it is let in").0)
    }

    pub(crate) async fn connect(address: SocketAddr, namespace: &str) -> Self {
        let mut socket = Self::open(address, "").await;
        assert!(socket.next().await.starts_with("0{"));
        socket.send(&format!("40{namespace}")).await;
        assert!(socket.next().await.starts_with("40"));
        socket
    }

    pub(crate) async fn send(&mut self, packet: &str) {
        self.0.send(packet.into()).await.expect("it reads");
    }

    /// Answers pings until the condition holds.
    pub(crate) async fn stays_until(&mut self, condition: impl Fn() -> bool) {
        tokio::select! {
            () = until(condition) => {}
            packet = self.next() => panic!("unexpected: {packet}"),
        }
    }

    /// The next packet that is no ping; the empty text at the end.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            match patient(self.0.next()).await {
                Some(Ok(Frame::Text(text))) if text.as_str() == "2" => self.send("3").await,
                Some(Ok(Frame::Text(text))) => return text.to_string(),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return String::new(),
                Some(Ok(_)) => {}
            }
        }
    }
}
