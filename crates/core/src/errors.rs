//! What went wrong lately: a bounded log in which an error that repeats is one entry.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::{
    clock::{Clock, saturating_millis},
    pruner::{Holding, PruneError, PruneRequest, Pruned, Pruner},
    registry::{CleanupRegistry, Registration},
    ring::{BoundedRing, RingPolicy},
    units::allocation_bytes,
};

/// The pruner's name among the actions of a cleanup.
const PRUNER: &str = "error_logs";
/// Longest text of a part and of a message, in bytes; the rest is cut off. A thousand entries are then
/// at most 1.3 MB.
const LONGEST_SOURCE: usize = 128;
const LONGEST_MESSAGE: usize = 1_024;

/// The pruner `error_logs`: the newest 1000 errors, each with how often it happened.
///
/// An error is known by its part and its message: one that repeats is counted in its entry, which
/// becomes the newest, so that a storm of one error does not push out the others. A moderate cleanup
/// drops what did not happen within the last hour, an aggressive one keeps the newest 20.
///
/// Cheap to clone; clones share the entries. Noting an error takes one short lock, and holds at
/// most 1.2 kB of it. Texts longer than 1 KiB (128 bytes for the part) are cut.
///
/// ```
/// use plimsoll_core::{CleanupRegistry, ErrorLog};
///
/// let errors = ErrorLog::new();
/// let registry = CleanupRegistry::new();
/// let _errors = errors.register(&registry);
/// for _ in 0..3 {
///     errors.record("database", "connection refused");
/// }
/// let newest = &errors.newest(20)[0];
/// assert_eq!((newest.message.as_str(), newest.count), ("connection refused", 3));
/// ```
#[derive(Clone, Debug)]
pub struct ErrorLog {
    ring: BoundedRing<ErrorEntry>,
    clock: Clock,
    total: Arc<AtomicU64>,
    fingerprints: RandomState,
}

/// An error that happened, once or more often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ErrorEntry {
    /// Where: a part of the program, a route, the target of a log line.
    pub source: String,
    /// What.
    pub message: String,
    /// How often, since this entry was made.
    pub count: u64,
    /// When first, in milliseconds since 1970.
    pub first_seen: u64,
    /// When last, in milliseconds since 1970.
    pub last_seen: u64,
    #[serde(skip)]
    fingerprint: u64,
}

impl ErrorLog {
    /// Makes an empty log.
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// Makes an empty log whose entries are stamped and aged by `clock`.
    pub fn with_clock(clock: Clock) -> Self {
        let ring = BoundedRing::error_logs()
            .with_weigher(|entry: &ErrorEntry| {
                allocation_bytes(entry.source.capacity())
                    + allocation_bytes(entry.message.capacity())
            })
            .with_clock(clock.clone());
        Self { ring, clock, total: Arc::default(), fingerprints: RandomState::new() }
    }

    /// Sets what each cleanup level keeps. Call it before cloning.
    #[must_use]
    pub fn with_policy(mut self, policy: RingPolicy) -> Self {
        self.ring = self.ring.with_policy(policy);
        self
    }

    /// Notes an error of a part of the program.
    pub fn record(&self, source: &str, message: &str) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let (source, message) = (cut(source, LONGEST_SOURCE), cut(message, LONGEST_MESSAGE));
        let fingerprint = self.fingerprints.hash_one((source, message));
        let now = saturating_millis(self.clock.wall());
        self.ring.push_or_merge(
            |entry| {
                entry.fingerprint == fingerprint
                    && entry.source == source
                    && entry.message == message
            },
            |entry| {
                entry.count = entry.count.saturating_add(1);
                entry.last_seen = now;
            },
            || ErrorEntry {
                source: source.to_owned(),
                message: message.to_owned(),
                count: 1,
                first_seen: now,
                last_seen: now,
                fingerprint,
            },
        );
    }

    /// The newest `count` entries, newest first.
    pub fn newest(&self, count: usize) -> Vec<ErrorEntry> {
        self.ring.snapshot(count)
    }

    /// Different errors held now, at most 1000.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Errors noted since the log was made, whatever a cleanup has dropped.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.ring.bytes()
    }

    /// Registers it under its name, `error_logs`.
    pub fn register(&self, registry: &CleanupRegistry) -> Registration {
        registry.register(PRUNER, self.clone())
    }
}

