//! `lru::LruCache` behind a mutex, as servers share it.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::{DefaultHasher, LruCache};
use plimsoll_core::{Holding, PruneError, PruneRequest, Pruned, Pruner};

use crate::{
    pass::{Pass, give_way},
    share::Share,
};

/// Caches up to this size are added up for the list of pruners; larger ones would hold the lock for
/// too long, so their bytes are not told.
const MOST_ADDED_UP: usize = 10_000;

/// Prunes an [`LruCache`] that is shared behind a mutex: the least recently used entries first.
///
/// The lock is taken for 256 entries at a time, and values are dropped outside of it. The table that
/// the cache has made for its capacity stays.
///
/// ```
/// use std::{num::NonZeroUsize, sync::{Arc, Mutex}};
/// use lru::LruCache;
/// use plimsoll_caches::LruPruner;
/// use plimsoll_core::{CleanupLevel, PruneRequest, Pruner};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), plimsoll_core::PruneError> {
/// let cache = Arc::new(Mutex::new(LruCache::new(NonZeroUsize::new(100).expect("not zero"))));
/// for page in 0..10 {
///     cache.lock().expect("no panic").put(page, vec![0_u8; 1_000]);
/// }
/// let pruner = LruPruner::new(Arc::clone(&cache), |_, page: &Vec<u8>| page.capacity());
/// let mut request = PruneRequest::new(CleanupLevel::Moderate);
/// request.target_bytes = Some(2_500);
/// let pruned = pruner.prune(request).await?;
/// assert_eq!((pruned.entries, pruned.bytes), (3, Some(3_000)));
/// assert!(cache.lock().expect("no panic").peek(&2).is_none(), "the oldest went");
/// # Ok(())
/// # }
/// ```
pub struct LruPruner<K, V, S = DefaultHasher> {
    cache: Arc<Mutex<LruCache<K, V, S>>>,
    weigh: fn(&K, &V) -> usize,
    share: Share,
}

impl<K, V, S> LruPruner<K, V, S> {
    /// Prunes `cache`; `weigh` tells what an entry holds, in bytes.
    pub fn new(cache: Arc<Mutex<LruCache<K, V, S>>>, weigh: fn(&K, &V) -> usize) -> Self {
        Self { cache, weigh, share: Share::default() }
    }

    /// Sets the most that each level takes. Default: half and all.
    #[must_use]
    pub fn share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<K, V, S>> {
        // The cache's own state is whole after a panic of somebody who held the lock.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, S> LruPruner<K, V, S>
where
    K: Hash + Eq,
    S: BuildHasher,
{
    /// Takes up to a batch out of the cache, in one lock.
    fn take(&self, pass: &mut Pass) -> Vec<(K, V)> {
        let mut taken = Vec::new();
        let mut cache = self.lock();
        while !pass.is_over() {
            let Some((key, value)) = cache.pop_lru() else { break };
            pass.took((self.weigh)(&key, &value));
            taken.push((key, value));
            if pass.is_batch_full() {
                break;
            }
        }
        taken
    }
}

impl<K, V, S> Pruner for LruPruner<K, V, S>
where
    K: Hash + Eq + Send + 'static,
    V: Send + 'static,
    S: BuildHasher + Send + 'static,
{
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let mut pass = Pass::new(self.share, request, self.lock().len() as u64);
        while !pass.is_over() {
            let taken = self.take(&mut pass);
            if taken.is_empty() {
                break; // others have emptied it meanwhile
            }
            drop(taken);
            give_way().await;
        }
        Ok(pass.told())
    }

    fn holding(&self) -> Holding {
        let cache = self.lock();
        let add_up = || cache.iter().map(|(key, value)| (self.weigh)(key, value) as u64).sum();
        Holding::new(Some(cache.len() as u64), (cache.len() <= MOST_ADDED_UP).then(add_up))
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        let cache = self.lock();
        let mut pass = Pass::new(self.share, request, cache.len() as u64);
        for (key, value) in cache.iter().rev() {
            if pass.is_over() {
                break;
            }
            pass.took((self.weigh)(key, value));
        }
        Some(pass.told())
    }
}

impl<K, V, S> fmt::Debug for LruPruner<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LruPruner").field("share", &self.share).finish_non_exhaustive()
    }
}
