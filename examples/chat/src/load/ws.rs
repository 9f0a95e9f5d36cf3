//! The clients that chat: each says something, waits to hear it, and says the next thing.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

use super::{
    Target, http, pause, retry_pause,
    summary::{Counts, Kind, Outcome},
};
use crate::stop::{Stop, stopped};

type Socket = WebSocketStream<TcpStream>;

/// People in a room: each message goes to all of them, so the work grows with the square.
const ROOM_SIZE: u32 = 10;
/// Time between hearing one's own message and saying the next.
const THINK: Duration = Duration::from_millis(100);
/// How long connecting, or hearing one's own message, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Chats until the load ends; comes back whenever the connection breaks.
pub(super) async fn chat(target: Target, index: u32, mut stop: Stop) -> Counts {
    let room = index / ROOM_SIZE;
    let uri = target.ws(&format!("/ws?name=load-{index}&room=load-{room}"));
    let mut counts = Counts::default();
    let mut attempt = 0;
    while !*stop.borrow() {
        let start = Instant::now();
        let mut retry_after = None;
        attempt += 1;
        match timeout(PATIENCE, connect(&target, &uri)).await {
            Ok(Ok(socket)) => {
                counts.count(Kind::Connect, Outcome::Accepted(start.elapsed()));
                converse(socket, index, &mut counts, &mut stop).await;
            }
            Ok(Err(Refusal::Shed(after))) => {
                retry_after = after;
                counts.count(Kind::Connect, Outcome::Shed);
            }
            Ok(Err(Refusal::Other)) => counts.count(Kind::Connect, Outcome::Other),
            Ok(Err(Refusal::Broken)) | Err(_) => counts.count(Kind::Connect, Outcome::Error),
        }
        if !pause(retry_pause(index, attempt, retry_after), &mut stop).await {
            break;
        }
    }
    counts
}

/// Why there is no connection.
enum Refusal {
    Shed(Option<Duration>),
    Other,
    Broken,
}

async fn connect(target: &Target, uri: &str) -> Result<Socket, Refusal> {
    let stream = TcpStream::connect(target.authority()).await.map_err(|_| Refusal::Broken)?;
    // As browsers have it: small frames do not wait for each other.
    stream.set_nodelay(true).map_err(|_| Refusal::Broken)?;
    // The library's default is 128 KiB for each socket.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    match client_async_with_config(uri, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) if response.status() == 503 => {
            Err(Refusal::Shed(http::retry_after(response.headers())))
        }
        Err(tungstenite::Error::Http(_)) => Err(Refusal::Other),
        Err(_) => Err(Refusal::Broken),
    }
}

/// Talks until the load ends or the connection breaks.
async fn converse(mut socket: Socket, index: u32, counts: &mut Counts, stop: &mut Stop) {
    for number in 0_u64.. {
        // Unlike any other message, so that it is recognized when it comes back.
        let body = format!("message {number} of load-{index}");
        let start = Instant::now();
        let heard = timeout(PATIENCE, say(&mut socket, &body)).await;
        let outcome = match heard {
            Ok(Some(true)) => Outcome::Accepted(start.elapsed()),
            Ok(Some(false)) => Outcome::Other,
            Ok(None) | Err(_) => Outcome::Error,
        };
        counts.count(Kind::Message, outcome);
        if outcome == Outcome::Error || !listen(&mut socket, stop).await {
            break;
        }
    }
    // Reads on until the goodbye is answered: to leave with unread frames resets the connection.
    let goodbye = async {
        socket.close(None).await?;
        while socket.next().await.transpose()?.is_some() {}
        Ok::<_, tungstenite::Error>(())
    };
    // One that is not answered in time does not matter any more.
    let _ = timeout(Duration::from_secs(1), goodbye).await;
}

/// Says something; tells whether it came back or was refused, `None` when the socket broke.
async fn say(socket: &mut Socket, body: &str) -> Option<bool> {
    let frame = json!({ "type": "message", "body": body }).to_string();
    socket.send(Message::text(frame)).await.ok()?;
    loop {
        let Message::Text(text) = socket.next().await?.ok()? else { continue };
        let frame: Value = serde_json::from_str(&text).ok()?;
        match frame["type"].as_str() {
            Some("message") if frame["body"] == body => return Some(true),
            Some("error") => return Some(false),
            _ => {}
        }
    }
}

/// Hears the others for a while; tells whether the conversation goes on.
async fn listen(socket: &mut Socket, stop: &mut Stop) -> bool {
    let thinking = tokio::time::sleep(THINK);
    tokio::pin!(thinking);
    loop {
        tokio::select! {
            () = stopped(stop) => return false,
            () = &mut thinking => return true,
            frame = socket.next() => if !matches!(frame, Some(Ok(_))) {
                return false;
            },
        }
    }
}
