//! One flood of one server.

use std::{
    fmt::Write as _,
    io,
    net::TcpStream,
    path::Path,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use plimsoll_testkit::MemoryGroup;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    client::Client,
    http::{Connection, request},
    options::Plan,
    outcome::{Outcome, Raw, Verdict},
    process::Server,
    profile::Profile,
    programs::Programs,
    sampler::{Sample, Sampler},
    variant::Variant,
};

/// The server comes to rest before anything is measured.
pub(crate) const IDLE: Duration = Duration::from_millis(1_200);
/// Threads get going before the first request is due.
pub(crate) const LEAD: Duration = Duration::from_millis(50);
const WATCH: Duration = Duration::from_millis(5);
/// A server that does not answer for so long after a flood hangs.
const RECOVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    plan: &Plan,
    programs: &Programs,
    profile: Profile,
    variant: Variant,
    run: u32,
) -> Result<Outcome, String> {
    let raw = flood(plan, programs, profile, variant).await?;
    Ok(Outcome::of(plan, profile, variant, run, &raw))
}

/// All that was seen of one flood.
pub(crate) async fn flood(
    plan: &Plan,
    programs: &Programs,
    profile: Profile,
    variant: Variant,
) -> Result<Raw, String> {
    let told = |error: io::Error| error.to_string();
    let group = MemoryGroup::with_limit(plan.limit_bytes).map_err(|error| error.to_string())?;
    // After the group, so that it is ended first.
    let mut server = Server::start(plan, programs, variant, &group, &[])?;
    // The first request maps what every later one needs.
    answers(&server).await;
    // Ahead of the flood: a listener that is met by a hundred at once lets some wait for a second,
    // which would be told as the guard's doing.
    let open = (0..profile.connections()).map(|_| TcpStream::connect(server.address));
    let open = open.collect::<io::Result<Vec<_>>>().map_err(told)?;
    sleep(IDLE).await;
    let idle_bytes = group.working_set_bytes().unwrap_or_default();
    group.reset_peak();

    let in_flight = Arc::new(AtomicI64::new(0));
    let start = Instant::now() + LEAD;
    let sampler = Sampler::start(group.usage().map_err(told)?, start, Arc::clone(&in_flight));
    let probe = Client::probe(server.address, start);
    let flood = Client::flood(server.address, open, profile, plan.seconds, start, in_flight);

    let mut ended = None;
    while !flood.is_done() && ended.is_none() {
        sleep(WATCH).await;
        ended = server.ended().map_err(told)?.map(|_| start.elapsed());
    }
    let seen = flood.finish().map_err(told)?;
    let probes = probe.finish().map_err(told)?;
    let samples = sampler.finish();
    let verdict = ended_by(&server, &group, ended).await;
    if let Some(path) = &plan.trace {
        write_trace(path, &samples).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(Raw { idle_bytes, peak_bytes: group.peak_bytes(), verdict, seen, probes, samples })
}

/// What became of a server that ended at a time, or did not.
pub(crate) async fn ended_by(
    server: &Server,
    group: &MemoryGroup,
    ended: Option<Duration>,
) -> Verdict {
    match ended {
        Some(at) if group.killed() > Some(0) => Verdict::Killed { at },
        Some(at) => Verdict::Ended { at },
        None if answers(server).await => Verdict::Survived,
        None => Verdict::Hung,
    }
}

/// Whether a server is there for its users.
pub(crate) async fn answers(server: &Server) -> bool {
    let ask = async {
        let mut connection = Connection::open(server.address).await?;
        connection.exchange(&request("GET", "/livez")).await
    };
    matches!(timeout(RECOVERY, ask).await, Ok(Ok(answer)) if answer.status == 200)
}

pub(crate) fn write_trace(path: &Path, samples: &[Sample]) -> io::Result<()> {
    let mut text = String::from("ms usage_bytes in_flight\n");
    for Sample { at, usage, in_flight } in samples {
        let _ = writeln!(text, "{} {usage} {in_flight}", at.as_millis());
    }
    std::fs::write(path, text)
}
