use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use lru::LruCache;
use plimsoll_caches::{LruPruner, Share};
use plimsoll_core::{CleanupLevel, Holding, Pruned, Pruner};

use super::{Filled, Page, gives_up_shares, living_bytes, meets_targets, pages, request};

fn weigh(_: &usize, page: &Page) -> usize {
    page.capacity()
}

fn filled(count: usize) -> Filled<Arc<Mutex<LruCache<usize, Page>>>> {
    let mut cache = LruCache::new(NonZeroUsize::new(20_000).unwrap());
    let (pages, weak) = pages(count);
    pages.into_iter().enumerate().for_each(|(key, page)| {
        cache.put(key, page);
    });
    (Arc::new(Mutex::new(cache)), weak)
}

#[tokio::test]
async fn the_least_recently_used_go_until_the_target_is_met() {
    let (cache, weak) = filled(1_000);
    let pruner = LruPruner::new(Arc::clone(&cache), weigh);
    cache.lock().unwrap().get(&0);
    meets_targets(&pruner, &weak).await;
    let cache = cache.lock().unwrap();
    assert!(cache.peek(&0).is_some() && cache.peek(&1).is_none() && cache.peek(&999).is_some());
}

#[tokio::test]
async fn each_level_takes_its_share() {
    let (cache, weak) = filled(1_000);
    gives_up_shares(&LruPruner::new(cache, weigh), &weak).await;
    let (cache, weak) = filled(100);
    let before = living_bytes(&weak);
    let pruner = LruPruner::new(cache, weigh).share(Share::new(0.0, 0.25).unwrap());
    let spared = pruner.prune(request(CleanupLevel::Moderate, None)).await.unwrap();
    assert_eq!((spared, living_bytes(&weak)), (Pruned::nothing(), before));
    let taken = pruner.prune(request(CleanupLevel::Aggressive, None)).await.unwrap();
    assert_eq!(taken.entries, 25);
}

#[test]
fn a_large_cache_is_not_added_up_under_its_lock() {
    let (cache, weak) = filled(10_000);
    let pruner = LruPruner::new(Arc::clone(&cache), weigh);
    assert_eq!(pruner.holding(), Holding::new(Some(10_000), Some(living_bytes(&weak))));
    cache.lock().unwrap().put(10_000, Page::default());
    assert_eq!(pruner.holding(), Holding::new(Some(10_001), None));
}

#[tokio::test]
async fn whoever_waits_for_the_lock_gets_it_between_two_batches() {
    let (cache, _weak) = filled(5_000);
    let pruner = LruPruner::new(Arc::clone(&cache), weigh);
    let mut pass = std::pin::pin!(pruner.prune(request(CleanupLevel::Aggressive, None)));
    let mut seen = Vec::new();
    // Polled by hand: at each pause the lock is free and some entries are left.
    std::future::poll_fn(|cx| {
        let polled = pass.as_mut().poll(cx);
        seen.push(cache.try_lock().unwrap().len());
        polled.map(drop)
    })
    .await;
    assert!(seen.len() > 10 && seen.is_sorted_by(|one, two| one >= two), "{seen:?}");
    assert_eq!(seen.last(), Some(&0));
}
