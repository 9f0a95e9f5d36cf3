//! What moka has been told to drop and still holds is freed by a pass.
//!
//! Alone in its binary: threads that look into some cache of moka's put off what all of them free.

use std::sync::{Arc, Weak};

use moka::sync::Cache;
use plimsoll_caches::MokaPruner;
use plimsoll_core::{CleanupLevel, PruneRequest, Pruned, Pruner};

#[tokio::test]
async fn what_the_application_has_invalidated_is_freed_by_a_pass_that_takes_nothing() {
    let cache: Cache<usize, Arc<Vec<u8>>> = Cache::new(1_000);
    let pages: Vec<Weak<Vec<u8>>> = (0..100)
        .map(|key| {
            let page = Arc::new(vec![1; 1_000]);
            cache.insert(key, Arc::clone(&page));
            Arc::downgrade(&page)
        })
        .collect();
    let living = || pages.iter().filter_map(Weak::upgrade).count();
    cache.run_pending_tasks();
    cache.invalidate_all();
    cache.run_pending_tasks();
    assert_eq!((cache.entry_count(), living()), (0, 100), "control: moka frees lazily");
    let pruner = MokaPruner::new(cache, |_, page| page.capacity());
    let mut request = PruneRequest::new(CleanupLevel::Moderate);
    request.target_bytes = Some(0);
    assert_eq!((pruner.prune(request).await.unwrap(), living()), (Pruned::nothing(), 0));
}
