use std::time::Duration;

use hyper::http::Method;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::Http;

/// A client that was refused comes back after this time: sooner than it was told to, so that
/// the pressure stays on.
const COMES_BACK: Duration = Duration::from_millis(50);
/// Time between two probes.
const PROBE: Duration = Duration::from_millis(100);
/// A probe without an answer after this time is lost.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Clients that make a server hold memory.
#[derive(Clone, Copy, Debug)]
pub struct HoldLoad {
    /// How many; each asks again when it was answered, so there are never more requests.
    pub clients: u32,
    /// What each request holds, in MB.
    pub mb: u32,
    /// For how long, in milliseconds.
    pub ms: u32,
    /// When it is touched and begins to count: `now`, or `late`, after half the time.
    pub touch: &'static str,
}

/// What the clients got.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    /// Requests that were served.
    pub served: u64,
    /// Requests that were refused with 503.
    pub refused: u64,
    /// Anything else, such as a broken connection.
    pub lost: Vec<String>,
}

/// Puts a load on a server until `end`, or until the server is gone, and waits for the last
/// answers.
///
/// # Panics
/// When a client panics.
pub async fn hold_until(http: &Http, load: HoldLoad, end: Instant) -> Holds {
    let mut clients = JoinSet::new();
    for _ in 0..load.clients {
        clients.spawn(hold_client(http.clone(), load, end));
    }
    let mut all = Holds::default();
    while let Some(one) = clients.join_next().await {
        let one = one.expect("no client panics");
        all.served += one.served;
        all.refused += one.refused;
        all.lost.extend(one.lost);
    }
    all
}

async fn hold_client(http: Http, load: HoldLoad, end: Instant) -> Holds {
    let path = format!("/api/hold?mb={}&ms={}&touch={}", load.mb, load.ms, load.touch);
    let limit = Duration::from_millis(u64::from(load.ms)) + Duration::from_secs(10);
    let mut pace = interval(COMES_BACK);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut got = Holds::default();
    while Instant::now() < end {
        pace.tick().await;
        match http.try_send(http.request(Method::POST, &path), "", limit).await {
            Ok(answer) if answer.status == 200 => got.served += 1,
            Ok(answer) if answer.status == 503 => got.refused += 1,
            Ok(answer) => got.lost.push(format!("{}: {}", answer.status, answer.text())),
            Err(why) => {
                got.lost.push(why);
                // The server is gone or stuck; there is nobody to put a load on.
                break;
            }
        }
    }
    got
}

/// What a probe of `GET /livez` got.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// Probes that were answered with 200 in 2 s.
    pub answered: u64,
    /// The others, with what happened.
    pub lost: Vec<String>,
}

/// Asks `GET /livez` ten times a second until `end`.
pub async fn probe_until(http: &Http, end: Instant) -> Probes {
    let mut pace = interval(PROBE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut got = Probes::default();
    while Instant::now() < end {
        pace.tick().await;
        match http.try_send(http.request(Method::GET, "/livez"), "", PROBE_LIMIT).await {
            Ok(answer) if answer.status == 200 => got.answered += 1,
            Ok(answer) => got.lost.push(format!("{}: {}", answer.status, answer.text())),
            Err(why) => got.lost.push(why),
        }
    }
    got
}
