//! A bounded, timestamped collection that gives its memory back: event logs, error logs.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Clock,
    pruner::{CleanupLevel, Holding, PruneError, PruneRequest, Pruned, Pruner},
};

/// Entries of the two ready-made rings: enough to see what led up to a fault.
const DEFAULT_RING_CAPACITY: usize = 1_000;
/// Age past which a moderate cleanup drops an entry.
const DEFAULT_RING_AGE: Duration = Duration::from_secs(3_600);
/// Socket events that an aggressive cleanup keeps.
const NEWEST_SOCKET_EVENTS: usize = 50;
/// Error log entries that an aggressive cleanup keeps.
const NEWEST_ERROR_LOGS: usize = 20;

/// Which entries a cleanup leaves in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Every entry.
    All,
    /// Entries up to this age.
    YoungerThan(Duration),
    /// At most this many, the newest.
    Newest(usize),
    /// No entry.
    Nothing,
}

/// What each cleanup level leaves in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingPolicy {
    /// What a moderate cleanup keeps.
    pub moderate: Keep,
    /// What an aggressive cleanup keeps.
    pub aggressive: Keep,
}

impl RingPolicy {
    /// Pairs what the two levels keep.
    pub fn new(moderate: Keep, aggressive: Keep) -> Self {
        Self { moderate, aggressive }
    }

    fn keep(self, level: CleanupLevel) -> Keep {
        match level {
            CleanupLevel::Moderate => self.moderate,
            CleanupLevel::Aggressive => self.aggressive,
        }
    }
}

impl Default for RingPolicy {
    /// As for socket events: moderate keeps an hour, aggressive the newest 50.
    fn default() -> Self {
        Self::new(Keep::YoungerThan(DEFAULT_RING_AGE), Keep::Newest(NEWEST_SOCKET_EVENTS))
    }
}

/// A ring of timestamped entries that holds at most its capacity and, registered as a
/// [`Pruner`], gives memory back: the oldest entries first, and their storage with them.
///
/// Cheap to clone; clones share the entries. The clock, the policy and the weigher belong to the
/// handle, so set them before cloning. Storage grows with use, a large capacity costs nothing
/// until it is filled. Every call takes one short lock; the entries that go are dropped outside
/// it.
///
/// ```
/// # use plimsoll_core::BoundedRing;
/// let events = BoundedRing::new(2).with_weigher(String::capacity);
/// for event in ["connect", "message", "disconnect"] {
///     events.push(event.to_owned());
/// }
/// assert_eq!(events.snapshot(10), ["disconnect", "message"]);
/// assert_eq!(events.prune_to_newest(1).entries, 1);
/// ```
pub struct BoundedRing<T> {
    shared: Arc<Mutex<Entries<T>>>,
    capacity: usize,
    policy: RingPolicy,
    weigher: fn(&T) -> usize,
    clock: Clock,
}

/// Oldest first; the times never fall, because they are read under the lock.
struct Entries<T> {
    items: VecDeque<Entry<T>>,
    /// Sum of the weights of `items`.
    weight_bytes: u64,
}

struct Entry<T> {
    at: Duration,
    weight_bytes: u64,
    item: T,
}

