//! The threads that ask the server. Each ends with the process, or when nobody listens any more.

use std::{
    io::ErrorKind,
    sync::{Arc, mpsc::SyncSender},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    event::{Effect, Event, Polled, Trouble},
    sse,
};
use crate::{
    client::{Client, Reply},
    exit::Exit,
    failure::Failure,
    time::{self, Beat},
    wire::{Envelope, Live, Routes},
};

const MEMORY: &str = "/api/monitoring/memory";
const ROUTES: &str = "/api/monitoring/routes";
const STREAM: &str = "/api/monitoring/stream";
const AGGRESSIVE: &str = "/api/cleanup/aggressive";
const AGGRESSIVE_DRY_RUN: &str = "/api/cleanup/aggressive?dryRun=true";
/// What a sample does not tell is asked for this often. Level and figure at the top are of one report,
/// since those of a sample are of two moments: its level is the last, its figure the highest.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// A server that refused a stream is asked again after this.
const STREAM_AGAIN: Duration = Duration::from_secs(3);
/// A stream is opened anew this often, which loses nothing and finds out about one that is dead
/// without having been closed.
const STREAM_LIFE: Duration = Duration::from_secs(60);
/// An action that no server knows: the refusal tells whether a real one would be allowed.
const NO_ACTION: &str = "watch";

/// Starts to listen and to ask.
pub(super) fn start(client: &Arc<Client>, events: &SyncSender<Event>) {
    let (asker, sender) = (Arc::clone(client), events.clone());
    thread::spawn(move || listen(&asker, &sender));
    let (asker, sender) = (Arc::clone(client), events.clone());
    thread::spawn(move || poll(&asker, &sender));
}

/// Does what needs the server, on a thread of its own.
pub(super) fn act(client: &Arc<Client>, events: &SyncSender<Event>, effect: Effect) {
    let (client, events) = (Arc::clone(client), events.clone());
    thread::spawn(move || {
        let event = match effect {
            Effect::Cleanup => {
                Event::Cleaned(read(client.work(MEMORY, &json!({"action": "cleanup"}))))
            }
            Effect::Plan => Event::Planned(read(client.work(AGGRESSIVE_DRY_RUN, &json!({})))),
            Effect::Aggressive => Event::Cleaned(read(client.work(AGGRESSIVE, &json!({})))),
            Effect::Thresholds(thresholds) => {
                let body = json!({"action": "updateThresholds", "thresholds": thresholds});
                Event::Changed(read(client.change(MEMORY, &body)))
            }
            Effect::Quit(exit) => Event::Stop(exit),
        };
        // Nobody listens any more once the screen is gone.
        let _ = events.send(event);
    });
}

fn read<T: serde::de::DeserializeOwned>(reply: Result<Reply, Failure>) -> Result<T, Trouble> {
    let data = reply.and_then(|reply| {
        let envelope: Envelope<T> = reply.read()?;
        envelope.data.ok_or_else(|| reply.foreign())
    });
    data.map_err(|failure| Trouble::from(&failure))
}

/// Reads the stream, again and again.
fn listen(client: &Client, events: &SyncSender<Event>) {
    let mut last = None;
    loop {
        let ended = match client.stream(STREAM, last.as_deref(), STREAM_LIFE) {
            Ok(mut stream) => {
                if events.send(Event::StreamOpened).is_err() {
                    return;
                }
                loop {
                    match sse::next(&mut stream) {
                        Ok(Some(frame)) => {
                            last = frame.id.or(last);
                            // What is no JSON is nothing of ours.
                            let data = serde_json::from_str(&frame.data).unwrap_or(Value::Null);
                            if events.send(Event::Streamed(frame.name, data)).is_err() {
                                return;
                            }
                        }
                        Ok(None) => break Some("the server closed it".to_owned()),
                        Err(error) if is_timeout(&error) => break None,
                        Err(error) => break Some(error.to_string()),
                    }
                }
                .map(|reason| Trouble { reason, help: None, denied: false })
            }
            Err(failure) => Some(Trouble::from(&failure)),
        };
        // A stream that had lived long enough is opened again at once, and nobody needs to know.
        if let Some(trouble) = ended {
            if events.send(Event::StreamEnded(trouble)).is_err() {
                return;
            }
            thread::park_timeout(STREAM_AGAIN);
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
        || error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<ureq::Error>())
            .is_some_and(|error| matches!(error, ureq::Error::Timeout(_)))
}

/// Asks the regular questions; first of all, and of each new server, what we may do.
fn poll(client: &Client, events: &SyncSender<Event>) {
    let mut beat = Beat::start(POLL_EVERY);
    let mut asked = None;
    loop {
        let polled = ask(client);
        if let Ok(polled) = &polled {
            let instance = Some(polled.live.report.instance.clone());
            if asked != instance {
                asked = instance;
                if events.send(Event::Access(may_operate(client))).is_err() {
                    return;
                }
            }
        }
        if events.send(Event::Polled(Box::new(polled))).is_err() {
            return;
        }
        beat.wait();
    }
}

fn ask(client: &Client) -> Result<Polled, Trouble> {
    let trouble = |failure: Failure| Trouble::from(&failure);
    let reply = client.get(MEMORY).map_err(trouble)?;
    let envelope: Envelope<Value> = reply.read().map_err(trouble)?;
    let stamp = time::parse(envelope.timestamp.as_deref());
    let live = envelope.data.and_then(Live::of).ok_or_else(|| trouble(reply.foreign()))?;
    // A server without this route is an older one, and has a report all the same.
    let routes = client.get(ROUTES).and_then(|reply| reply.read::<Routes>()).ok();
    Ok(Polled {
        live,
        server_now: stamp.map(jiff::Timestamp::as_millisecond),
        routes: routes.and_then(|envelope| envelope.data).map(|data| data.routes),
    })
}

fn may_operate(client: &Client) -> Option<bool> {
    match client.change(MEMORY, &json!({"action": NO_ACTION})) {
        Err(failure) if failure.exit() == Exit::NotAllowed => Some(false),
        Err(failure) if failure.exit() == Exit::Refused => Some(true),
        _ => None,
    }
}
