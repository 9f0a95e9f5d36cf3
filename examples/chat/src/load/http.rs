//! The clients that speak plain HTTP: the holders and the probe.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    Target, pause, retry_pause,
    summary::{Counts, Kind, Outcome, Probe},
};
use crate::{
    hold::{self, Touch},
    stop::{Stop, stopped},
};

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// Time between two probes.
const PROBE_PERIOD: Duration = Duration::from_millis(100);
/// A probe without an answer after this time is lost.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than it holds a hold request may take.
const HOLD_SLACK: Duration = Duration::from_secs(10);

/// What a holder asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldLoad {
    pub(super) mb: u64,
    pub(super) duration: Duration,
    pub(super) touch: Touch,
}

/// Tells whether a server is there at all.
pub(super) async fn answers(target: &Target) -> bool {
    send(&client(), Method::GET, &target.http("/livez"), PROBE_TIMEOUT).await.is_some()
}

/// Has memory held again and again until the load ends.
pub(super) async fn hold(target: Target, load: HoldLoad, index: u32, mut stop: Stop) -> Counts {
    let client = client();
    let (mb, ms, touch) = (load.mb, load.duration.as_millis(), load.touch);
    let uri = target.http(&format!("{}?mb={mb}&ms={ms}&touch={touch}", hold::PATH));
    let mut counts = Counts::default();
    let mut attempt = 0;
    while !*stop.borrow() {
        let start = Instant::now();
        let answer = send(&client, Method::POST, &uri, load.duration + HOLD_SLACK).await;
        attempt += 1;
        let (outcome, retry_after) = match answer {
            Some((StatusCode::OK, _)) => (Outcome::Accepted(start.elapsed()), None),
            Some((StatusCode::SERVICE_UNAVAILABLE, headers)) => {
                (Outcome::Shed, retry_after(&headers))
            }
            Some(_) => (Outcome::Other, None),
            None => (Outcome::Error, None),
        };
        counts.count(Kind::Hold, outcome);
        let pace = retry_pause(index, attempt, retry_after);
        if !matches!(outcome, Outcome::Accepted(_)) && !pause(pace, &mut stop).await {
            break;
        }
    }
    counts
}

/// Asks for `/livez` at a steady pace until the load ends, whatever became of earlier probes.
pub(super) async fn probe(target: Target, mut stop: Stop) -> Probe {
    let client = client();
    let uri = target.http("/livez");
    let mut ticks = interval(PROBE_PERIOD);
    // A late tick is made up for: a probe that was never sent would count as neither.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // Bounded by the timeout: no more are on their way than fit into it.
    let mut underway = JoinSet::new();
    let mut probe = Probe::default();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            _ = ticks.tick() => {
                let (client, uri) = (client.clone(), uri.clone());
                underway.spawn(async move { probe_once(&client, &uri).await });
            }
            Some(result) = underway.join_next() => note(&mut probe, result.ok().flatten()),
        }
    }
    while let Some(result) = underway.join_next().await {
        note(&mut probe, result.ok().flatten());
    }
    probe
}

async fn probe_once(client: &HttpClient, uri: &str) -> Option<Duration> {
    let start = Instant::now();
    let (status, _) = send(client, Method::GET, uri, PROBE_TIMEOUT).await?;
    (status == StatusCode::OK).then(|| start.elapsed())
}

fn note(probe: &mut Probe, answered: Option<Duration>) {
    match answered {
        Some(latency) => probe.answered.push(latency),
        None => probe.lost += 1,
    }
}

/// A client of requests with bodies.
pub(super) type PollClient = Client<HttpConnector, Full<Bytes>>;

/// A poll is answered at the server's next ping at the latest.
const POLL_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn poll_client() -> PollClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends a request and reads the answer as text; `None` without a complete one in time.
pub(super) async fn exchange(
    client: &PollClient,
    method: Method,
    uri: &str,
    body: Full<Bytes>,
) -> Option<(StatusCode, HeaderMap, String)> {
    let kind =
        if uri.contains("/socket.io/") { "text/plain;charset=UTF-8" } else { "application/json" };
    let request =
        Request::builder().method(method).uri(uri).header(CONTENT_TYPE, kind).body(body).ok()?;
    let answer = timeout(POLL_LIMIT, async {
        let (head, body) = client.request(request).await.ok()?.into_parts();
        let text = body.collect().await.ok()?.to_bytes();
        Some((head.status, head.headers, String::from_utf8(text.into()).ok()?))
    });
    answer.await.ok().flatten()
}

fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends a request without a body and reads the whole answer, so that the connection can be
/// used again; `None` without a complete answer in time.
async fn send(
    client: &HttpClient,
    method: Method,
    uri: &str,
    limit: Duration,
) -> Option<(StatusCode, HeaderMap)> {
    let request = Request::builder().method(method).uri(uri).body(Empty::new()).ok()?;
    let answer = timeout(limit, async {
        let (head, mut body) = client.request(request).await.ok()?.into_parts();
        while let Some(frame) = body.frame().await {
            frame.ok()?;
        }
        Some((head.status, head.headers))
    });
    answer.await.ok().flatten()
}

/// Reads `Retry-After` in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_or_not_at_all() {
        for (value, expected) in
            [("2", Some(2)), ("0", Some(0)), ("-1", None), ("soon", None), ("", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
