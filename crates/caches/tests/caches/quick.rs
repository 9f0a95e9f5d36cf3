use std::sync::Arc;

use plimsoll_caches::QuickCachePruner;
use plimsoll_core::{CleanupLevel, Holding, Pruner};
use quick_cache::{UnitWeighter, Weighter, sync::Cache};

use super::{Filled, Page, gives_up_shares, living_bytes, meets_targets, pages, request};

#[derive(Clone)]
struct Bytes;

impl Weighter<usize, Page> for Bytes {
    fn weight(&self, _: &usize, page: &Page) -> u64 {
        page.capacity() as u64
    }
}

const CAPACITY: u64 = 1 << 30;

fn filled(count: usize) -> Filled<Arc<Cache<usize, Page, Bytes>>> {
    let cache = Cache::with_weighter(20_000, CAPACITY, Bytes);
    let (pages, weak) = pages(count);
    pages.into_iter().enumerate().for_each(|(key, page)| cache.insert(key, page));
    (Arc::new(cache), weak)
}

#[tokio::test]
async fn targets_are_met_and_the_capacity_is_what_it_was() {
    let (cache, weak) = filled(1_000);
    let capacity = cache.capacity();
    meets_targets(&QuickCachePruner::new(Arc::clone(&cache)), &weak).await;
    assert_eq!(cache.capacity(), capacity);
}

#[tokio::test]
async fn each_level_takes_its_share() {
    let (cache, weak) = filled(1_000);
    gives_up_shares(&QuickCachePruner::new(Arc::clone(&cache)), &weak).await;
    let (more, weak) = pages(1_000);
    more.into_iter().enumerate().for_each(|(key, page)| cache.insert(key, page));
    assert_eq!(cache.len(), 1_000, "it takes as much as before");
    assert!(living_bytes(&weak) > 0);
}

#[tokio::test]
async fn what_was_asked_for_again_is_kept() {
    let (cache, _weak) = filled(1_000);
    for _ in 0..3 {
        (0..200).for_each(|key| assert!(cache.get(&key).is_some()));
    }
    let pruner = QuickCachePruner::new(Arc::clone(&cache));
    pruner.prune(request(CleanupLevel::Moderate, None)).await.unwrap();
    let kept = (0..200).filter(|key| cache.peek(key).is_some()).count();
    assert!(kept >= 190, "{kept} of 200 that were in use");
}

#[tokio::test]
async fn weights_that_are_no_bytes_are_worth_what_is_said() {
    let cache: Arc<Cache<usize, usize, UnitWeighter>> = Arc::new(Cache::new(10_000));
    (0..1_000).for_each(|key| cache.insert(key, key));
    let pruner = QuickCachePruner::new(Arc::clone(&cache)).bytes_per_weight(100);
    assert_eq!(pruner.holding(), Holding::new(Some(1_000), Some(100_000)));
    let pruned = pruner.prune(request(CleanupLevel::Aggressive, Some(20_000))).await.unwrap();
    assert_eq!(pruned.bytes, Some(pruned.entries * 100));
    assert!((200..=220).contains(&pruned.entries), "{}", pruned.entries);
    let unknown = QuickCachePruner::new(cache).bytes_per_weight(0);
    let pruned = unknown.prune(request(CleanupLevel::Aggressive, Some(1))).await.unwrap();
    assert_eq!((pruned.bytes, unknown.holding().bytes), (None, None));
}
