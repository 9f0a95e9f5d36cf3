//! Counters per route, bounded: 200 names, then `<other>`.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{
        AtomicBool, AtomicU8, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::ledger::{Count, RefusalReason};

/// Names kept before the rest shares `<other>`.
pub const MOST_ROUTES: usize = 200;
/// The route of a request that no router has matched.
pub const UNMATCHED_ROUTE: &str = "<unmatched>";
/// The route of every name past the first [`MOST_ROUTES`].
pub const OTHER_ROUTE: &str = "<other>";
/// Those that are counted for each thread: the names, `<other>`, and what is attributed to `<unmatched>`.
pub(crate) const ROUTE_COUNTERS: usize = MOST_ROUTES + 2;
/// Twice the names and more, so that probes stay short.
const SLOTS: usize = 512;

/// One route: its name, its refusals, and where its requests are counted.
#[derive(Debug)]
pub struct Route {
    name: Box<str>,
    index: usize,
    shed_memory: AtomicU64,
    shed_too_large: AtomicU64,
    cancelled: AtomicU64,
    /// What a request takes at most beyond its body, as learned or seen so far.
    learned: AtomicU64,
    /// By how much requests went beyond the cost that was declared for them: in bytes, and as a
    /// ratio in 256ths.
    excess: AtomicU64,
    ratio: AtomicU64,
    /// Whether one has had its answer, so that `learned` is what it takes and not only a part.
    known: AtomicBool,
    last_reason: AtomicU8,
}

/// What one thread counted for one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts {
    admitted: Count,
    finished: Count,
    reserved: Count,
    allocated: Count,
    live: Count,
}

impl RouteCounts {
    pub(crate) fn attributed(&self, allocated: u64, change: u64) {
        self.allocated.add(allocated);
        self.live.add(change);
    }

    pub(crate) fn attributed_shared(&self, allocated: u64, change: u64) {
        self.allocated.add_shared(allocated);
        self.live.add_shared(change);
    }

    #[inline]
    pub(crate) fn admitted(&self, bytes: u64) {
        self.admitted.add(1);
        self.reserved.add(bytes);
    }

    #[inline]
    pub(crate) fn finished(&self, bytes: u64) {
        self.finished.add(1);
        self.reserved.add(0_u64.wrapping_sub(bytes));
    }

    pub(crate) fn raised(&self, bytes: u64) {
        self.reserved.add(bytes);
    }

    pub(crate) fn raised_shared(&self, bytes: u64) {
        self.reserved.add_shared(bytes);
    }

    pub(crate) fn admitted_shared(&self, bytes: u64) {
        self.admitted.add_shared(1);
        self.reserved.add_shared(bytes);
    }

    pub(crate) fn finished_shared(&self, bytes: u64) {
        self.finished.add_shared(1);
        self.reserved.add_shared(0_u64.wrapping_sub(bytes));
    }
}

/// One route's figures at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteFigures {
    /// The matched template, `<unmatched>` or `<other>`.
    pub name: String,
    /// Requests admitted since the start.
    pub admitted: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Bytes reserved now.
    pub reserved_bytes: u64,
    /// Requests shed since the start, by reason: no room now.
    pub shed_memory: u64,
    /// Requests shed since the start, by reason: would never fit.
    pub shed_too_large: u64,
    /// Requests that were admitted and then cancelled since the start.
    pub cancelled: u64,
    /// What the code of the route allocates; `None` where no request of it was attributed.
    pub memory: Option<RouteMemory>,
    /// Why the last one was shed.
    pub last_reason: Option<RefusalReason>,
}

/// What the code of one route allocates, in bytes, as far as it is attributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteMemory {
    /// All that its requests have allocated since the start.
    pub allocated_bytes: u64,
    /// What they hold now: an estimate, since what they hand to others is freed by them.
    pub live_bytes: u64,
    /// What one request takes at most beyond its body, as learned: rises at once, falls slowly.
    pub peak_bytes: u64,
}

