//! moka's caches, for threads and for tasks.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use moka::{future, sync};
use plimsoll_core::{Holding, PruneError, PruneRequest, Pruned, Pruner};

use crate::{
    pass::{BATCH, Pass, give_way},
    share::Share,
};

/// Prunes a [`moka::sync::Cache`].
///
/// moka drops an entry in two steps: `invalidate` hides it, and its value is freed by
/// `run_pending_tasks`, which the cache itself runs only while it is used. A pass runs them, often
/// enough for the memory to go, and also where nothing was taken, so that what the application has
/// invalidated goes as well.
///
/// ```
/// use moka::sync::Cache;
/// use plimsoll_caches::MokaPruner;
/// use plimsoll_core::{CleanupLevel, CleanupRegistry, PruneRequest, Pruner};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), plimsoll_core::PruneError> {
/// let pages = Cache::builder()
///     .max_capacity(64 * 1024 * 1024)
///     .weigher(|_: &u32, page: &Vec<u8>| u32::try_from(page.capacity()).unwrap_or(u32::MAX))
///     .build();
/// pages.insert(1, vec![0; 4_096]);
///
/// let pruner = MokaPruner::new(pages.clone(), |_, page| page.capacity()).weighs_bytes();
/// let pruned = pruner.prune(PruneRequest::new(CleanupLevel::Aggressive)).await?;
/// assert_eq!((pruned.bytes, pages.weighted_size()), (Some(4_096), 0));
///
/// let registry = CleanupRegistry::new();
/// let _pages = registry.register("pages", pruner);
/// # Ok(())
/// # }
/// ```
pub struct MokaPruner<K, V, S = std::hash::RandomState> {
    cache: sync::Cache<K, V, S>,
    settings: Settings<K, V>,
}

/// Prunes a [`moka::future::Cache`]; as [`MokaPruner`] does.
///
/// ```
/// use moka::future::Cache;
/// use plimsoll_caches::MokaFuturePruner;
/// use plimsoll_core::{CleanupLevel, PruneRequest, Pruner};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), plimsoll_core::PruneError> {
/// let pages: Cache<u32, Vec<u8>> = Cache::new(1_000);
/// for page in 0..10 {
///     pages.insert(page, vec![0; 1_000]).await;
/// }
/// let pruner = MokaFuturePruner::new(pages.clone(), |_, page| page.capacity());
/// let pruned = pruner.prune(PruneRequest::new(CleanupLevel::Moderate)).await?;
/// assert_eq!((pruned.bytes, pages.entry_count()), (Some(5_000), 5));
/// # Ok(())
/// # }
/// ```
pub struct MokaFuturePruner<K, V, S = std::hash::RandomState> {
    cache: future::Cache<K, V, S>,
    settings: Settings<K, V>,
}

/// moka frees what it has dropped an epoch later (crossbeam-epoch), which a run may move on unless another
/// thread is in the middle of a look at some cache. Alone in a process, entries that one run dropped were
/// there after it, and none after the second; a run that finds nothing to do takes microseconds.
const RUNS: usize = 8;

struct Settings<K, V> {
    weigh: fn(&K, &V) -> usize,
    weighs_bytes: bool,
    share: Share,
}

impl<K, V> Settings<K, V> {
    fn new(weigh: fn(&K, &V) -> usize) -> Self {
        Self { weigh, weighs_bytes: false, share: Share::default() }
    }

    fn holding(&self, entries: u64, weight: u64) -> Holding {
        Holding::new(Some(entries), self.weighs_bytes.then_some(weight))
    }

    /// What a pass would take of these entries.
    fn preview(
        &self,
        request: PruneRequest,
        held: u64,
        entries: impl Iterator<Item = (Arc<K>, V)>,
    ) -> Pruned {
        let mut pass = Pass::new(self.share, request, held);
        for (key, value) in entries {
            if pass.is_over() {
                break;
            }
            pass.took((self.weigh)(&key, &value));
        }
        pass.told()
    }

    /// The next entries to take, at most a batch, weighed.
    fn batch(&self, entries: impl Iterator<Item = (Arc<K>, V)>, pass: &mut Pass) -> Vec<Arc<K>> {
        let mut keys = Vec::new();
        for (key, value) in entries {
            if pass.is_over() || keys.len() as u64 == BATCH {
                break;
            }
            pass.took((self.weigh)(&key, &value));
            keys.push(key);
        }
        keys
    }
}

macro_rules! settings {
    ($pruner:ident, $cache:ty) => {
        impl<K, V, S> $pruner<K, V, S> {
            /// Prunes `cache`; `weigh` tells what an entry holds, in bytes.
            pub fn new(cache: $cache, weigh: fn(&K, &V) -> usize) -> Self {
                Self { cache, settings: Settings::new(weigh) }
            }

            /// Says that the cache's own weigher tells bytes, so that the list of pruners can show
            /// what is held. Default: not, and the bytes held are unknown.
            #[must_use]
            pub fn weighs_bytes(mut self) -> Self {
                self.settings.weighs_bytes = true;
                self
            }

            /// Sets the most that each level takes. Default: half and all.
            #[must_use]
            pub fn share(mut self, share: Share) -> Self {
                self.settings.share = share;
                self
            }
        }

        impl<K, V, S> fmt::Debug for $pruner<K, V, S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($pruner))
                    .field("share", &self.settings.share)
                    .finish_non_exhaustive()
            }
        }
    };
}

settings!(MokaPruner, sync::Cache<K, V, S>);
settings!(MokaFuturePruner, future::Cache<K, V, S>);

impl<K, V, S> Pruner for MokaPruner<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        // Counts are as of the last run, so that the share is one of what is there now.
        self.cache.run_pending_tasks();
        let mut pass = Pass::new(self.settings.share, request, self.cache.entry_count());
        while !pass.is_over() {
            let keys = self.settings.batch(self.cache.iter(), &mut pass);
            if keys.is_empty() {
                break; // others have emptied it meanwhile
            }
            for key in &keys {
                self.cache.invalidate(&**key);
            }
            self.cache.run_pending_tasks();
            give_way().await;
        }
        for _ in 0..RUNS {
            self.cache.run_pending_tasks();
            give_way().await;
        }
        Ok(pass.told())
    }

    fn holding(&self) -> Holding {
        self.settings.holding(self.cache.entry_count(), self.cache.weighted_size())
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        Some(self.settings.preview(request, self.cache.entry_count(), self.cache.iter()))
    }
}

impl<K, V, S> Pruner for MokaFuturePruner<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        self.cache.run_pending_tasks().await;
        let mut pass = Pass::new(self.settings.share, request, self.cache.entry_count());
        while !pass.is_over() {
            let keys = self.settings.batch(self.cache.iter(), &mut pass);
            if keys.is_empty() {
                break;
            }
            for key in &keys {
                self.cache.invalidate(&**key).await;
            }
            self.cache.run_pending_tasks().await;
            give_way().await;
        }
        for _ in 0..RUNS {
            self.cache.run_pending_tasks().await;
            give_way().await;
        }
        Ok(pass.told())
    }

    fn holding(&self) -> Holding {
        self.settings.holding(self.cache.entry_count(), self.cache.weighted_size())
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        Some(self.settings.preview(request, self.cache.entry_count(), self.cache.iter()))
    }
}
