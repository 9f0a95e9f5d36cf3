//! `/api/monitoring/stream`: what happens, as it happens, as Server-Sent Events.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use plimsoll_core::{CleanupRecord, Event, Heard, Listener, Plimsoll, Report, Sample, rfc3339};
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::{body::Answer, monitoring::Monitoring, problem::Problem, reply::Reply};

/// Streams at a time; each holds a queue of events and a task.
const MOST_STREAMS: usize = 8;
/// Seconds after which a refused client may find a stream free.
const ASK_AGAIN: u64 = 10;
/// A connection that carries nothing for longer is cut by many a proxy.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING: &str = ": ping\n\n";
/// When a client should come back, in milliseconds; the first thing it is told.
const RETRY: &str = "retry: 3000\n";
/// As long as samples are kept.
const WHOLE_RING: Duration = Duration::from_secs(3_600);

/// The streams that are open.
#[derive(Debug, Default)]
pub(crate) struct StreamSlots {
    open: AtomicUsize,
}

/// The place of one stream; dropping it makes room for another.
struct Slot(&'static StreamSlots);

impl StreamSlots {
    fn take(&'static self) -> Option<Slot> {
        let one_more = |open| (open < MOST_STREAMS).then_some(open + 1);
        let taken = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.is_ok().then(|| Slot(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The first event of a stream, and of one that has fallen behind: all that later ones add to.
#[derive(Serialize)]
struct Snapshot<'a> {
    timestamp: String,
    /// What whoever listens may do: `read`, `operate`.
    scopes: &'a [&'static str],
    report: Report,
    /// Oldest first.
    samples: Vec<Sample>,
    /// Newest first.
    cleanups: Vec<CleanupRecord>,
}

type Next = Pin<Box<dyn Future<Output = (Listener, Heard)> + Send>>;

/// The body of a stream. Ends with Plimsoll.
pub(crate) struct EventStream {
    plimsoll: &'static Plimsoll,
    scopes: Vec<&'static str>,
    /// Text to be sent before anything else happens.
    ready: VecDeque<Bytes>,
    /// `None` once ended.
    next: Option<Next>,
    ping: Interval,
    _slot: Slot,
}

/// GET: opens a stream; goes on after the event that `Last-Event-ID` names, if that is still known.
pub(crate) async fn open(monitoring: &'static Monitoring, head: &Parts) -> Reply {
    if head.method == Method::HEAD {
        return Ok(with_headers(Answer::default()));
    }
    let slot = monitoring.streams.take().ok_or_else(|| {
        Problem::unavailable(
            "too-many-streams",
            "Too many streams",
            format!("{MOST_STREAMS} streams are open, and no more are served; close one, or poll the report"),
            ASK_AGAIN,
        )
    })?;
    monitoring.refresh().await;
    let after = last_event(head).and_then(|id| sequence_of(id, &monitoring.plimsoll));
    let scopes = monitoring.scopes(head);
    let stream = EventStream::new(&monitoring.plimsoll, scopes, after, slot);
    Ok(with_headers(Answer::Events(Box::new(stream))))
}

fn with_headers(body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // nginx holds answers back until a buffer is full, unless told not to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn last_event(head: &Parts) -> Option<&str> {
    str::from_utf8(head.headers.get("last-event-id")?.as_bytes()).ok()
}

/// The number in an event's id, if the event was one of this process.
fn sequence_of(id: &str, plimsoll: &Plimsoll) -> Option<u64> {
    let (instance, sequence) = id.rsplit_once('-')?;
    (instance == id_safe(plimsoll.instance())).then(|| sequence.parse().ok())?
}

/// A line break in an id would end it.
fn id_safe(instance: &str) -> String {
    instance.replace(char::is_control, " ")
}

impl EventStream {
    fn new(
        plimsoll: &'static Plimsoll,
        scopes: Vec<&'static str>,
        after: Option<u64>,
        slot: Slot,
    ) -> Self {
        // Before listening: an event in between comes twice rather than never.
        let newest = plimsoll.last_event();
        let (missed, listener) = plimsoll.listen(after);
        let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ready = VecDeque::new();
        match missed {
            Some(missed) => {
                ready.push_back(Bytes::from(format!("{RETRY}\n")));
                ready.extend(missed.iter().map(|event| written(event, plimsoll)));
            }
            None => ready.push_back(snapshot(plimsoll, &scopes, newest)),
        }
        Self { plimsoll, scopes, ready, next: Some(listen(listener)), ping, _slot: slot }
    }

    /// Polls for the next text to send.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(text) = self.ready.pop_front() {
            return Poll::Ready(Some(text));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        if let Poll::Ready((listener, heard)) = next.as_mut().poll(cx) {
            return Poll::Ready(match heard {
                Heard::Event(event) => {
                    self.next = Some(listen(listener));
                    Some(written(&event, self.plimsoll))
                }
                Heard::Missed => Some(self.start_over()),
                _ => {
                    self.next = None;
                    None
                }
            });
        }
        self.ping.poll_tick(cx).map(|_| Some(Bytes::from_static(PING.as_bytes())))
    }

    /// For a client that was too slow: what it has missed is in the snapshot, and so is what still
    /// waits in its queue.
    fn start_over(&mut self) -> Bytes {
        let newest = self.plimsoll.last_event();
        let (_, listener) = self.plimsoll.listen(None);
        self.next = Some(listen(listener));
        snapshot(self.plimsoll, &self.scopes, newest)
    }
}

fn listen(mut listener: Listener) -> Next {
    Box::pin(async move {
        let heard = listener.next().await;
        (listener, heard)
    })
}

fn written(event: &Event, plimsoll: &Plimsoll) -> Bytes {
    frame("", plimsoll, event.sequence, event.kind.as_str(), &event.json)
}

fn snapshot(plimsoll: &Plimsoll, scopes: &[&'static str], newest: u64) -> Bytes {
    let snapshot = Snapshot {
        timestamp: rfc3339(plimsoll.clock().wall()),
        scopes,
        report: plimsoll.report(),
        samples: plimsoll.samples(WHOLE_RING),
        cleanups: plimsoll.cleanups(usize::MAX),
    };
    match serde_json::to_string(&snapshot) {
        Ok(json) => frame(RETRY, plimsoll, newest, "snapshot", &json),
        Err(error) => {
            tracing::error!(%error, "a snapshot of the monitor could not be written as JSON");
            Bytes::from(format!("{RETRY}\n"))
        }
    }
}

/// JSON as serde writes it holds no line break, so one `data` line is all of it.
fn frame(before: &str, plimsoll: &Plimsoll, sequence: u64, event: &str, json: &str) -> Bytes {
    let mut text = String::with_capacity(json.len() + 128);
    let instance = id_safe(plimsoll.instance());
    // Writing to a string cannot fail.
    let _ = write!(text, "{before}id: {instance}-{sequence}\nevent: {event}\ndata: {json}\n\n");
    Bytes::from(text)
}