/// Finds a route's counters without a lock; a name is added under one, once.
pub(crate) struct RouteTable {
    slots: Box<[OnceLock<&'static Route>]>,
    /// Those with a name, in the order in which they were added.
    by_index: Box<[OnceLock<&'static Route>]>,
    unmatched: &'static Route,
    other: &'static Route,
    adding: Mutex<usize>,
    /// Set once no name can be added, so that later ones need not take the lock to hear so.
    full: AtomicBool,
}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.named()).finish()
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| OnceLock::new()).collect(),
            by_index: (0..MOST_ROUTES).map(|_| OnceLock::new()).collect(),
            unmatched: Route::new(UNMATCHED_ROUTE, MOST_ROUTES + 1),
            other: Route::new(OTHER_ROUTE, MOST_ROUTES),
            adding: Mutex::new(0),
            full: AtomicBool::new(false),
        }
    }
}

impl RouteTable {
    pub(crate) fn unmatched(&self) -> &'static Route {
        self.unmatched
    }

    /// Returns the counters of `name`, added if there is room, else those of `<other>`.
    pub(crate) fn find(&self, name: &str) -> &'static Route {
        let start = slot_of(name);
        for step in 0..SLOTS {
            match self.slots[(start + step) % SLOTS].get() {
                Some(route) if *route.name == *name => return route,
                Some(_) => {}
                // A name added meanwhile by another thread has set this after its slot.
                None if self.full.load(Acquire) => return self.other,
                None => return self.add(name, start),
            }
        }
        self.other
    }

    #[cold]
    fn add(&self, name: &str, start: usize) -> &'static Route {
        let mut names = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        for step in 0..SLOTS {
            let slot = &self.slots[(start + step) % SLOTS];
            match slot.get() {
                // Another thread may have added it meanwhile.
                Some(route) if *route.name == *name => return route,
                Some(_) => {}
                None if *names >= MOST_ROUTES => return self.other,
                None => {
                    let route = Route::new(name, *names);
                    // First, so that whoever finds the route by name finds it by its place too.
                    let _ = self.by_index[*names].set(route);
                    let _ = slot.set(route);
                    *names += 1;
                    self.full.store(*names >= MOST_ROUTES, Release);
                    return route;
                }
            }
        }
        self.other
    }

    /// The route with this index.
    pub(crate) fn at(&self, index: usize) -> &'static Route {
        match self.by_index.get(index).and_then(OnceLock::get) {
            Some(route) => route,
            None if index == self.other.index => self.other,
            None => self.unmatched,
        }
    }

    fn named(&self) -> impl Iterator<Item = &'static Route> + '_ {
        self.slots.iter().filter_map(|slot| slot.get().copied()).chain([self.other])
    }

    /// Every route that has seen a request, by name; `counts` gives what each thread counted for
    /// a route. What no named route was admitted for is the unmatched one's: requests without a
    /// route are not counted a second time.
    pub(crate) fn figures<'a, I>(
        &self,
        totals: Totals,
        counts: impl Fn(usize) -> I,
    ) -> Vec<RouteFigures>
    where
        I: Iterator<Item = &'a RouteCounts>,
    {
        let named = self.named();
        let mut figures: Vec<_> = named.map(|route| route.figures(counts(route.index))).collect();
        let sum = |of: fn(&RouteFigures) -> u64| figures.iter().map(of).sum::<u64>();
        let unmatched = RouteFigures {
            admitted: totals.admitted.saturating_sub(sum(|route| route.admitted)),
            in_flight: totals.in_flight.saturating_sub(sum(|route| route.in_flight)),
            reserved_bytes: totals.reserved.saturating_sub(sum(|route| route.reserved_bytes)),
            ..self.unmatched.figures(counts(self.unmatched.index))
        };
        figures.push(unmatched);
        figures.retain(RouteFigures::seen);
        figures.sort_by(|a, b| a.name.cmp(&b.name));
        figures
    }
}

/// Sums over all routes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) admitted: u64,
    pub(crate) in_flight: u64,
    pub(crate) reserved: u64,
}

impl RouteFigures {
    fn seen(&self) -> bool {
        self.admitted + self.shed_memory + self.shed_too_large + self.cancelled > 0
    }
}

/// Where to look for a name first. The names are route templates of the program, not what
/// clients choose, so this need only be quick.
#[inline]
fn slot_of(name: &str) -> usize {
    /// 2^64 divided by the golden ratio, which spreads neighbours (Knuth, TAOCP 6.4).
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = name.len() as u64;
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD);
    }
    for byte in rest {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(SPREAD);
    }
    (hash >> 32) as usize % SLOTS
}

