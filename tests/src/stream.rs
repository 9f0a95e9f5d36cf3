use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{body::Incoming, http::Method};
use serde_json::Value;

use crate::{Http, within};

/// The event stream of a server, being read.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    unread: String,
}

/// One event of the stream.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    /// Its kind, such as `sample`.
    pub kind: String,
    /// What a client that comes back sends as `Last-Event-ID`.
    pub id: Option<String>,
    /// What happened.
    pub data: Value,
}

impl EventStream {
    /// Begins to listen; with `after`, from that event on.
    ///
    /// # Panics
    /// When the server does not answer with a stream.
    pub async fn open(http: &Http, after: Option<&str>) -> Self {
        let mut request = http.request(Method::GET, "/api/monitoring/stream");
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let answer = http.open(request, "").await.expect("the stream opens");
        assert_eq!(answer.status(), 200);
        let kind = answer.headers()["content-type"].to_str().expect("text");
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { body: answer.into_body(), unread: String::new() }
    }

    /// The next event, whatever its kind.
    ///
    /// # Panics
    /// When the stream ends, or stays silent for `limit`.
    pub async fn next(&mut self, limit: Duration) -> StreamEvent {
        within(limit, "an event of the stream", self.read()).await.expect("the stream goes on")
    }

    /// The next event for which `wanted` is true; others before it are skipped.
    ///
    /// # Panics
    /// When the stream ends, or brings none within `limit`.
    pub async fn find(
        &mut self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&StreamEvent) -> bool,
    ) -> StreamEvent {
        let found = async {
            loop {
                let event = self.read().await.expect("the stream goes on");
                if wanted(&event) {
                    return event;
                }
            }
        };
        within(limit, what, found).await
    }

    /// Reads on until the server ends the stream.
    ///
    /// # Panics
    /// When it does not within `limit`.
    pub async fn ended(&mut self, limit: Duration) {
        let end = async { while self.read().await.is_some() {} };
        within(limit, "the end of the stream", end).await;
    }

    async fn read(&mut self) -> Option<StreamEvent> {
        loop {
            // An event ends with an empty line.
            if let Some(end) = self.unread.find("\n\n") {
                let block: String = self.unread.drain(..end + 2).collect();
                match parse(&block) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = self.body.frame().await?.expect("the stream is not cut");
            if let Ok(bytes) = frame.into_data() {
                self.unread.push_str(str::from_utf8(&bytes).expect("events are sent whole"));
            }
        }
    }
}

/// Reads one block of lines; `None` for one without data, such as a ping.
fn parse(block: &str) -> Option<StreamEvent> {
    let (mut kind, mut id, mut data) = ("message", None, Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value,
            "id" => id = Some(value.to_owned()),
            "data" => data.push(value),
            // A comment or a retry time.
            _ => {}
        }
    }
    if data.is_empty() {
        return None;
    }
    let data = serde_json::from_str(&data.join("\n")).expect("the data of an event is JSON");
    Some(StreamEvent { kind: kind.to_owned(), id, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let event = parse("event: sample\nid: 7\ndata: {\"figure\":1,\ndata: \"shed\":0}\n\n");
        let event = event.unwrap();
        assert_eq!((event.kind.as_str(), event.id.as_deref()), ("sample", Some("7")));
        assert_eq!(event.data["shed"], 0);
        assert!(parse(": ping\n\n").is_none());
    }
}
