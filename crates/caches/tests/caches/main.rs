//! Every cache gives up what it is asked for, no more, and nothing keeps what it gave up.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod lru;
mod moka;
mod quick;

use std::sync::{Arc, Weak};

use plimsoll_core::{CleanupLevel, PruneRequest, Pruned, Pruner};

/// A value that tells whether it is still somewhere.
type Page = Arc<Vec<u8>>;
type Watched = Weak<Vec<u8>>;
/// A cache with pages in it, and what tells which of them live.
type Filled<C> = (C, Vec<Watched>);

fn request(level: CleanupLevel, target_bytes: Option<u64>) -> PruneRequest {
    let mut request = PruneRequest::new(level);
    request.target_bytes = target_bytes;
    request
}

/// Pages of 1 to 16 KiB, and what tells which of them live.
fn pages(count: usize) -> (Vec<Page>, Vec<Watched>) {
    let pages: Vec<Page> =
        (0..count).map(|at| Arc::new(vec![1; 1_024 * (1 + at * 7 % 16)])).collect();
    let weak = pages.iter().map(Arc::downgrade).collect();
    (pages, weak)
}

fn living_bytes(pages: &[Watched]) -> u64 {
    pages.iter().filter_map(Weak::upgrade).map(|page| page.capacity() as u64).sum()
}

/// A pass with a target frees that much and at most a tenth more, and tells the bytes that went.
async fn meets_targets(pruner: &impl Pruner, pages: &[Watched]) {
    let mut left = living_bytes(pages);
    for target in [500_000, 1_000_000, 250_000] {
        let previewed = pruner.preview(request(CleanupLevel::Aggressive, Some(target))).unwrap();
        let pruned = pruner.prune(request(CleanupLevel::Aggressive, Some(target))).await.unwrap();
        let freed = left - living_bytes(pages);
        left -= freed;
        assert_eq!(pruned.bytes, Some(freed), "what is told is what went");
        assert!((target..=target * 11 / 10).contains(&freed), "{freed} of {target}");
        let previewed = previewed.bytes.unwrap();
        assert!((target..=target * 11 / 10).contains(&previewed), "{previewed} of {target}");
    }
    assert_eq!(
        pruner.prune(request(CleanupLevel::Aggressive, Some(0))).await.unwrap(),
        Pruned::nothing()
    );
}

/// Without a target the level's share goes, and with an aggressive one all of it.
async fn gives_up_shares(pruner: &impl Pruner, pages: &[Watched]) {
    let before = living_bytes(pages);
    let pruned = pruner.prune(request(CleanupLevel::Moderate, None)).await.unwrap();
    let left = living_bytes(pages);
    assert_eq!(pruned.bytes, Some(before - left));
    assert!((before * 4 / 10..=before * 6 / 10).contains(&left), "{left} of {before}");
    let pruned = pruner.prune(request(CleanupLevel::Aggressive, None)).await.unwrap();
    assert_eq!((pruned.bytes, living_bytes(pages)), (Some(left), 0));
    assert_eq!(
        pruner.prune(request(CleanupLevel::Aggressive, None)).await.unwrap(),
        Pruned::nothing()
    );
}