impl Route {
    /// Kept for the life of the process, like the ledger; at most 202 of them.
    fn new(name: &str, index: usize) -> &'static Self {
        Box::leak(Box::new(Self {
            name: name.into(),
            index,
            shed_memory: AtomicU64::new(0),
            shed_too_large: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            learned: AtomicU64::new(0),
            excess: AtomicU64::new(0),
            ratio: AtomicU64::new(RATIO_ONE),
            known: AtomicBool::new(false),
            last_reason: AtomicU8::new(0),
        }))
    }

    /// Which of the counters of a thread are this route's.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Takes one request into account that took `bytes` at most beyond its body, and for which
    /// `declared` bytes were declared, if any were.
    pub(crate) fn learn(&self, bytes: u64, declared: Option<u64>) {
        rise_or_sink(&self.learned, bytes);
        if let Some(declared) = declared.filter(|bytes| *bytes > 0) {
            rise_or_sink(&self.excess, bytes.saturating_sub(declared));
            let ratio = u128::from(bytes) * u128::from(RATIO_ONE) / u128::from(declared);
            rise_or_sink(&self.ratio, u64::try_from(ratio).unwrap_or(u64::MAX).max(RATIO_ONE));
        }
        self.known.store(true, Relaxed);
    }

    /// What a request takes for which `declared` bytes were declared. What others took beyond
    /// theirs may be a share of it or an amount beside it; the lesser of the two is believed. Until
    /// one has had its answer, at least `guess`: a declaration that nobody has checked.
    pub(crate) fn corrected(&self, declared: u64, guess: impl FnOnce() -> u64) -> u64 {
        if !self.known.load(Relaxed) {
            return declared.max(guess());
        }
        let ratio = u128::from(self.ratio.load(Relaxed));
        let scaled = u128::from(declared) * ratio / u128::from(RATIO_ONE);
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
        scaled.min(declared.saturating_add(self.excess.load(Relaxed)))
    }

    /// Takes what a request at work holds into account.
    pub(crate) fn note_peak(&self, bytes: u64) {
        self.learned.fetch_max(bytes, Relaxed);
    }

    /// What a request takes at most beyond its body: as learned, or at least `guess` until one has
    /// had its answer.
    pub(crate) fn learned_or(&self, guess: impl FnOnce() -> u64) -> u64 {
        let seen = self.learned.load(Relaxed);
        if self.known.load(Relaxed) { seen } else { seen.max(guess()) }
    }

    pub(crate) fn count_shed(&self, reason: RefusalReason) {
        let (counter, code) = match reason {
            RefusalReason::Pressure => (&self.shed_memory, 1),
            RefusalReason::NeverFits => (&self.shed_too_large, 2),
            RefusalReason::Cancelled => (&self.cancelled, 3),
        };
        counter.fetch_add(1, Relaxed);
        self.last_reason.store(code, Relaxed);
    }

    fn figures<'a>(&self, counts: impl Iterator<Item = &'a RouteCounts>) -> RouteFigures {
        let (mut admitted, mut finished, mut reserved) = (0_u64, 0_u64, 0_u64);
        let (mut allocated, mut live) = (0_u64, 0_u64);
        for count in counts {
            finished = finished.wrapping_add(count.finished.value());
            admitted = admitted.wrapping_add(count.admitted.value());
            reserved = reserved.wrapping_add(count.reserved.value());
            allocated = allocated.wrapping_add(count.allocated.value());
            live = live.wrapping_add(count.live.value());
        }
        RouteFigures {
            name: self.name.to_string(),
            admitted,
            in_flight: admitted.saturating_sub(finished),
            reserved_bytes: not_below_zero(reserved),
            cancelled: self.cancelled.load(Relaxed),
            memory: (allocated > 0).then(|| RouteMemory {
                allocated_bytes: allocated,
                live_bytes: not_below_zero(live),
                peak_bytes: self.learned.load(Relaxed),
            }),
            shed_memory: self.shed_memory.load(Relaxed),
            shed_too_large: self.shed_too_large.load(Relaxed),
            last_reason: match self.last_reason.load(Relaxed) {
                1 => Some(RefusalReason::Pressure),
                2 => Some(RefusalReason::NeverFits),
                3 => Some(RefusalReason::Cancelled),
                _ => None,
            },
        }
    }
}

