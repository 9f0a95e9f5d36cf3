//! `quick_cache::sync::Cache`.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use plimsoll_core::{Holding, PruneError, PruneRequest, Pruned, Pruner};
use quick_cache::{
    DefaultHashBuilder, Lifecycle, UnitWeighter, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::share::Share;

/// The capacity is lowered in so many steps: each shard evicts down to its part, and shards are not
/// equally full, so that one step would take more from some than was wanted of all.
const STEPS: u64 = 64;

/// Prunes a [`quick_cache::sync::Cache`] by its own policy: what was not asked for again goes first.
///
/// The capacity is lowered step by step until enough was evicted, and put back. Weights are taken
/// for bytes; a weigher that counts something else says what one is worth by
/// [`bytes_per_weight`](Self::bytes_per_weight).
///
/// ```
/// use std::sync::Arc;
/// use plimsoll_caches::QuickCachePruner;
/// use plimsoll_core::{CleanupLevel, PruneRequest, Pruner};
/// use quick_cache::{Weighter, sync::Cache};
///
/// #[derive(Clone)]
/// struct Bytes;
/// impl Weighter<u32, Vec<u8>> for Bytes {
///     fn weight(&self, _: &u32, page: &Vec<u8>) -> u64 {
///         page.capacity() as u64
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), plimsoll_core::PruneError> {
/// let pages = Arc::new(Cache::with_weighter(1_000, 64_000_000, Bytes));
/// pages.insert(1, vec![0; 4_096]);
/// let pruner = QuickCachePruner::new(Arc::clone(&pages));
/// let pruned = pruner.prune(PruneRequest::new(CleanupLevel::Aggressive)).await?;
/// assert_eq!((pruned.bytes, pages.len()), (Some(4_096), 0));
/// # Ok(())
/// # }
/// ```
pub struct QuickCachePruner<
    K,
    V,
    We = UnitWeighter,
    B = DefaultHashBuilder,
    L = DefaultLifecycle<K, V>,
> {
    cache: Arc<Cache<K, V, We, B, L>>,
    bytes_per_weight: u64,
    share: Share,
}

impl<K, V, We, B, L> QuickCachePruner<K, V, We, B, L> {
    /// Prunes `cache`, whose weights are bytes.
    pub fn new(cache: Arc<Cache<K, V, We, B, L>>) -> Self {
        Self { cache, bytes_per_weight: 1, share: Share::default() }
    }

    /// Sets the bytes that one weight stands for, such as the usual size of an entry where each
    /// weighs 1. Default: 1. With 0 no bytes are claimed, and a target is never met.
    #[must_use]
    pub fn bytes_per_weight(mut self, bytes: u64) -> Self {
        self.bytes_per_weight = bytes;
        self
    }

    /// Sets the most that each level takes. Default: half and all.
    #[must_use]
    pub fn share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }
}

impl<K, V, We, B, L> QuickCachePruner<K, V, We, B, L>
where
    K: Eq + Hash,
    V: Clone,
    We: Weighter<K, V> + Clone,
    B: BuildHasher + Clone,
    L: Lifecycle<K, V> + Clone,
{
    /// Weight that a request may take of what is held now.
    fn wanted(&self, request: PruneRequest, held: u64) -> u64 {
        let share = self.share.of(request.level, held);
        let target = request.target_bytes.map(|bytes| match self.bytes_per_weight {
            0 => u64::MAX,
            each => bytes.div_ceil(each),
        });
        share.min(target.unwrap_or(u64::MAX))
    }

    fn evict(&self, wanted: u64, held: u64) {
        if wanted == 0 {
            return;
        }
        if wanted >= held {
            // A capacity of nothing would make the cache forget how it divides itself.
            return self.cache.clear();
        }
        let goal = held - wanted;
        let whole = Restored { cache: &*self.cache, capacity: self.cache.capacity() };
        let step = (wanted / STEPS).max(1);
        // Above the mean the fullest shards evict already.
        let mut capacity = whole.capacity.min(held.saturating_mul(2));
        while self.cache.weight() > goal && capacity > step {
            capacity -= step;
            self.cache.set_capacity(capacity);
        }
    }

    fn told(&self, entries: u64, weight: u64) -> Pruned {
        let pruned = Pruned::entries(entries);
        match self.bytes_per_weight {
            0 => pruned,
            each => pruned.bytes(weight.saturating_mul(each)),
        }
    }
}

/// Puts the capacity back, also when a value panics as it is dropped.
struct Restored<'a, K, V, We, B, L>
where
    K: Eq + Hash,
    V: Clone,
    We: Weighter<K, V> + Clone,
    B: BuildHasher + Clone,
    L: Lifecycle<K, V> + Clone,
{
    cache: &'a Cache<K, V, We, B, L>,
    capacity: u64,
}

impl<K, V, We, B, L> Drop for Restored<'_, K, V, We, B, L>
where
    K: Eq + Hash,
    V: Clone,
    We: Weighter<K, V> + Clone,
    B: BuildHasher + Clone,
    L: Lifecycle<K, V> + Clone,
{
    fn drop(&mut self) {
        self.cache.set_capacity(self.capacity);
    }
}

impl<K, V, We, B, L> Pruner for QuickCachePruner<K, V, We, B, L>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    We: Weighter<K, V> + Clone + Send + Sync + 'static,
    B: BuildHasher + Clone + Send + Sync + 'static,
    L: Lifecycle<K, V> + Clone + Send + Sync + 'static,
{
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let (entries, weight) = (self.cache.len() as u64, self.cache.weight());
        self.evict(self.wanted(request, weight), weight);
        let left = (self.cache.len() as u64, self.cache.weight());
        Ok(self.told(entries.saturating_sub(left.0), weight.saturating_sub(left.1)))
    }

    fn holding(&self) -> Holding {
        let bytes = self.cache.weight().checked_mul(self.bytes_per_weight);
        Holding::new(Some(self.cache.len() as u64), bytes.filter(|_| self.bytes_per_weight > 0))
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        let weight = self.cache.weight();
        let wanted = self.wanted(request, weight);
        // In proportion: which entries the policy would choose is not told.
        let entries = u128::from(wanted) * (self.cache.len() as u128);
        let entries = entries.checked_div(u128::from(weight)).unwrap_or(0);
        Some(self.told(u64::try_from(entries).unwrap_or(u64::MAX), wanted))
    }
}

impl<K, V, We, B, L> fmt::Debug for QuickCachePruner<K, V, We, B, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuickCachePruner").field("share", &self.share).finish_non_exhaustive()
    }
}
