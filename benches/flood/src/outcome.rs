//! What a flood showed, in figures.

use std::time::Duration;

use plimsoll_flood::{Guard, MB};
use serde::Serialize;

use crate::{
    client::{Record, Seen},
    options::Plan,
    profile::{HOLD, Profile},
    sampler::Sample,
    variant::{Protector, Variant},
};

/// Each profile repeats itself within this time.
const END_SECONDS: u64 = 2;

/// What was seen.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) idle_bytes: u64,
    pub(crate) peak_bytes: Option<u64>,
    pub(crate) verdict: Verdict,
    pub(crate) seen: Seen,
    pub(crate) probes: Seen,
    pub(crate) samples: Vec<Sample>,
}

/// What became of the server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub(crate) enum Verdict {
    Survived,
    /// By the kernel, for want of memory.
    Killed {
        at: Duration,
    },
    /// By itself.
    Ended {
        at: Duration,
    },
    /// Alive for its supervisor and dead for everyone else.
    Hung,
}

impl Verdict {
    /// In words.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Survived => "survived".to_owned(),
            Self::Killed { at } => format!("killed at {:.1} s", at.as_secs_f64()),
            Self::Ended { at } => format!("ended at {:.1} s", at.as_secs_f64()),
            Self::Hung => "hung".to_owned(),
        }
    }
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) profile: Profile,
    pub(crate) guard: Protector,
    pub(crate) allocator: crate::allocator::Allocator,
    pub(crate) run: u32,
    pub(crate) seconds: u64,
    pub(crate) verdict: Verdict,
    pub(crate) limit_bytes: u64,
    pub(crate) line_bytes: u64,
    pub(crate) idle_bytes: u64,
    pub(crate) peak_bytes: Option<u64>,
    /// Answers with 200 to requests of the flood.
    pub(crate) served: usize,
    pub(crate) served_per_second: f64,
    /// Bytes served, of those that could ever be.
    pub(crate) share_of_best: f64,
    /// The same for what was sent in the last fifth, or the last two seconds.
    pub(crate) served_per_second_at_end: f64,
    pub(crate) refused: usize,
    pub(crate) refused_per_second: f64,
    /// Neither 200 nor 503, or no answer at all.
    pub(crate) failed: usize,
    /// From the start of the flood.
    pub(crate) first_crossing_seconds: Option<f64>,
    pub(crate) first_shed_seconds: Option<f64>,
    pub(crate) probes: usize,
    pub(crate) probes_lost: usize,
    /// Of the answers with 200, over what they hold.
    pub(crate) served_p99_of_hold: Option<f64>,
    pub(crate) refused_p99_ms: Option<f64>,
    /// How late the client was at worst.
    pub(crate) client_late_ms: f64,
}

impl Outcome {
    pub(crate) fn of(plan: &Plan, profile: Profile, variant: Variant, run: u32, raw: &Raw) -> Self {
        let line_bytes = variant.guard.line_bytes(plan.limit_bytes);
        let records = &raw.seen.records;
        let of = |status| records.iter().filter(move |record| record.status == Some(status));
        let served = of(200).count();
        let refused = of(503).count();
        let served_mb: u64 = of(200).map(|record| record.mb).sum();
        let best = profile.best_bytes(line_bytes.saturating_sub(raw.idle_bytes), plan.seconds);
        let seconds = plan.seconds as f64;
        // Whole periods of every profile, or it would depend on where in one the flood ends.
        let end_seconds = (plan.seconds / 5).max(END_SECONDS).min(plan.seconds);
        let end_begins = Duration::from_secs(plan.seconds - end_seconds);
        let at_end = of(200).filter(|record| record.sent >= end_begins).count();
        let crossed = raw.samples.iter().find(|sample| sample.usage >= line_bytes);
        let first_shed = of(503).map(|record| record.sent + record.took).min();
        let lost = raw.probes.records.iter().filter(|record| record.status != Some(200)).count();
        Self {
            profile,
            guard: variant.guard,
            allocator: variant.allocator,
            run,
            seconds: plan.seconds,
            verdict: raw.verdict,
            limit_bytes: plan.limit_bytes,
            line_bytes,
            idle_bytes: raw.idle_bytes,
            peak_bytes: raw.peak_bytes.max(raw.samples.iter().map(|sample| sample.usage).max()),
            served,
            served_per_second: served as f64 / seconds,
            share_of_best: (served_mb * MB) as f64 / best.max(1) as f64,
            served_per_second_at_end: at_end as f64 / end_seconds as f64,
            refused,
            refused_per_second: refused as f64 / seconds,
            failed: records.len() - served - refused,
            first_crossing_seconds: crossed.map(|sample| sample.at.as_secs_f64()),
            first_shed_seconds: first_shed.map(|at| at.as_secs_f64()),
            probes: raw.probes.records.len(),
            probes_lost: lost,
            served_p99_of_hold: p99(of(200)).map(|took| took.as_secs_f64() / HOLD.as_secs_f64()),
            refused_p99_ms: p99(of(503)).map(|took| took.as_secs_f64() * 1e3),
            client_late_ms: raw.seen.latest_start.as_secs_f64() * 1e3,
        }
    }

    /// What is wrong for CI: a control that lives, or a Plimsoll that does not.
    pub(crate) fn fault(&self) -> Option<String> {
        let lived = self.verdict == Verdict::Survived;
        if self.guard == Protector::Guard(Guard::None) {
            lived.then(|| format!("{}: the unguarded server lived through it", self.profile))
        } else {
            (!lived).then(|| format!("{}: {} {:?}", self.profile, self.guard, self.verdict))
        }
    }
}

fn p99<'a>(records: impl Iterator<Item = &'a Record>) -> Option<Duration> {
    let mut times: Vec<Duration> = records.map(|record| record.took).collect();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * 99 / 100).copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::client::Seen;

    /// A run in which nothing happened.
    pub(crate) fn outcome() -> Outcome {
        let raw = Raw {
            idle_bytes: 0,
            peak_bytes: None,
            verdict: Verdict::Survived,
            seen: Seen::default(),
            probes: Seen::default(),
            samples: Vec::new(),
        };
        let variant = Variant {
            guard: Protector::Guard(Guard::Plimsoll { declared_percent: 100 }),
            allocator: crate::allocator::Allocator::Glibc,
        };
        let options = ["plimsoll-flood", "--variant", "plimsoll"];
        let options = <crate::options::Options as clap::Parser>::parse_from(options);
        let plan = Plan::of(&options).expect("a plan");
        Outcome::of(&plan, Profile::Open, variant, 0, &raw)
    }

    #[test]
    fn the_99th_of_a_hundred_is_the_99th() {
        let record = |ms| Record {
            sent: Duration::ZERO,
            took: Duration::from_millis(ms),
            status: Some(200),
            mb: 4,
        };
        let records: Vec<Record> = (1..=100).rev().map(record).collect();
        assert_eq!(p99(records.iter()), Some(Duration::from_millis(99)));
        assert_eq!(p99([].iter()), None);
    }
}