/// A ratio of 1.
const RATIO_ONE: u64 = 256;

/// Up at once, and down by a 64th of the difference: what a route takes at its worst is what has to
/// fit. In one step, else what rises meanwhile would be lost, see [`Route::note_peak`].
fn rise_or_sink(kept: &AtomicU64, seen: u64) {
    let next = |known: u64| Some(seen.max(known - known.saturating_sub(seen) / 64));
    let _ = kept.fetch_update(Relaxed, Relaxed, next);
}

/// Threads are read one after the other: a moment's sum can be below nothing.
fn not_below_zero(sum: u64) -> u64 {
    if sum > u64::MAX / 2 { 0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with the counters of one thread.
    struct Counted {
        table: RouteTable,
        counts: Vec<RouteCounts>,
    }

    impl Counted {
        fn new() -> Self {
            let counts =
                std::iter::repeat_with(RouteCounts::default).take(ROUTE_COUNTERS).collect();
            Self { table: RouteTable::default(), counts }
        }

        fn admitted(&self, name: &str, bytes: u64) {
            self.counts[self.table.find(name).index()].admitted(bytes);
        }

        fn figures(&self, totals: Totals) -> Vec<RouteFigures> {
            self.table.figures(totals, |index| self.counts.get(index).into_iter())
        }
    }

    #[test]
    fn the_same_name_finds_the_same_counters() {
        let counted = Counted::new();
        counted.admitted("/a", 10);
        counted.admitted("/a", 5);
        counted.counts[counted.table.find("/a").index()].finished(10);
        counted.table.find("/b").count_shed(RefusalReason::NeverFits);
        let figures = counted.figures(Totals::default());
        assert_eq!(figures.len(), 2);
        assert_eq!(
            (figures[0].admitted, figures[0].in_flight, figures[0].reserved_bytes),
            (2, 1, 5)
        );
        assert_eq!(figures[1].last_reason, Some(RefusalReason::NeverFits));
    }

    #[test]
    fn what_no_route_claims_is_unmatched() {
        let counted = Counted::new();
        counted.admitted("/a", 10);
        let figures = counted.figures(Totals { admitted: 3, in_flight: 2, reserved: 15 });
        let unmatched = figures.iter().find(|route| route.name == UNMATCHED_ROUTE).expect("seen");
        assert_eq!((unmatched.admitted, unmatched.in_flight, unmatched.reserved_bytes), (2, 1, 5));
    }

    #[test]
    fn past_200_names_the_rest_shares_one() {
        let counted = Counted::new();
        for index in 0..500 {
            counted.admitted(&format!("/{index}"), 1);
        }
        let figures = counted.figures(Totals::default());
        assert_eq!(figures.len(), MOST_ROUTES + 1);
        let other = figures.iter().find(|route| route.name == OTHER_ROUTE).expect("present");
        assert_eq!(other.admitted, 300);
    }

    #[test]
    fn a_name_past_the_last_needs_no_lock() {
        let table = RouteTable::default();
        for index in 0..MOST_ROUTES {
            table.find(&format!("/{index}"));
        }
        let _adding = table.adding.lock().expect("not poisoned");
        assert_eq!(*table.find("/other").name, *OTHER_ROUTE);
        assert_eq!(*table.find("/7").name, *"/7");
    }

    #[test]
    fn a_peak_is_not_lost_to_a_request_that_ends_meanwhile() {
        let route = Route::new("/a", 0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    // So near to what is known that nothing falls.
                    route.learn(0, None);
                }
            });
            let lost = (0..20_000).any(|_| {
                route.learned.store(0, Relaxed);
                (1..60).any(|peak| {
                    route.note_peak(peak);
                    route.learned.load(Relaxed) < peak
                })
            });
            done.store(true, Relaxed);
            assert!(!lost);
        });
    }

    #[test]
    fn threads_that_add_the_same_name_share_its_counters() {
        let table = RouteTable::default();
        let found: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let finds = || (0..100).map(|i| table.find(&format!("/{i}")).index()).collect();
            let threads = [(); 4].map(|()| scope.spawn(finds));
            threads.map(|thread| thread.join().expect("no panic")).into()
        });
        assert!(found.iter().all(|indexes| *indexes == found[0]));
        let mut indexes = found[0].clone();
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), 100, "each name has counters of its own");
    }
}
