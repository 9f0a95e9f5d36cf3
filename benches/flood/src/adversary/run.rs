//! One adversary against one server.

use std::{io, sync::Arc, time::Duration};

use plimsoll_testkit::MemoryGroup;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Adversary,
    attacks::{Attack, take_and_let_go},
    neighbour::Neighbour,
};
use crate::{
    client::{Client, Seen},
    flood::{IDLE, LEAD, answers, ended_by, write_trace},
    options::Plan,
    outcome::Verdict,
    process::Server,
    programs::Programs,
    sampler::Sampler,
    variant::Variant,
};

pub(crate) const HEAD: &str = "\
adversary           variant                allocator verdict          peak  \
honest served/refused/failed  livez lost  attack served/refused/failed";

/// The figures of one attack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attacked {
    adversary: Adversary,
    variant: Variant,
    verdict: Verdict,
    limit_bytes: u64,
    peak_bytes: Option<u64>,
    honest: Counts,
    attack: Counts,
    probes: Counts,
    /// For what share of the time some task of the machine waited for memory.
    host_pressure_ratio: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Counts {
    served: usize,
    refused: usize,
    failed: usize,
}

impl Counts {
    fn of(seen: &Seen) -> Self {
        let with = |wanted: &[u16]| {
            let is = |status: Option<u16>| status.is_some_and(|status| wanted.contains(&status));
            seen.records.iter().filter(|record| is(record.status)).count()
        };
        let (served, refused) = (with(&[200, 202]), with(&[413, 503]));
        Self { served, refused, failed: seen.records.len() - served - refused }
    }

    fn shown(self) -> String {
        format!("{}/{}/{}", self.served, self.refused, self.failed)
    }
}

/// Attacks a server while honest clients go on asking for a little.
pub(crate) async fn run(
    plan: &Plan,
    programs: &Programs,
    adversary: Adversary,
    variant: Variant,
) -> Result<Attacked, String> {
    let told = |error: io::Error| error.to_string();
    let group = MemoryGroup::with_limit(plan.limit_bytes).map_err(|error| error.to_string())?;
    let mut server = Server::start(plan, programs, variant, &group, adversary.server_options())?;
    answers(&server).await;
    sleep(IDLE).await;
    group.reset_peak();
    let neighbour = match adversary {
        Adversary::NeighbourPressure => Some(Neighbour::start(programs.scratch())?),
        _ => None,
    };
    if adversary == Adversary::Retained {
        take_and_let_go(server.address, plan.limit_bytes).await.map_err(told)?;
    }

    let start = Instant::now() + LEAD;
    let in_flight = Arc::default();
    let sampler = Sampler::start(group.usage().map_err(told)?, start, Arc::clone(&in_flight));
    let probe = Client::probe(server.address, start);
    let honest = Client::honest(server.address, plan.seconds, start, in_flight);
    let attack = Attack {
        adversary,
        address: server.address,
        limit_bytes: plan.limit_bytes,
        seconds: plan.seconds,
        start,
    };
    let attack = Client::spawn(move |_stop| attack.run());

    let mut ended = None;
    while !(honest.is_done() && attack.is_done()) && ended.is_none() {
        sleep(Duration::from_millis(5)).await;
        ended = server.ended().map_err(told)?.map(|_| start.elapsed());
    }
    let (honest, probes) = (honest.finish().map_err(told)?, probe.finish().map_err(told)?);
    let attack = attack.finish().map_err(told)?;
    let host_pressure_ratio = neighbour.and_then(Neighbour::end);
    let samples = sampler.finish();
    let verdict = ended_by(&server, &group, ended).await;
    if let Some(path) = &plan.trace {
        write_trace(path, &samples).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(Attacked {
        adversary,
        variant,
        verdict,
        limit_bytes: plan.limit_bytes,
        peak_bytes: group.peak_bytes().max(samples.iter().map(|sample| sample.usage).max()),
        honest: Counts::of(&honest),
        attack: Counts::of(&attack),
        probes: Counts::of(&probes),
        host_pressure_ratio,
    })
}

pub(crate) fn row(attacked: &Attacked) -> String {
    let Attacked { adversary, variant, verdict, probes, .. } = attacked;
    let peak = attacked.peak_bytes.map(|peak| peak as f64 / attacked.limit_bytes as f64);
    let peak = peak.map_or_else(|| "n/a".to_owned(), |peak| format!("{:.0}%", peak * 100.0));
    let pressure = attacked.host_pressure_ratio.map_or_else(String::new, |ratio| {
        format!(
            "\n{:20}memory pressure of the host (PSI, some): {:.0}% of the time",
            "",
            ratio * 100.0
        )
    });
    format!(
        "{adversary:<20}{:<23}{:<10}{:<16}{peak:>5}{:>30}{:>12}{:>30}{pressure}",
        variant.guard,
        variant.allocator,
        verdict.shown(),
        attacked.honest.shown(),
        format!(
            "{}/{}",
            probes.refused + probes.failed,
            probes.served + probes.refused + probes.failed
        ),
        attacked.attack.shown(),
    )
}
