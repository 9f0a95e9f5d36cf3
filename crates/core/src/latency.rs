//! How long requests took lately, by route: windows that an aggressive cleanup clears.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Serialize, Serializer};

use crate::{
    pruner::{CleanupLevel, Holding, PruneError, PruneRequest, Pruned, Pruner},
    registry::{CleanupRegistry, Registration},
    routes::{MOST_ROUTES, OTHER_ROUTE},
    units::allocation_bytes,
};

/// The pruner's name among the actions of a cleanup.
const PRUNER: &str = "performance_metrics";
/// Durations kept of each route, the newest: a 99th percentile needs at least 100.
const WINDOW: usize = 256;

/// The pruner `performance_metrics`: a fixed window of the newest durations per route.
///
/// Cheap to clone; clones share the windows. The first 200 routes get a window each, all later
/// ones share `<other>`, so the memory is bounded (about 220 kB). Recording takes one short lock.
/// Only an aggressive cleanup clears the windows; counters that are exported as metrics live
/// elsewhere and are never reset.
///
/// ```
/// # use std::time::Duration;
/// # use plimsoll_core::LatencyWindows;
/// let latency = LatencyWindows::new();
/// latency.record("/", Duration::from_millis(7));
/// assert_eq!(latency.snapshot()[0].max, Duration::from_millis(7));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LatencyWindows {
    windows: Arc<Mutex<HashMap<Box<str>, Window>>>,
}

impl LatencyWindows {
    /// Makes windows with nothing in them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the time that a request to `route` took; give the route's template, such as
    /// `/rooms/{id}`, not the path. Stored in microseconds, at most 71 minutes.
    pub fn record(&self, route: &str, took: Duration) {
        let mut windows = self.lock();
        if let Some(window) = windows.get_mut(route) {
            return window.record(took);
        }
        let full = windows.len() >= MOST_ROUTES;
        let name = if full { OTHER_ROUTE } else { route };
        windows.entry(name.into()).or_default().record(took);
    }

    /// Registers it under its name, `performance_metrics`.
    pub fn register(&self, registry: &CleanupRegistry) -> Registration {
        registry.register(PRUNER, self.clone())
    }

    /// Sums up every route, ordered by name.
    pub fn snapshot(&self) -> Vec<RouteLatency> {
        // Copied first and sorted later: recording must not wait for 200 sorts.
        let copies: Vec<_> =
            self.lock().iter().map(|(route, window)| (route.clone(), window.clone())).collect();
        let mut routes: Vec<_> =
            copies.into_iter().map(|(route, window)| window.summary(route)).collect();
        routes.sort_unstable_by(|one, two| one.route.cmp(&two.route));
        routes
    }

    /// Drops every window.
    pub fn clear(&self) -> Pruned {
        // Taken whole, so that the table goes too and nothing is freed under the lock.
        let cleared = mem::take(&mut *self.lock());
        let held = holding(&cleared);
        drop(cleared);
        Pruned { entries: held.0, bytes: Some(held.1), detail: None }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pruner for LatencyWindows {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        Ok(match request.level {
            CleanupLevel::Moderate => Pruned::nothing(),
            CleanupLevel::Aggressive => self.clear(),
        })
    }

    fn least_level(&self) -> CleanupLevel {
        CleanupLevel::Aggressive
    }

    fn holding(&self) -> Holding {
        let (entries, bytes) = holding(&self.lock());
        Holding::new(Some(entries), Some(bytes))
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        Some(match request.level {
            CleanupLevel::Moderate => Pruned::nothing(),
            CleanupLevel::Aggressive => {
                let (entries, bytes) = holding(&self.lock());
                Pruned::entries(entries).bytes(bytes)
            }
        })
    }
}

/// What one route took lately. As JSON the times are milliseconds (`p50Ms`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RouteLatency {
    /// The route's template, or `<other>`.
    pub route: String,
    /// Requests recorded since the windows were cleared.
    pub count: u64,
    /// Half of the requests in the window took at most this.
    #[serde(rename = "p50Ms", serialize_with = "millis")]
    pub p50: Duration,
    /// 99 % of the requests in the window took at most this.
    #[serde(rename = "p99Ms", serialize_with = "millis")]
    pub p99: Duration,
    /// The longest in the window.
    #[serde(rename = "maxMs", serialize_with = "millis")]
    pub max: Duration,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1_000.0)
}

