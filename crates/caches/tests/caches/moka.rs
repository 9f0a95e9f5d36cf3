use moka::{future, sync};
use plimsoll_caches::{MokaFuturePruner, MokaPruner};
use plimsoll_core::{Holding, Pruner};

use super::{Filled, Page, gives_up_shares, living_bytes, meets_targets, pages};

const CAPACITY: u64 = 1 << 30;

fn weigh(_: &usize, page: &Page) -> usize {
    page.capacity()
}

fn weight(_: &usize, page: &Page) -> u32 {
    page.capacity().try_into().unwrap()
}

fn filled(count: usize) -> Filled<sync::Cache<usize, Page>> {
    let cache = sync::Cache::builder().max_capacity(CAPACITY).weigher(weight).build();
    let (pages, weak) = pages(count);
    pages.into_iter().enumerate().for_each(|(key, page)| cache.insert(key, page));
    (cache, weak)
}

async fn filled_for_tasks(count: usize) -> Filled<future::Cache<usize, Page>> {
    let cache = future::Cache::builder().max_capacity(CAPACITY).weigher(weight).build();
    let (pages, weak) = pages(count);
    for (key, page) in pages.into_iter().enumerate() {
        cache.insert(key, page).await;
    }
    (cache, weak)
}

#[tokio::test]
async fn targets_are_met_and_values_are_gone_at_once() {
    let (cache, weak) = filled(1_000);
    meets_targets(&MokaPruner::new(cache, weigh), &weak).await;
    let (cache, weak) = filled_for_tasks(1_000).await;
    meets_targets(&MokaFuturePruner::new(cache, weigh), &weak).await;
}

#[tokio::test]
async fn each_level_takes_its_share() {
    let (cache, weak) = filled(1_000);
    gives_up_shares(&MokaPruner::new(cache, weigh), &weak).await;
    let (cache, weak) = filled_for_tasks(1_000).await;
    gives_up_shares(&MokaFuturePruner::new(cache, weigh), &weak).await;
}

#[tokio::test]
async fn bytes_held_are_told_where_the_weigher_tells_them() {
    let (cache, weak) = filled(100);
    cache.run_pending_tasks();
    let pruner = MokaPruner::new(cache, weigh);
    assert_eq!(pruner.holding(), Holding::new(Some(100), None));
    let bytes = living_bytes(&weak);
    assert_eq!(pruner.weighs_bytes().holding(), Holding::new(Some(100), Some(bytes)));
}
