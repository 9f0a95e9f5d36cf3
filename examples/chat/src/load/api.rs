//! The clients of the API: each opens a thread, says something in it, reads it, and the next.

use std::time::Duration;

use http_body_util::Full;
use hyper::{HeaderMap, Method, StatusCode, body::Bytes};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Target, http, pause, retry_pause,
    summary::{Counts, Kind, Outcome},
};
use crate::stop::Stop;

/// Time between two requests.
const THINK: Duration = Duration::from_millis(20);

/// Uses the API until the load ends.
pub(super) async fn browse(target: Target, index: u32, mut stop: Stop) -> Counts {
    let mut browser =
        Browser { client: http::poll_client(), target, index, counts: Counts::default() };
    let mut attempt = 0;
    while !*stop.borrow() {
        attempt += 1;
        let refused = browser.round(attempt).await.err().flatten();
        let rest = refused.map_or(THINK, |after| retry_pause(index, attempt, Some(after)));
        if !pause(rest, &mut stop).await {
            break;
        }
    }
    browser.counts
}

struct Browser {
    client: http::PollClient,
    target: Target,
    index: u32,
    counts: Counts,
}

impl Browser {
    /// A session, a thread, a message in every other one, and a look at the list: so every
    /// other thread stays empty. An error is a request that was not served, with the time after
    /// which the server will hear of it again.
    async fn round(&mut self, number: u64) -> Result<(), Option<Duration>> {
        let user = format!("api-{}", self.index);
        let session = json!({ "user": user, "title": "load" });
        let session = self.ask(Method::POST, "/api/sessions", Some(session)).await?;
        let threads = format!("/api/sessions/{}/threads", session["id"]);
        let thread = json!({ "title": format!("thread {number}") });
        let thread = self.ask(Method::POST, &threads, Some(thread)).await?;
        if number.is_multiple_of(2) {
            let messages = format!("/api/threads/{}/messages", thread["id"]);
            let message = json!({ "user": user, "body": format!("message {number}") });
            self.ask(Method::POST, &messages, Some(message)).await?;
            self.ask(Method::GET, &messages, None).await?;
        }
        self.ask(Method::GET, &threads, None).await.map(drop)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Option<Duration>> {
        let start = Instant::now();
        let body = body.map_or_else(Full::default, |body| Full::new(Bytes::from(body.to_string())));
        let answer = http::exchange(&self.client, method, &self.target.http(path), body).await;
        let (outcome, result) = judge(answer, start);
        self.counts.count(Kind::Api, outcome);
        result
    }
}

type Answer = Option<(StatusCode, HeaderMap, String)>;

fn judge(answer: Answer, start: Instant) -> (Outcome, Result<Value, Option<Duration>>) {
    match answer {
        Some((status, _, text)) if status.is_success() => {
            let body = serde_json::from_str(&text).unwrap_or_default();
            (Outcome::Accepted(start.elapsed()), Ok(body))
        }
        Some((StatusCode::SERVICE_UNAVAILABLE, headers, _)) => {
            (Outcome::Shed, Err(http::retry_after(&headers)))
        }
        Some(_) => (Outcome::Other, Err(None)),
        None => (Outcome::Error, Err(None)),
    }
}