/// The newest durations of one route, in microseconds; full, it is overwritten in a circle.
#[derive(Clone, Debug, Default)]
struct Window {
    micros: Vec<u32>,
    count: u64,
}

impl Window {
    fn record(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.micros.len() < WINDOW {
            self.micros.push(micros);
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "less than the window's size")]
            let oldest = (self.count % WINDOW as u64) as usize;
            self.micros[oldest] = micros;
        }
        self.count += 1;
    }

    fn summary(self, route: Box<str>) -> RouteLatency {
        let mut sorted = self.micros;
        sorted.sort_unstable();
        RouteLatency {
            route: route.into(),
            count: self.count,
            p50: percentile(&sorted, 50),
            p99: percentile(&sorted, 99),
            max: percentile(&sorted, 100),
        }
    }
}

/// Nearest rank: the smallest value that at least `percent` of all do not exceed.
fn percentile(sorted: &[u32], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    let micros = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
    Duration::from_micros(micros.into())
}

/// Durations held, and the bytes of the table, the names and the windows.
fn holding(windows: &HashMap<Box<str>, Window>) -> (u64, u64) {
    let table = windows.capacity() * size_of::<(Box<str>, Window)>();
    let content: usize = windows
        .iter()
        .map(|(route, window)| {
            allocation_bytes(route.len())
                + allocation_bytes(window.micros.capacity() * size_of::<u32>())
        })
        .sum();
    let entries: usize = windows.values().map(|window| window.micros.len()).sum();
    (entries as u64, (table + content) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn percentiles_are_those_of_the_newest_256() {
        let latency = LatencyWindows::new();
        (0..1_000).for_each(|_| latency.record("/", ms(9_999)));
        (1..=256).for_each(|millis| latency.record("/", ms(millis)));
        let routes = latency.snapshot();
        assert_eq!(routes.len(), 1);
        let found = (routes[0].count, routes[0].p50, routes[0].p99, routes[0].max);
        assert_eq!(found, (1_256, ms(128), ms(254), ms(256)));
    }

    #[test]
    fn one_request_is_every_percentile() {
        let latency = LatencyWindows::new();
        latency.record("/a", ms(3));
        latency.record("/a", Duration::MAX);
        latency.clear();
        latency.record("/a", ms(3));
        let json = serde_json::to_value(latency.snapshot()).unwrap();
        let expected = serde_json::json!([
            {"route": "/a", "count": 1, "p50Ms": 3.0, "p99Ms": 3.0, "maxMs": 3.0}
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn many_routes_share_one_window_and_stay_within_bounds() {
        let latency = LatencyWindows::new();
        for round in 0..300 {
            for route in 0..1_000 {
                latency.record(&format!("/{route:04}"), ms(round));
            }
        }
        let routes = latency.snapshot();
        assert_eq!(routes.len(), MOST_ROUTES + 1);
        let other = routes.iter().find(|route| route.route == OTHER_ROUTE).unwrap();
        assert_eq!(other.count, 800 * 300);
        assert!(latency.holding().bytes.unwrap() < 260_000, "{:?}", latency.holding());
    }

    #[tokio::test]
    async fn only_an_aggressive_cleanup_clears_the_windows() {
        let latency = LatencyWindows::new();
        (0..10).for_each(|_| latency.clone().record("/", ms(1)));
        assert_eq!(latency.least_level(), CleanupLevel::Aggressive);
        let moderate = PruneRequest::new(CleanupLevel::Moderate);
        assert_eq!(latency.prune(moderate).await.unwrap(), Pruned::nothing());
        assert_eq!(latency.snapshot().len(), 1);

        let aggressive = PruneRequest::new(CleanupLevel::Aggressive);
        let previewed = latency.preview(aggressive).unwrap();
        let pruned = latency.prune(aggressive).await.unwrap();
        assert_eq!(pruned, previewed);
        assert_eq!(pruned.entries, 10);
        assert!(pruned.bytes.unwrap() > 40);
        assert_eq!(latency.snapshot(), []);
        assert_eq!(latency.holding(), Holding::new(Some(0), Some(0)));
    }
}
