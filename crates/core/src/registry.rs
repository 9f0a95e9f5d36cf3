//! Where services register what can be pruned.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::pruner::{CleanupLevel, Holding, PruneError, PruneRequest, Pruned, Pruner};

/// Longest name kept, in characters; the rest is cut off.
const LONGEST_NAME: usize = 64;

/// Holds the pruners of a program. Cheap to clone; clones share their pruners.
///
/// ```
/// use plimsoll_core::{CleanupRegistry, PruneRequest, Pruned};
///
/// let registry = CleanupRegistry::new();
/// let cache = registry.register_fn("cache", |request: PruneRequest| async move {
///     let _ = request.level;
///     Ok(Pruned::entries(10).bytes(4096))
/// });
/// assert_eq!(registry.names(), ["cache"]);
/// drop(cache); // unregisters
/// assert!(registry.names().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct CleanupRegistry {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: Mutex<Vec<Arc<Entry>>>,
    totals: Arc<Totals>,
    next_id: AtomicU64,
}

/// Keeps a pruner registered; dropping it unregisters. A pass that is running ends by itself.
#[must_use = "dropping a registration unregisters the pruner"]
pub struct Registration {
    registry: Weak<Inner>,
    id: u64,
}

type PruneFuture<'a> = Pin<Box<dyn Future<Output = Result<Pruned, PruneError>> + Send + 'a>>;

/// A [`Pruner`] behind a pointer.
trait DynPruner: Send + Sync {
    fn prune(&self, request: PruneRequest) -> PruneFuture<'_>;
    fn least_level(&self) -> CleanupLevel;
    fn holding(&self) -> Holding;
    fn preview(&self, request: PruneRequest) -> Option<Pruned>;
}

impl<P: Pruner> DynPruner for P {
    fn prune(&self, request: PruneRequest) -> PruneFuture<'_> {
        Box::pin(Pruner::prune(self, request))
    }

    fn least_level(&self) -> CleanupLevel {
        Pruner::least_level(self)
    }

    fn holding(&self) -> Holding {
        Pruner::holding(self)
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        Pruner::preview(self, request)
    }
}

/// One registered pruner and what is known of it.
pub(crate) struct Entry {
    id: u64,
    pub(crate) name: String,
    pruner: Box<dyn DynPruner>,
    learned: Mutex<Learned>,
    /// Whether a pass is under way; one that blocks its thread outlives its deadline.
    busy: AtomicBool,
    totals: Arc<Totals>,
}

/// Entries dropped by name; they outlive the registrations, so that a counter never falls.
type Totals = Mutex<BTreeMap<String, u64>>;

/// Names counted apart; the rest shares [`OTHER_PRUNER`].
const MOST_TOTALS: usize = 200;
const OTHER_PRUNER: &str = "<other>";

/// What past passes taught.
#[derive(Clone, Copy, Debug, Default)]
struct Learned {
    passes: u64,
    removed_total: u64,
    freed_bytes: u64,
    spent: Duration,
    last_removed: Option<u64>,
}

/// A pruner as the list of pruners shows it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PrunerFigures {
    /// The name it was registered under.
    pub name: String,
    /// The mildest cleanup that runs it.
    pub least_level: CleanupLevel,
    /// Entries held now.
    pub entries: Option<u64>,
    /// Bytes held now.
    pub bytes: Option<u64>,
    /// Passes run since it was registered.
    pub passes: u64,
    /// Entries dropped since it was registered.
    pub removed_total: u64,
    /// Entries dropped by the last pass.
    pub last_removed: Option<u64>,
    /// Bytes freed per millisecond, as learned; decides the order of a cleanup.
    pub bytes_per_millisecond: Option<u64>,
}

struct FnPruner<F>(F);