impl Default for ErrorLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Pruner for ErrorLog {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        self.ring.prune(request).await
    }

    fn holding(&self) -> Holding {
        self.ring.holding()
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        self.ring.preview(request)
    }
}

/// The first `most` bytes, or less where a character would be cut in two.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pruner::CleanupLevel;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn log() -> (ErrorLog, Clock) {
        let clock = Clock::manual(Duration::from_secs(1_000));
        (ErrorLog::with_clock(clock.clone()), clock)
    }

    #[test]
    fn a_storm_of_one_error_is_one_entry_and_pushes_no_other_out() {
        let (log, clock) = log();
        log.record("database", "refused");
        clock.advance(Duration::from_secs(1));
        for _ in 0..5_000 {
            log.clone().record("upstream", "timeout");
        }
        log.record("database", "timeout");
        let newest = log.newest(9);
        let told: Vec<_> =
            newest.iter().map(|entry| (&*entry.source, &*entry.message, entry.count)).collect();
        let expected = [
            ("database", "timeout", 1),
            ("upstream", "timeout", 5_000),
            ("database", "refused", 1),
        ];
        assert_eq!(told, expected);
        assert_eq!((log.len(), log.total()), (3, 5_002));
    }

    #[test]
    fn an_error_that_comes_back_keeps_when_it_was_first_seen() {
        let (log, clock) = log();
        log.record("a", "x");
        clock.advance(HOUR);
        log.record("a", "x");
        let entry = &log.newest(1)[0];
        assert_eq!(entry.last_seen - entry.first_seen, 3_600_000);
    }

    #[tokio::test]
    async fn moderate_drops_what_did_not_happen_for_an_hour_and_aggressive_all_but_twenty() {
        let (log, clock) = log();
        (0..10).for_each(|at| log.record("old", &format!("error {at}")));
        clock.advance(HOUR + Duration::from_secs(1));
        (0..5).for_each(|at| log.record("new", &format!("error {at}")));
        log.record("old", "error 3");
        let moderate = log.prune(PruneRequest::new(CleanupLevel::Moderate)).await.unwrap();
        assert_eq!((moderate.entries, log.len()), (9, 6));
        (0..100).for_each(|at| log.record("many", &format!("error {at}")));
        let aggressive = PruneRequest::new(CleanupLevel::Aggressive);
        let previewed = log.preview(aggressive).unwrap();
        assert_eq!(log.prune(aggressive).await.unwrap(), previewed);
        let kept: Vec<_> = log.newest(99).into_iter().map(|entry| entry.message).collect();
        let newest: Vec<_> = (80..100).rev().map(|at| format!("error {at}")).collect();
        assert_eq!(kept, newest);
        assert_eq!(log.total(), 116, "a counter never falls");
    }

    #[test]
    fn what_it_holds_is_bounded_whatever_it_is_told() {
        let (log, _) = log();
        for at in 0..3_000 {
            log.record(&"ä".repeat(10_000), &format!("{at} {}", "ö".repeat(100_000)));
        }
        assert_eq!(log.len(), 1_000);
        assert!(log.bytes() < 1_500_000, "{}", log.bytes());
        let entry = &log.newest(1)[0];
        assert!(entry.message.starts_with("2999 ö") && entry.message.len() <= LONGEST_MESSAGE);
        assert!(entry.source.chars().all(|it| it == 'ä') && entry.source.len() == LONGEST_SOURCE);
    }
}
