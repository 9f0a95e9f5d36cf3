//! From the moment at which memory outside all requests crosses the guard's line to the first
//! request that is refused for it.

use std::{io, net::SocketAddr, thread, time::Duration};

use plimsoll_flood::MB;
use plimsoll_testkit::{GroupUsage, MemoryGroup};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    flood::{IDLE, answers},
    http::{Connection, request},
    options::Plan,
    process::Server,
    programs::Programs,
    variant::Variant,
};

pub(crate) const HEAD: &str = "\
variant                allocator  crossings    before    median       p95       p99     worst   still served";

/// The task grows as fast as a worker fills pages: the clock of its runtime is slower than that.
const GROWTH_MB_PER_S: u64 = 2_000;
/// Past every line of a guard, and so far short of the limit that an allocator's share fits too.
const GROW_TO_PERCENT: u64 = 89;
/// For so long the memory stays, so that one refusal at least has to be seen.
const HOLD: Duration = Duration::from_millis(200);
/// Clients that ask again as soon as they are answered, and for how long they wait in between.
const CLIENTS: usize = 4;
const ASK_AGAIN: Duration = Duration::from_micros(500);
/// Usage is read so often; a reading is under a microsecond.
const LOOK: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The figures of one variant; times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Crossed {
    variant: Variant,
    crossings: usize,
    /// Of them, those at which a request had been refused before usage was at the line.
    before: usize,
    median_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    worst_ms: f64,
    /// Whether the next one ended the server.
    died: bool,
    /// The most requests that were admitted between a crossing and its first refusal.
    most_served: usize,
}

/// One crossing.
#[derive(Clone, Copy, Debug)]
struct Once {
    /// Zero where the refusal came first.
    lag: Duration,
    before: bool,
    served: usize,
}

pub(crate) async fn run(
    plan: &Plan,
    programs: &Programs,
    variant: Variant,
    times: u32,
) -> Result<Crossed, String> {
    let group = MemoryGroup::with_limit(plan.limit_bytes).map_err(|error| error.to_string())?;
    let mut server = Server::start(plan, programs, variant, &group, &[])?;
    answers(&server).await;
    sleep(IDLE).await;
    let line = variant.guard.line_bytes(plan.limit_bytes);
    let told = |error: io::Error| error.to_string();
    let mut all = Vec::new();
    for _ in 0..times {
        let usage = group.usage().map_err(told)?;
        match once(server.address, usage, line, plan.limit_bytes).await {
            Ok(once) => all.push(once),
            // Its clients may hear of it before its parent does.
            Err(why) => {
                sleep(HOLD).await;
                match server.ended().map_err(told)? {
                    Some(_) => break,
                    None => return Err(why),
                }
            }
        }
    }
    Ok(Crossed::of(variant, &all, all.len() < usize::try_from(times).unwrap_or(usize::MAX)))
}

/// Grows past the line while clients ask, and waits until all is as before.
async fn once(
    address: SocketAddr,
    usage: GroupUsage,
    line: u64,
    limit_bytes: u64,
) -> Result<Once, String> {
    let (stop, stopped) = watch::channel(false);
    let clients = (0..CLIENTS).map(|_| tokio::spawn(ask(address, stopped.clone())));
    let clients: Vec<_> = clients.collect();
    let crossing = thread::spawn(move || crossing(&usage, line));
    let cap_mb = limit_bytes / 100 * GROW_TO_PERCENT / MB;
    let hold = HOLD.as_millis();
    let grow =
        format!("/background?mb_per_s={GROWTH_MB_PER_S}&seconds=1&cap_mb={cap_mb}&hold_ms={hold}");
    let grown = async {
        let mut connection = Connection::open(address).await?;
        connection.exchange(&request("POST", &grow)).await
    };
    let begun = grown.await.map_err(|error| error.to_string())?;
    if begun.status != 202 {
        return Err(format!("the growth was answered with {}", begun.status));
    }
    // The task goes on for its second, and for as long as it holds.
    sleep(Duration::from_secs(1) + HOLD).await;
    let _ = stop.send(true);
    let mut answers = Vec::new();
    for client in clients {
        let seen = timeout(LONGEST, client).await.map_err(|_| "a client hangs")?;
        answers
            .extend(seen.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?);
    }
    let crossed = crossing.join().map_err(|_| "the look at usage panicked")?;
    let crossed = crossed.ok_or("usage never came to the line")?;
    recovered(address).await?;
    let refused = answers.iter().filter(|(_, status)| *status == 503).map(|(at, _)| *at).min();
    let refused = refused.ok_or("nobody was refused")?;
    let between = |at: Instant| at >= crossed && at < refused;
    Ok(Once {
        lag: refused.saturating_duration_since(crossed),
        before: refused < crossed,
        served: answers.iter().filter(|(at, status)| *status == 200 && between(*at)).count(),
    })
}

/// Asks for next to nothing, again and again; when each answer was there, and its status.
async fn ask(
    address: SocketAddr,
    stopped: watch::Receiver<bool>,
) -> io::Result<Vec<(Instant, u16)>> {
    let mut connection = Connection::open(address).await?;
    let mut answers = Vec::new();
    while !*stopped.borrow() {
        let answer = connection.exchange(&request("POST", "/upload")).await?;
        answers.push((Instant::now(), answer.status));
        if !answer.keeps {
            connection = Connection::open(address).await?;
        }
        sleep(ASK_AGAIN).await;
    }
    Ok(answers)
}

/// Waits for usage to be at the line; when it was.
fn crossing(usage: &GroupUsage, line: u64) -> Option<Instant> {
    let begin = Instant::now();
    while begin.elapsed() < LONGEST {
        if usage.bytes()? >= line {
            return Some(Instant::now());
        }
        thread::park_timeout(LOOK);
    }
    None
}

/// Waits until requests are served as before.
async fn recovered(address: SocketAddr) -> Result<(), String> {
    let served = async {
        let mut connection = Connection::open(address).await?;
        loop {
            let answer = connection.exchange(&request("POST", "/upload")).await?;
            if answer.status == 200 {
                return Ok::<_, io::Error>(());
            }
            if !answer.keeps {
                connection = Connection::open(address).await?;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let served = timeout(LONGEST, served).await.map_err(|_| "requests stay refused")?;
    served.map_err(|error| error.to_string())?;
    // The next one begins with a sampler at rest, which is the worst case.
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

impl Crossed {
    fn of(variant: Variant, all: &[Once], died: bool) -> Self {
        let mut lags: Vec<f64> = all.iter().map(|once| once.lag.as_secs_f64() * 1e3).collect();
        lags.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (lags.len() * percent).div_ceil(100).max(1);
            lags.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self {
            variant,
            crossings: all.len(),
            before: all.iter().filter(|once| once.before).count(),
            median_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
            worst_ms: at(100),
            died,
            most_served: all.iter().map(|once| once.served).max().unwrap_or(0),
        }
    }
}

pub(crate) fn row(crossed: &Crossed) -> String {
    let Crossed { variant, crossings, before, .. } = crossed;
    let ms = |value: f64| format!("{value:.1} ms");
    format!(
        "{:<23}{:<10}{crossings:>10}{before:>10}{:>10}{:>10}{:>10}{:>10}{:>15}{}",
        variant.guard,
        variant.allocator,
        ms(crossed.median_ms),
        ms(crossed.p95_ms),
        ms(crossed.p99_ms),
        ms(crossed.worst_ms),
        crossed.most_served,
        if crossed.died { "  died of the next" } else { "" },
    )
}
