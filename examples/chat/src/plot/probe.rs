//! The probe: a mix of requests at a steady pace, with how long each took.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header::CONTENT_TYPE};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    load::Target,
    stop::{Stop, stopped},
};

/// Time between two requests.
const PERIOD: Duration = Duration::from_millis(20);
/// An answer that takes longer does not count as one.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is asked for, in turn: a page, two reads of the database and a write that everybody in
/// the room hears.
const MIX: [(Method, &str, &str); 4] = [
    (Method::GET, "/", ""),
    (Method::GET, "/api/rooms", ""),
    (Method::GET, "/api/rooms/probe/messages", ""),
    (Method::POST, "/api/rooms/probe/messages", r#"{"user":"probe","body":"are you there?"}"#),
];

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A request of the probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probed {
    /// When it was sent, from the start of the run.
    pub(super) at: Duration,
    pub(super) got: Got,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// It was admitted and answered, after this time.
    Admitted(Duration),
    /// It was refused with 503.
    Shed,
    /// There was no such answer.
    Lost,
}

/// Asks until it is told to stop, whatever became of earlier requests.
pub(super) async fn probe(target: Target, start: Instant, mut stop: Stop) -> Vec<Probed> {
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let mut ticks = interval(PERIOD);
    // A late tick is made up for, else a server that stalls would be asked less.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // Bounded by the patience: no more are on their way than fit into it.
    let mut underway = JoinSet::new();
    let mut probed = Vec::new();
    for (method, path, body) in MIX.into_iter().cycle() {
        tokio::select! {
            () = stopped(&mut stop) => break,
            _ = ticks.tick() => {}
        }
        let (client, uri) = (client.clone(), target.http(path));
        underway.spawn(async move {
            let at = start.elapsed();
            Probed { at, got: ask(&client, method, uri, body).await }
        });
        while let Some(result) = underway.try_join_next() {
            probed.extend(result);
        }
    }
    while let Some(result) = underway.join_next().await {
        probed.extend(result);
    }
    probed.sort_by_key(|probed| probed.at);
    probed
}

async fn ask(client: &HttpClient, method: Method, uri: String, body: &'static str) -> Got {
    let start = Instant::now();
    let answer = timeout(PATIENCE, async {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .ok()?;
        let (head, body) = client.request(request).await.ok()?.into_parts();
        body.collect().await.ok()?;
        Some(head.status)
    });
    match answer.await {
        Ok(Some(status)) if status.is_success() => Got::Admitted(start.elapsed()),
        Ok(Some(StatusCode::SERVICE_UNAVAILABLE)) => Got::Shed,
        _ => Got::Lost,
    }
}