impl<T> BoundedRing<T> {
    /// Makes an empty ring of at most `capacity` entries, with the default policy; with a
    /// capacity of 0 it stays empty.
    pub fn new(capacity: usize) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Entries { items: VecDeque::new(), weight_bytes: 0 })),
            capacity,
            policy: RingPolicy::default(),
            weigher: |_| 0,
            clock: Clock::system(),
        }
    }

    /// The ring for `socket_events`: 1000 entries, moderate keeps an hour, aggressive the newest 50.
    pub fn socket_events() -> Self {
        Self::new(DEFAULT_RING_CAPACITY)
    }

    /// The ring for `error_logs`: 1000 entries, moderate keeps an hour, aggressive the newest 20.
    pub fn error_logs() -> Self {
        Self::new(DEFAULT_RING_CAPACITY).with_policy(RingPolicy::new(
            Keep::YoungerThan(DEFAULT_RING_AGE),
            Keep::Newest(NEWEST_ERROR_LOGS),
        ))
    }

    /// Sets what each cleanup level keeps.
    #[must_use]
    pub fn with_policy(mut self, policy: RingPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets what an entry holds on the heap beyond its own size, in bytes; called once, when it
    /// is pushed. Default: nothing.
    #[must_use]
    pub fn with_weigher(mut self, weigher: fn(&T) -> usize) -> Self {
        self.weigher = weigher;
        self
    }

    /// Sets the clock that stamps and ages the entries.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Adds an entry; when the ring is full the oldest one makes room.
    pub fn push(&self, item: T) {
        if self.capacity == 0 {
            return;
        }
        let weight_bytes = (self.weigher)(&item) as u64;
        let mut entries = self.lock();
        let oldest = if entries.items.len() >= self.capacity { entries.pop() } else { None };
        let at = self.clock.now();
        entries.items.push_back(Entry { at, weight_bytes, item });
        entries.weight_bytes = entries.weight_bytes.saturating_add(weight_bytes);
        // What an entry does on drop is not ours to know, so it happens without the lock.
        drop(entries);
        drop(oldest);
    }

    /// Merges into the newest entry that is the same, or adds one: `same` finds it, `merge` changes
    /// it, and `make` makes the new one. A merged entry becomes the newest, and its age begins anew.
    ///
    /// Looks at every entry in the worst case, newest first, since what repeats is mostly near the
    /// end. All three are called under the lock, so they must not use the ring.
    pub fn push_or_merge(
        &self,
        mut same: impl FnMut(&T) -> bool,
        merge: impl FnOnce(&mut T),
        make: impl FnOnce() -> T,
    ) {
        if self.capacity == 0 {
            return;
        }
        let mut entries = self.lock();
        let Some(found) = entries.items.iter().rposition(|entry| same(&entry.item)) else {
            drop(entries);
            return self.push(make());
        };
        let Some(mut entry) = entries.items.remove(found) else { return };
        entries.weight_bytes = entries.weight_bytes.saturating_sub(entry.weight_bytes);
        merge(&mut entry.item);
        entry.weight_bytes = (self.weigher)(&entry.item) as u64;
        entry.at = self.clock.now();
        entries.weight_bytes = entries.weight_bytes.saturating_add(entry.weight_bytes);
        entries.items.push_back(entry);
    }

    /// The entries held now.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most entries that are ever held.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes held on the heap: the storage of the entries, and what the weigher said of the entries.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Copies the newest `count` entries, newest first.
    pub fn snapshot(&self, count: usize) -> Vec<T>
    where
        T: Clone,
    {
        self.lock().items.iter().rev().take(count).map(|entry| entry.item.clone()).collect()
    }

    /// Drops the entries older than `age`.
    pub fn prune_older_than(&self, age: Duration) -> Pruned {
        self.prune_to(Keep::YoungerThan(age), None)
    }

    /// Drops all but the newest `count` entries.
    pub fn prune_to_newest(&self, count: usize) -> Pruned {
        self.prune_to(Keep::Newest(count), None)
    }

    fn prune_to(&self, keep: Keep, target_bytes: Option<u64>) -> Pruned {
        let mut entries = self.lock();
        let before_bytes = entries.bytes();
        let count = entries.droppable(keep, self.clock.now(), target_bytes);
        let gone = entries.take_oldest(count);
        let freed_bytes = before_bytes.saturating_sub(entries.bytes());
        drop(entries);
        drop(gone);
        Pruned::entries(count as u64).bytes(freed_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        // A panic in somebody's `Clone` leaves the entries whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Entries<T> {
    const SLOT_BYTES: u64 = size_of::<Entry<T>>() as u64;

    /// Storage counts by what is in it: the part that a growing ring has never used yet is not resident,
    /// so that whoever frees it frees nothing.
    fn bytes(&self) -> u64 {
        self.weight_bytes.saturating_add(Self::storage_bytes(self.items.len()))
    }

    fn storage_bytes(slots: usize) -> u64 {
        Self::SLOT_BYTES.saturating_mul(slots as u64)
    }

    fn pop(&mut self) -> Option<Entry<T>> {
        let oldest = self.items.pop_front()?;
        self.weight_bytes = self.weight_bytes.saturating_sub(oldest.weight_bytes);
        Some(oldest)
    }

    /// How many of the oldest entries may go: what `keep` allows, or fewer when they free
    /// `target_bytes`.
    fn droppable(&self, keep: Keep, now: Duration, target_bytes: Option<u64>) -> usize {
        let allowed = match keep {
            Keep::All => 0,
            Keep::YoungerThan(age) => {
                self.items.partition_point(|entry| now.saturating_sub(entry.at) > age)
            }
            Keep::Newest(count) => self.items.len().saturating_sub(count),
            Keep::Nothing => self.items.len(),
        };
        let Some(target_bytes) = target_bytes else { return allowed };
        let mut freed_bytes = 0_u64;
        let enough = self.items.iter().take(allowed).take_while(|entry| {
            let wanted = freed_bytes < target_bytes;
            freed_bytes = freed_bytes.saturating_add(entry.weight_bytes + Self::SLOT_BYTES);
            wanted
        });
        enough.count()
    }

    /// Weights of the oldest `count` entries.
    fn weight_of_oldest(&self, count: usize) -> u64 {
        self.items.iter().take(count).map(|entry| entry.weight_bytes).fold(0, u64::saturating_add)
    }

    /// Takes the oldest entries out together with the storage they sat in; the rest moves to
    /// storage of its own size.
    fn take_oldest(&mut self, count: usize) -> VecDeque<Entry<T>> {
        if count == 0 {
            return VecDeque::new();
        }
        self.weight_bytes = self.weight_bytes.saturating_sub(self.weight_of_oldest(count));
        let rest = self.items.split_off(count);
        mem::replace(&mut self.items, rest)
    }
}

impl<T: Send + 'static> Pruner for BoundedRing<T> {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        Ok(self.prune_to(self.policy.keep(request.level), request.target_bytes))
    }

    fn holding(&self) -> Holding {
        let entries = self.lock();
        Holding::new(Some(entries.items.len() as u64), Some(entries.bytes()))
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        let keep = self.policy.keep(request.level);
        let entries = self.lock();
        let count = entries.droppable(keep, self.clock.now(), request.target_bytes);
        if count == 0 {
            return Some(Pruned::nothing());
        }
        let bytes =
            entries.weight_of_oldest(count).saturating_add(Entries::<T>::storage_bytes(count));
        Some(Pruned::entries(count as u64).bytes(bytes))
    }
}

