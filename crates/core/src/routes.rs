//! Counters per route, bounded: 200 names, then `<other>`.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use crate::ledger::RefusalReason;

/// Names kept before the rest shares `<other>`.
pub const MOST_ROUTES: usize = 200;
/// The route of a request that no router has matched.
pub const UNMATCHED_ROUTE: &str = "<unmatched>";
/// The route of every name past the first [`MOST_ROUTES`].
pub const OTHER_ROUTE: &str = "<other>";
/// Twice the names and more, so that probes stay short.
const SLOTS: usize = 512;

/// What one route did since the start.
#[derive(Debug)]
pub struct Route {
    name: Box<str>,
    admitted: AtomicU64,
    finished: AtomicU64,
    reserved: AtomicU64,
    shed_memory: AtomicU64,
    shed_too_large: AtomicU64,
    last_reason: AtomicU8,
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
    /// Why the last one was shed.
    pub last_reason: Option<RefusalReason>,
}

/// Finds a route's counters without a lock; a name is added under one, once.
pub(crate) struct RouteTable {
    slots: Box<[OnceLock<&'static Route>]>,
    unmatched: &'static Route,
    other: &'static Route,
    adding: Mutex<usize>,
    /// Set once no name can be added, so that later ones need not take the lock to hear so.
    full: AtomicBool,
    hasher: RandomState,
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
            unmatched: Route::new(UNMATCHED_ROUTE),
            other: Route::new(OTHER_ROUTE),
            adding: Mutex::new(0),
            full: AtomicBool::new(false),
            hasher: RandomState::new(),
        }
    }
}

impl RouteTable {
    pub(crate) fn unmatched(&self) -> &'static Route {
        self.unmatched
    }

    /// Returns the counters of `name`, added if there is room, else those of `<other>`.
    pub(crate) fn find(&self, name: &str) -> &'static Route {
        let start = self.slot_of(name);
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
                    *names += 1;
                    let route = slot.get_or_init(|| Route::new(name));
                    self.full.store(*names >= MOST_ROUTES, Release);
                    return route;
                }
            }
        }
        self.other
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
    fn slot_of(&self, name: &str) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name.as_bytes());
        hasher.finish() as usize % SLOTS
    }

    fn named(&self) -> impl Iterator<Item = &'static Route> + '_ {
        self.slots.iter().filter_map(|slot| slot.get().copied()).chain([self.other])
    }

    /// Every route that has seen a request, by name. What no named route was admitted for is
    /// the unmatched one's: requests without a route are not counted a second time.
    pub(crate) fn figures(&self, totals: Totals) -> Vec<RouteFigures> {
        let mut figures: Vec<_> = self.named().map(Route::figures).collect();
        let sum = |of: fn(&RouteFigures) -> u64| figures.iter().map(of).sum::<u64>();
        let unmatched = RouteFigures {
            admitted: totals.admitted.saturating_sub(sum(|route| route.admitted)),
            in_flight: totals.in_flight.saturating_sub(sum(|route| route.in_flight)),
            reserved_bytes: totals.reserved.saturating_sub(sum(|route| route.reserved_bytes)),
            ..self.unmatched.figures()
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
        self.admitted + self.shed_memory + self.shed_too_large > 0
    }
}

impl Route {
    /// Kept for the life of the process, like the ledger; at most 202 of them.
    fn new(name: &str) -> &'static Self {
        Box::leak(Box::new(Self {
            name: name.into(),
            admitted: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            shed_memory: AtomicU64::new(0),
            shed_too_large: AtomicU64::new(0),
            last_reason: AtomicU8::new(0),
        }))
    }

    #[inline]
    pub(crate) fn count_admitted(&self, bytes: u64) {
        self.admitted.fetch_add(1, Relaxed);
        self.reserved.fetch_add(bytes, Relaxed);
    }

    #[inline]
    pub(crate) fn count_finished(&self, bytes: u64) {
        self.finished.fetch_add(1, Relaxed);
        self.reserved.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn count_shed(&self, reason: RefusalReason) {
        let (counter, code) = match reason {
            RefusalReason::Pressure => (&self.shed_memory, 1),
            RefusalReason::NeverFits => (&self.shed_too_large, 2),
        };
        counter.fetch_add(1, Relaxed);
        self.last_reason.store(code, Relaxed);
    }

    fn figures(&self) -> RouteFigures {
        let finished = self.finished.load(Relaxed);
        let admitted = self.admitted.load(Relaxed);
        RouteFigures {
            name: self.name.to_string(),
            admitted,
            in_flight: admitted.saturating_sub(finished),
            reserved_bytes: self.reserved.load(Relaxed),
            shed_memory: self.shed_memory.load(Relaxed),
            shed_too_large: self.shed_too_large.load(Relaxed),
            last_reason: match self.last_reason.load(Relaxed) {
                1 => Some(RefusalReason::Pressure),
                2 => Some(RefusalReason::NeverFits),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_finds_the_same_counters() {
        let table = RouteTable::default();
        table.find("/a").count_admitted(10);
        table.find("/a").count_admitted(5);
        table.find("/a").count_finished(10);
        table.find("/b").count_shed(RefusalReason::NeverFits);
        let figures = table.figures(Totals::default());
        assert_eq!(figures.len(), 2);
        assert_eq!(
            (figures[0].admitted, figures[0].in_flight, figures[0].reserved_bytes),
            (2, 1, 5)
        );
        assert_eq!(figures[1].last_reason, Some(RefusalReason::NeverFits));
    }

    #[test]
    fn what_no_route_claims_is_unmatched() {
        let table = RouteTable::default();
        table.find("/a").count_admitted(10);
        let figures = table.figures(Totals { admitted: 3, in_flight: 2, reserved: 15 });
        let unmatched = figures.iter().find(|route| route.name == UNMATCHED_ROUTE).expect("seen");
        assert_eq!((unmatched.admitted, unmatched.in_flight, unmatched.reserved_bytes), (2, 1, 5));
    }

    #[test]
    fn past_200_names_the_rest_shares_one() {
        let table = RouteTable::default();
        for index in 0..500 {
            table.find(&format!("/{index}")).count_admitted(1);
        }
        let figures = table.figures(Totals::default());
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
        assert_eq!(table.find("/other").figures().name, OTHER_ROUTE);
        assert_eq!(table.find("/7").figures().name, "/7");
    }

    #[test]
    fn threads_that_add_the_same_name_share_its_counters() {
        let table = RouteTable::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..100).for_each(|i| table.find(&format!("/{i}")).count_admitted(1))
                });
            }
        });
        let figures = table.figures(Totals::default());
        assert_eq!(figures.len(), 100);
        assert!(figures.iter().all(|route| route.admitted == 4));
    }
}
