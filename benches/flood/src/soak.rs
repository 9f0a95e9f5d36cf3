//! A long flood, minute by minute: what leaks or latches shows as a change from one to the next.

use std::time::Duration;

use plimsoll_flood::MB;
use serde::Serialize;

use crate::outcome::Raw;

pub(crate) const HEAD: &str =
    "minute  goodput/s  refused/s   failed  usage MB least/greatest  livez lost";

const MINUTE: Duration = Duration::from_secs(60);

/// What was sent and seen within a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Minute {
    served: usize,
    refused: usize,
    failed: usize,
    probes: usize,
    probes_lost: usize,
    least_bytes: Option<u64>,
    greatest_bytes: Option<u64>,
}

/// The minutes of a flood of so many seconds. What comes after the last one, while answers are
/// still out, is in none.
pub(crate) fn minutes(raw: &Raw, seconds: u64) -> Vec<Minute> {
    let count = usize::try_from(seconds / MINUTE.as_secs()).unwrap_or(usize::MAX);
    let mut minutes = vec![Minute::default(); count];
    let minute_of = |at: Duration| usize::try_from(at.as_secs() / MINUTE.as_secs()).ok();
    for record in &raw.seen.records {
        let Some(minute) = minute_of(record.sent).and_then(|at| minutes.get_mut(at)) else {
            continue;
        };
        match record.status {
            Some(200) => minute.served += 1,
            Some(503) => minute.refused += 1,
            _ => minute.failed += 1,
        }
    }
    for probe in &raw.probes.records {
        let Some(minute) = minute_of(probe.sent).and_then(|at| minutes.get_mut(at)) else {
            continue;
        };
        minute.probes += 1;
        minute.probes_lost += usize::from(probe.status != Some(200));
    }
    for sample in &raw.samples {
        let Some(minute) = minute_of(sample.at).and_then(|at| minutes.get_mut(at)) else {
            continue;
        };
        let least = minute.least_bytes.unwrap_or(u64::MAX);
        minute.least_bytes = Some(least.min(sample.usage));
        minute.greatest_bytes = minute.greatest_bytes.max(Some(sample.usage));
    }
    minutes
}

pub(crate) fn row(turn: usize, minute: &Minute) -> String {
    let a_second = |count: usize| count as f64 / MINUTE.as_secs_f64();
    let mb =
        |bytes: Option<u64>| bytes.map_or_else(|| "n/a".to_owned(), |it| (it / MB).to_string());
    format!(
        "{turn:>6}{:>11.1}{:>11.1}{:>9}{:>25}{:>12}",
        a_second(minute.served),
        a_second(minute.refused),
        minute.failed,
        format!("{} / {}", mb(minute.least_bytes), mb(minute.greatest_bytes)),
        format!("{}/{}", minute.probes_lost, minute.probes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Record, Seen},
        outcome::Verdict,
        sampler::Sample,
    };

    #[test]
    fn what_was_sent_in_a_minute_counts_for_it_whenever_it_was_answered() {
        let record = |second, status| Record {
            sent: Duration::from_secs(second),
            took: Duration::from_secs(90),
            status,
            mb: 4,
        };
        let sample =
            |second, usage| Sample { at: Duration::from_secs(second), usage, in_flight: 0 };
        let raw = Raw {
            idle_bytes: 0,
            peak_bytes: None,
            verdict: Verdict::Survived,
            seen: Seen {
                records: vec![
                    record(0, Some(200)),
                    record(59, Some(503)),
                    record(60, None),
                    record(119, Some(200)),
                ],
                latest_start: Duration::ZERO,
            },
            probes: Seen {
                records: vec![record(1, Some(200)), record(61, None), record(120, None)],
                latest_start: Duration::ZERO,
            },
            samples: vec![sample(0, 5), sample(30, 9), sample(125, 1)],
        };
        let first = Minute {
            served: 1,
            refused: 1,
            probes: 1,
            least_bytes: Some(5),
            greatest_bytes: Some(9),
            ..Minute::default()
        };
        let second =
            Minute { served: 1, failed: 1, probes: 1, probes_lost: 1, ..Minute::default() };
        assert_eq!(minutes(&raw, 120), [first, second]);
        assert!(row(2, &second).contains("n/a / n/a"), "{}", row(2, &second));
    }
}