impl<T> Clone for BoundedRing<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            capacity: self.capacity,
            policy: self.policy,
            weigher: self.weigher,
            clock: self.clock.clone(),
        }
    }
}

impl<T> fmt::Debug for BoundedRing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedRing")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn timed<T>(ring: BoundedRing<T>) -> (BoundedRing<T>, Clock) {
        let clock = Clock::manual(Duration::from_secs(1_000));
        (ring.with_clock(clock.clone()), clock)
    }

    async fn pass<T: Send + 'static>(
        ring: &BoundedRing<T>,
        level: CleanupLevel,
        target_bytes: Option<u64>,
    ) -> Pruned {
        let mut request = PruneRequest::new(level);
        request.target_bytes = target_bytes;
        let previewed = ring.preview(request).unwrap();
        let held = ring.holding().bytes.unwrap();
        let pruned = ring.prune(request).await.unwrap();
        assert_eq!(pruned, previewed, "the preview is what happens");
        assert_eq!(held - ring.holding().bytes.unwrap(), pruned.bytes.unwrap());
        pruned
    }

    #[test]
    fn a_full_ring_drops_its_oldest() {
        let ring = BoundedRing::new(3);
        (0..10).for_each(|number| ring.push(number));
        assert_eq!(ring.snapshot(2), [9, 8]);
        assert_eq!(ring.snapshot(usize::MAX), [9, 8, 7]);
        assert_eq!((ring.len(), ring.capacity(), ring.is_empty()), (3, 3, false));
    }

    #[test]
    fn a_ring_without_capacity_stays_empty() {
        let ring = BoundedRing::new(0);
        ring.push(vec![0_u8; 100]);
        assert!(ring.is_empty());
        assert_eq!(ring.bytes(), 0);
    }

    #[tokio::test]
    async fn what_is_merged_becomes_the_newest_and_young_again() {
        let (ring, clock) = timed(BoundedRing::new(3).with_weigher(String::capacity));
        let add = |text: &str| {
            ring.push_or_merge(
                |item: &String| item.starts_with(&text[..1]),
                |item| item.push_str(text),
                || text.to_owned(),
            );
        };
        for text in ["a1", "b1"] {
            add(text);
            clock.advance(HOUR);
        }
        add("a2");
        assert_eq!(ring.snapshot(9), ["a1a2", "b1"]);
        let weights: usize = ring.snapshot(9).iter().map(String::len).sum();
        assert!(ring.bytes() >= weights as u64);
        clock.advance(Duration::from_secs(1));
        assert_eq!(pass(&ring, CleanupLevel::Moderate, None).await.entries, 1, "b1 is too old");
        for text in ["c", "d", "e"] {
            add(text);
        }
        assert_eq!(ring.snapshot(9), ["e", "d", "c"], "and the bound is the ring's");
        ring.prune_to_newest(0);
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn clones_share_the_entries() {
        let ring = BoundedRing::new(8);
        ring.clone().push("a");
        assert_eq!(ring.snapshot(8), ["a"]);
    }

    #[tokio::test]
    async fn moderate_drops_what_is_older_than_an_hour() {
        let (ring, clock) = timed(BoundedRing::error_logs());
        (0..10).for_each(|number| ring.push(number));
        clock.advance(HOUR);
        (10..15).for_each(|number| ring.push(number));
        assert_eq!(
            pass(&ring, CleanupLevel::Moderate, None).await.entries,
            0,
            "an hour to the dot"
        );
        clock.advance(Duration::from_nanos(1));
        assert_eq!(pass(&ring, CleanupLevel::Moderate, None).await.entries, 10);
        assert_eq!(ring.snapshot(99), [14, 13, 12, 11, 10]);
    }

    #[tokio::test]
    async fn aggressive_keeps_the_newest_of_each_preset() {
        for (ring, kept) in [(BoundedRing::socket_events(), 50), (BoundedRing::error_logs(), 20)] {
            (0..200).for_each(|number| ring.push(number));
            let pruned = pass(&ring, CleanupLevel::Aggressive, None).await;
            assert_eq!(pruned.entries, 200 - kept);
            let newest: Vec<_> = (200 - kept..200).rev().collect();
            assert_eq!(ring.snapshot(999), newest);
            assert_eq!(pass(&ring, CleanupLevel::Aggressive, None).await, Pruned::nothing());
        }
    }

    #[tokio::test]
    async fn pruning_stops_once_the_target_is_met() {
        let (ring, _clock) = timed(BoundedRing::new(100).with_weigher(Vec::capacity));
        let ring = ring.with_policy(RingPolicy::new(Keep::All, Keep::Nothing));
        (0..100).for_each(|_| ring.push(Vec::<u8>::with_capacity(1_000)));
        assert_eq!(pass(&ring, CleanupLevel::Moderate, None).await, Pruned::nothing());
        assert_eq!(pass(&ring, CleanupLevel::Aggressive, Some(0)).await, Pruned::nothing());
        let pruned = pass(&ring, CleanupLevel::Aggressive, Some(2_500)).await;
        assert!((2..=3).contains(&pruned.entries), "{pruned:?}");
        assert!(pruned.bytes.unwrap() >= 2_500);
        pass(&ring, CleanupLevel::Aggressive, Some(u64::MAX)).await;
        assert_eq!(ring.bytes(), 0, "the storage went too");
    }

    #[tokio::test]
    async fn a_target_is_met_and_passed_by_no_more_than_a_tenth() {
        let (ring, _clock) = timed(BoundedRing::new(usize::MAX).with_weigher(String::capacity));
        let ring = ring.with_policy(RingPolicy::new(Keep::Nothing, Keep::Nothing));
        // Just past a power of two: half of the storage has never been used.
        (0..4_100).for_each(|at| ring.push("x".repeat(at % 200)));
        for target in [10_000, 50_000, 200_000] {
            let freed = pass(&ring, CleanupLevel::Moderate, Some(target)).await.bytes.unwrap();
            assert!((target..=target * 11 / 10).contains(&freed), "{freed} of {target}");
        }
    }

    #[test]
    fn an_entry_may_use_the_ring_while_it_is_dropped() {
        struct Nosy(BoundedRing<Nosy>);
        impl Drop for Nosy {
            fn drop(&mut self) {
                assert!(self.0.len() <= 1);
            }
        }
        let ring = BoundedRing::new(1);
        ring.push(Nosy(ring.clone()));
        ring.push(Nosy(ring.clone()));
        assert_eq!(ring.prune_to_newest(0).entries, 1);
    }

    #[test]
    fn ages_are_those_of_the_manual_clock() {
        let (ring, clock) = timed(BoundedRing::new(9));
        for number in 0..5 {
            ring.push(number);
            clock.advance(Duration::from_secs(1));
        }
        assert_eq!(ring.prune_older_than(Duration::MAX).entries, 0);
        assert_eq!(ring.prune_older_than(Duration::from_secs(3)).entries, 2);
        assert_eq!(ring.snapshot(9), [4, 3, 2]);
        assert_eq!(ring.prune_older_than(Duration::ZERO).entries, 3);
    }

    proptest! {
        #[test]
        fn the_books_balance(
            capacity in 0_usize..40,
            steps in proptest::collection::vec((0_u8..4, 0_usize..60), 0..80),
        ) {
            let (ring, clock) = timed(BoundedRing::new(capacity).with_weigher(Vec::capacity));
            for (step, size) in steps {
                let before = (ring.len() as u64, ring.bytes());
                let pruned = match step {
                    0 => ring.prune_to_newest(size),
                    1 => ring.prune_older_than(Duration::from_secs(size as u64)),
                    _ => {
                        clock.advance(Duration::from_secs(1));
                        ring.push(vec![0_u8; size]);
                        continue;
                    }
                };
                prop_assert_eq!(pruned.entries, before.0 - ring.len() as u64);
                prop_assert_eq!(pruned.bytes, Some(before.1 - ring.bytes()));
            }
            prop_assert!(ring.len() <= capacity);
            let weights: usize = ring.snapshot(usize::MAX).iter().map(Vec::len).sum();
            prop_assert!(ring.bytes() >= weights as u64);
            ring.prune_to_newest(0);
            prop_assert_eq!(ring.bytes(), 0);
        }
    }
}
