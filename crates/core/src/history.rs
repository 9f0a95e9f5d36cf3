//! Fixed rings of what was: an hour of coarse samples, two minutes of fine ones, cleanups.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::{clock::saturating_millis, level::PressureLevel, record::CleanupRecord};

/// An hour at one sample each 10 s.
const COARSE_SAMPLES: usize = 360;
/// Two minutes at one sample a second.
const FINE_SAMPLES: usize = 120;
/// Cleanups kept, newest last.
const CLEANUPS: usize = 50;
/// Distance of coarse samples.
const COARSE_EVERY: Duration = Duration::from_secs(10);
/// What a compaction leaves: the last 15 minutes.
const COMPACTED_COARSE_SAMPLES: usize = 90;

/// One point of the chart. Bytes; `None` is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Sample {
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// The decision figure: its peak since the sample before.
    pub figure: Option<u64>,
    /// Resident set of the process.
    pub rss: Option<u64>,
    /// Bytes the program holds from its allocator.
    pub heap_used: Option<u64>,
    /// The memory limit.
    pub limit: Option<u64>,
    /// The pressure level.
    pub level: PressureLevel,
    /// Bytes reserved for requests in flight.
    pub reserved: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests shed since the start.
    pub shed: u64,
}

/// The rings. Their storage is allocated once, so recording never is the last straw.
#[derive(Debug)]
pub(crate) struct History {
    rings: Mutex<Rings>,
}

#[derive(Debug)]
struct Rings {
    coarse: VecDeque<Sample>,
    fine: VecDeque<Sample>,
    /// The highest sample since the last coarse one.
    peak: Option<Sample>,
    coarse_due: Duration,
    /// With the moment each ended, on the monotonic clock.
    cleanups: VecDeque<(CleanupRecord, Duration)>,
}

impl History {
    pub(crate) fn new() -> Self {
        let rings = Rings {
            coarse: VecDeque::with_capacity(COARSE_SAMPLES),
            fine: VecDeque::with_capacity(FINE_SAMPLES),
            peak: None,
            coarse_due: Duration::ZERO,
            cleanups: VecDeque::with_capacity(CLEANUPS),
        };
        Self { rings: Mutex::new(rings) }
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push_sample(&self, sample: Sample, now: Duration) {
        let mut rings = self.lock();
        push_bounded(&mut rings.fine, sample, FINE_SAMPLES);
        let higher = rings.peak.is_none_or(|peak| sample.figure >= peak.figure);
        if higher {
            rings.peak = Some(sample);
        }
        if now >= rings.coarse_due {
            rings.coarse_due = now + COARSE_EVERY;
            let peak = rings.peak.take().unwrap_or(sample);
            push_bounded(&mut rings.coarse, peak, COARSE_SAMPLES);
        }
    }

    pub(crate) fn push_cleanup(&self, record: CleanupRecord, ended: Duration) {
        push_bounded(&mut self.lock().cleanups, (record, ended), CLEANUPS);
    }

    /// Samples of the last `span`, oldest first: coarse ones, then fine ones where there are.
    pub(crate) fn samples(&self, span: Duration, wall: Duration) -> Vec<Sample> {
        let from = saturating_millis(wall.saturating_sub(span));
        let rings = self.lock();
        let fine_from = rings.fine.front().map_or(u64::MAX, |sample| sample.timestamp);
        let coarse = rings.coarse.iter().filter(|sample| sample.timestamp < fine_from);
        coarse.chain(&rings.fine).filter(|sample| sample.timestamp >= from).copied().collect()
    }

    /// The newest cleanups, newest first.
    pub(crate) fn cleanups(&self, most: usize) -> Vec<CleanupRecord> {
        self.lock().cleanups.iter().rev().take(most).map(|(record, _)| record.clone()).collect()
    }

    /// The same, each with the moment it ended on the monotonic clock.
    pub(crate) fn ended_cleanups(&self, most: usize) -> Vec<(CleanupRecord, Duration)> {
        self.lock().cleanups.iter().rev().take(most).cloned().collect()
    }

    /// Drops samples older than 15 minutes; returns how many. Cleanups stay: they are the
    /// evidence.
    pub(crate) fn compact(&self) -> usize {
        let mut rings = self.lock();
        let excess = rings.coarse.len().saturating_sub(COMPACTED_COARSE_SAMPLES);
        rings.coarse.drain(..excess);
        excess
    }

    pub(crate) fn compactable(&self) -> usize {
        self.lock().coarse.len().saturating_sub(COMPACTED_COARSE_SAMPLES)
    }

    pub(crate) fn len(&self) -> usize {
        let rings = self.lock();
        rings.coarse.len() + rings.fine.len()
    }

    /// Bytes held by the rings, cleanups estimated by their text.
    pub(crate) fn bytes(&self) -> u64 {
        let rings = self.lock();
        let slots = rings.coarse.capacity() + rings.fine.capacity();
        let samples = slots * size_of::<Sample>();
        let cleanups: usize = rings.cleanups.iter().map(|(record, _)| record_bytes(record)).sum();
        (samples + rings.cleanups.capacity() * size_of::<(CleanupRecord, Duration)>() + cleanups)
            as u64
    }
}

fn record_bytes(record: &CleanupRecord) -> usize {
    let actions: usize =
        record.actions.iter().map(|line| line.capacity() + size_of::<String>()).sum();
    let results: usize = record
        .results
        .iter()
        .map(|result| {
            size_of_val(result)
                + result.name.capacity()
                + result.detail.as_ref().map_or(0, String::capacity)
        })
        .sum();
    record.id.capacity() + actions + results
}

fn push_bounded<T>(ring: &mut VecDeque<T>, item: T, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, figure: u64) -> Sample {
        Sample {
            timestamp: second * 1_000,
            figure: Some(figure),
            rss: None,
            heap_used: None,
            limit: None,
            level: PressureLevel::Healthy,
            reserved: 0,
            in_flight: 0,
            shed: 0,
        }
    }

    fn filled(seconds: u64) -> History {
        let history = History::new();
        for second in 0..seconds {
            let figure = if second % 10 == 5 { 1_000 } else { 1 };
            history.push_sample(sample(second, figure), Duration::from_secs(second));
        }
        history
    }

    #[test]
    fn an_hour_is_kept_and_no_more_and_peaks_survive_the_thinning() {
        let history = filled(7_200);
        let wall = Duration::from_secs(7_200);
        let all = history.samples(Duration::from_secs(7_200), wall);
        assert!(all.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp), "in order");
        assert!(all.len() <= COARSE_SAMPLES + FINE_SAMPLES);
        let first = all.first().expect("filled").timestamp;
        assert!((3_580_000..3_620_000).contains(&first), "{first}");
        assert_eq!(all[100].figure, Some(1_000));
        assert_eq!(history.samples(Duration::from_secs(60), wall).len(), 60);
    }

    #[test]
    fn compaction_keeps_fifteen_minutes() {
        let history = filled(3_600);
        let before = history.bytes();
        assert_eq!(history.compact(), 360 - 90);
        assert_eq!((history.compact(), history.bytes()), (0, before));
    }
}
