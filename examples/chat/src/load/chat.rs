//! The clients that chat: each says something, waits to hear it, and says the next thing. Those
//! that churn say one thing and vanish without a goodbye.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    Target, pause, retry_pause,
    summary::{Counts, Kind, Outcome},
    talk::{Heard, Protocol, Refusal, Talk},
};
use crate::stop::{Stop, stopped};

/// People in a room: each message goes to all of them, so the work grows with the square.
const ROOM_SIZE: u32 = 10;
/// Time between hearing one's own message and saying the next.
pub(super) const THINK: Duration = Duration::from_millis(100);
/// How long connecting, or hearing one's own message, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody who chats.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// What they speak; those who churn speak them in turn.
    protocols: &'static [Protocol],
    index: u32,
    name: String,
    room: String,
}

impl Person {
    /// One of the chatters of a protocol, by number.
    pub(super) fn new(protocol: Protocol, index: u32) -> Self {
        let name = format!("{}-{index}", protocol.as_str());
        // People of all protocols meet in the same rooms.
        let room = format!("load-{}", index / ROOM_SIZE);
        Self { protocols: protocol.alone(), index, name, room }
    }

    /// One who comes and vanishes, each time by the next of some protocols.
    pub(super) fn churning(protocols: &'static [Protocol], index: u32) -> Self {
        let name = format!("churn-{index}");
        Self { protocols, index, name, room: format!("churn-{}", index / ROOM_SIZE) }
    }

    fn protocol(&self, attempt: u64) -> Protocol {
        let number = usize::try_from(attempt).unwrap_or(0);
        self.protocols[number % self.protocols.len()]
    }

    /// The same person for the client in JavaScript.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "room": self.room,
            "index": self.index,
            "transport": self.protocol(0).transport(),
        })
    }
}

/// Chats until the load ends; comes back whenever the connection breaks.
pub(super) async fn chat(target: Target, person: Person, mut stop: Stop) -> Counts {
    let protocol = person.protocol(0);
    let (connect, message) = match protocol {
        Protocol::WebSocket => (Kind::Connect, Kind::Message),
        Protocol::SocketIo | Protocol::Polling => (Kind::IoConnect, Kind::IoMessage),
    };
    let mut counts = Counts::default();
    let mut attempt = 0;
    while !*stop.borrow() {
        let start = Instant::now();
        attempt += 1;
        let mut retry_after = None;
        match enter(&target, &person, protocol).await {
            Ok(talk) => {
                counts.count(connect, Outcome::Accepted(start.elapsed()));
                converse(talk, &person, message, &mut counts, &mut stop).await;
            }
            Err(refusal) => {
                retry_after = refusal.retry_after();
                counts.count(connect, refusal.outcome());
            }
        }
        if !pause(retry_pause(person.index, attempt, retry_after), &mut stop).await {
            break;
        }
    }
    counts
}

/// Comes, says something, hears it and vanishes without a goodbye, again and again until the
/// load ends.
pub(super) async fn churn(target: Target, person: Person, mut stop: Stop) -> Counts {
    let mut counts = Counts::default();
    for attempt in 0_u64.. {
        if *stop.borrow() {
            break;
        }
        let start = Instant::now();
        let protocol = person.protocol(attempt);
        let mut retry_after = None;
        let outcome = match enter(&target, &person, protocol).await {
            // Dropped at the end of this arm: no close frame, no further poll.
            Ok(mut talk) => match say(&mut talk, &format!("{} was here", person.name)).await {
                Outcome::Accepted(_) => Outcome::Accepted(start.elapsed()),
                other => other,
            },
            Err(refusal) => {
                retry_after = refusal.retry_after();
                refusal.outcome()
            }
        };
        counts.count(Kind::Churn, outcome);
        if !pause(retry_pause(person.index, attempt, retry_after), &mut stop).await {
            break;
        }
    }
    counts
}

async fn enter(target: &Target, person: &Person, protocol: Protocol) -> Result<Talk, Refusal> {
    let entering = Talk::connect(target, protocol, &person.name, &person.room);
    timeout(PATIENCE, entering).await.unwrap_or(Err(Refusal::Broken))
}

/// Talks until the load ends or the connection breaks.
async fn converse(
    mut talk: Talk,
    person: &Person,
    kind: Kind,
    counts: &mut Counts,
    stop: &mut Stop,
) {
    for number in 0_u64.. {
        // Unlike any other message, so that it is recognized when it comes back.
        let outcome = say(&mut talk, &format!("message {number} of {}", person.name)).await;
        counts.count(kind, outcome);
        if outcome == Outcome::Error || !listen(&mut talk, stop).await {
            break;
        }
    }
    // One that is not answered in time does not matter any more.
    let _ = timeout(Duration::from_secs(1), talk.goodbye()).await;
}

/// Says something and waits for it to come back.
async fn say(talk: &mut Talk, body: &str) -> Outcome {
    let start = Instant::now();
    let heard = timeout(PATIENCE, async {
        talk.send(body).await?;
        loop {
            match talk.hear().await? {
                Heard::Message(said) if said == body => return Some(true),
                Heard::Refusal => return Some(false),
                _ => {}
            }
        }
    });
    match heard.await {
        Ok(Some(true)) => Outcome::Accepted(start.elapsed()),
        Ok(Some(false)) => Outcome::Other,
        Ok(None) | Err(_) => Outcome::Error,
    }
}

/// Hears the others for a while; tells whether the conversation goes on.
async fn listen(talk: &mut Talk, stop: &mut Stop) -> bool {
    let thinking = tokio::time::sleep(THINK);
    tokio::pin!(thinking);
    loop {
        tokio::select! {
            () = stopped(stop) => return false,
            () = &mut thinking => return true,
            heard = talk.hear() => if heard.is_none() {
                return false;
            },
        }
    }
}