impl<F, Fut> Pruner for FnPruner<F>
where
    F: Fn(PruneRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Pruned, PruneError>> + Send,
{
    fn prune(
        &self,
        request: PruneRequest,
    ) -> impl Future<Output = Result<Pruned, PruneError>> + Send {
        (self.0)(request)
    }
}

impl CleanupRegistry {
    /// Starts without pruners.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a pruner under a name, for as long as the registration lives. Names need not
    /// be unique; control characters are replaced and 64 characters are kept.
    pub fn register(&self, name: impl Into<String>, pruner: impl Pruner) -> Registration {
        let id = self.inner.next_id.fetch_add(1, Relaxed);
        let entry = Arc::new(Entry {
            id,
            name: printable(&name.into()),
            pruner: Box::new(pruner),
            learned: Mutex::default(),
            busy: AtomicBool::new(false),
            totals: Arc::clone(&self.inner.totals),
        });
        self.inner.lock().push(entry);
        Registration { registry: Arc::downgrade(&self.inner), id }
    }

    /// Registers a closure that prunes at every level.
    pub fn register_fn<F, Fut>(&self, name: impl Into<String>, prune: F) -> Registration
    where
        F: Fn(PruneRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Pruned, PruneError>> + Send + 'static,
    {
        self.register(name, FnPruner(prune))
    }

    /// The names in the order of registration.
    pub fn names(&self) -> Vec<String> {
        self.inner.lock().iter().map(|entry| entry.name.clone()).collect()
    }

    /// Every pruner with what it holds and did, in the order of registration.
    pub fn figures(&self) -> Vec<PrunerFigures> {
        let entries = self.inner.lock().clone();
        entries.iter().map(|entry| entry.figures()).collect()
    }

    /// Entries dropped since the start, by name.
    pub(crate) fn removed_totals(&self) -> BTreeMap<String, u64> {
        self.inner.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pruners that a cleanup of `level` runs, most bytes per millisecond first; those not
    /// yet learned come before, in the order of registration, so that they are.
    pub(crate) fn plan(&self, level: CleanupLevel) -> Vec<Arc<Entry>> {
        let entries = self.inner.lock().clone();
        let mut plan: Vec<_> =
            entries.into_iter().filter(|entry| entry.least_level() <= level).collect();
        // Each is asked once: a pass that ends meanwhile changes its rate, and a sort by keys that
        // move may panic.
        plan.sort_by_cached_key(|entry| std::cmp::Reverse(entry.rate().unwrap_or(u64::MAX)));
        plan
    }
}

impl fmt::Debug for CleanupRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupRegistry").field("names", &self.names()).finish()
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Keeps the pruner registered for as long as the registry lives.
    pub fn forget(mut self) {
        self.registry = Weak::new();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(inner) = self.registry.upgrade() {
            let removed = {
                let mut entries = inner.lock();
                let found = entries.iter().position(|entry| entry.id == self.id);
                found.map(|index| entries.remove(index))
            };
            // After the lock: a pruner's own drop may register or unregister others.
            drop(removed);
        }
    }
}

impl Entry {
    /// Runs a pass; `None` when the last one still runs. A panic inside `prune` itself, before
    /// its future exists, is caught where the returned future is polled.
    pub(crate) fn prune(
        self: &Arc<Self>,
        request: PruneRequest,
    ) -> Option<impl Future<Output = Result<Pruned, PruneError>> + Send + use<>> {
        if self.busy.swap(true, Relaxed) {
            return None;
        }
        let pass = Pass(Arc::clone(self));
        Some(async move { pass.0.pruner.prune(request).await })
    }

    pub(crate) fn least_level(&self) -> CleanupLevel {
        guarded(|| self.pruner.least_level()).unwrap_or(CleanupLevel::Moderate)
    }

    /// `None` when it cannot tell, or panicked.
    pub(crate) fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        guarded(|| self.pruner.preview(request)).flatten()
    }

    pub(crate) fn learn(&self, pruned: &Pruned, spent: Duration) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.passes += 1;
        learned.removed_total = learned.removed_total.saturating_add(pruned.entries);
        learned.last_removed = Some(pruned.entries);
        learned.freed_bytes = learned.freed_bytes.saturating_add(pruned.bytes.unwrap_or(0));
        learned.spent = learned.spent.saturating_add(spent);
        drop(learned);
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let known = totals.contains_key(&self.name) || totals.len() < MOST_TOTALS;
        let name = if known { self.name.as_str() } else { OTHER_PRUNER };
        let total = totals.entry(name.to_owned()).or_default();
        *total = total.saturating_add(pruned.entries);
    }

    /// Bytes freed per millisecond over all passes; `None` before the first that freed any.
    fn rate(&self) -> Option<u64> {
        let learned = *self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        (learned.freed_bytes > 0).then(|| {
            let micros = learned.spent.as_micros().max(1);
            u64::try_from(u128::from(learned.freed_bytes) * 1_000 / micros).unwrap_or(u64::MAX)
        })
    }

    fn figures(&self) -> PrunerFigures {
        let holding = guarded(|| self.pruner.holding()).unwrap_or_default();
        let learned = *self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        PrunerFigures {
            name: self.name.clone(),
            least_level: self.least_level(),
            entries: holding.entries,
            bytes: holding.bytes,
            passes: learned.passes,
            removed_total: learned.removed_total,
            last_removed: learned.last_removed,
            bytes_per_millisecond: self.rate(),
        }
    }
}

/// A pass under way; however it ends, the pruner may be run again afterwards.
struct Pass(Arc<Entry>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.busy.store(false, Relaxed);
    }
}

/// A pruner's code may panic; that must not reach whoever asks about it.
fn guarded<T>(ask: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(ask)).ok()
}

/// Names reach terminals, logs and labels.
fn printable(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    kept.take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(registry: &CleanupRegistry, name: &str, bytes: u64) -> Registration {
        registry.register_fn(name, move |_| async move { Ok(Pruned::entries(1).bytes(bytes)) })
    }

    #[test]
    fn dropping_a_registration_removes_that_pruner_only() {
        let registry = CleanupRegistry::new();
        let first = answering(&registry, "same", 1);
        let second = answering(&registry, "same", 2);
        drop(first);
        assert_eq!(registry.names(), ["same"]);
        second.forget();
        assert_eq!(registry.names(), ["same"]);
    }

    #[test]
    fn the_plan_puts_the_unknown_first_and_then_the_fastest() {
        let registry = CleanupRegistry::new();
        let _kept = ["slow", "fast", "unknown"].map(|name| answering(&registry, name, 1));
        for entry in registry.plan(CleanupLevel::Moderate) {
            match entry.name.as_str() {
                "slow" => entry.learn(&Pruned::entries(1).bytes(10), Duration::from_millis(10)),
                "fast" => entry.learn(&Pruned::entries(1).bytes(1_000), Duration::from_millis(1)),
                _ => {}
            }
        }
        let plan = registry.plan(CleanupLevel::Moderate);
        let names: Vec<_> = plan.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["unknown", "fast", "slow"]);
    }

    #[test]
    fn a_pruner_whose_questions_panic_is_still_listed() {
        struct Hostile;
        impl Pruner for Hostile {
            async fn prune(&self, _: PruneRequest) -> Result<Pruned, PruneError> {
                Ok(Pruned::nothing())
            }
            fn holding(&self) -> Holding {
                panic!("no figures")
            }
        }
        let registry = CleanupRegistry::new();
        let _hostile = registry.register("\u{1b}[31mred", Hostile);
        let figures = registry.figures();
        assert_eq!((figures[0].name.as_str(), figures[0].bytes), ("\u{fffd}[31mred", None));
    }
}
