//! The inactive file cache as last read, and when that says too little. Pure.
//!
//! Reading `memory.stat` costs more than all else in a reading together, because the kernel sums
//! and prints some fifty figures for it. The one that is wanted, the inactive file cache, is
//! therefore kept, and this is why keeping it does not mislead:
//!
//! Usage is the working set and the inactive cache: `U = W + I`. With the cache kept from the last
//! look, the working set is taken for `U - I0`, which is wrong by `I - I0`: by as much as the cache
//! has moved since. Say usage has moved by `u`, the working set by `w` and the cache by `i`, so
//! `u = w + i`.
//!
//! - Where `w` and `i` have the same sign, `|i| <= |u|`. Usage that has moved by more than
//!   [`USAGE_SLACK`] makes the cache be read: caches that fill, caches that are dropped.
//! - Where they have opposite signs they hide each other, and `|i| <= |u| + |w|`. Memory of this
//!   process shows in its resident set, which may move by [`RSS_SLACK`] before the cache is read.
//!   So the error is within the two together, 1 MiB.
//! - Memory of *other* processes in the cgroup does not show there. It takes the place of cache
//!   where the kernel reclaims, which it does when usage stands at a limit or at `memory.high`.
//!   Near either the cache is read each time: the page cache that fills the container, while
//!   anonymous memory grows into it.
//! - What is left: pages that change between the active and the inactive list, which moves neither
//!   usage nor what the container can still take in; and reclaim from elsewhere (the machine is
//!   short of memory, somebody drops caches) at the very moment another process grows. For these a
//!   figure is trusted for [`OLDEST`] only.

use std::time::Duration;

/// Usage may move by this much before the cache is read again. The kernel itself charges in
/// batches of 64 pages for each CPU, so that usage is never more exact than that.
const USAGE_SLACK: u64 = 512 * 1024;
/// ... and the resident set by this much.
const RSS_SLACK: u64 = 512 * 1024;
/// A figure older than this is read again whatever has moved. A sampler that looks less often,
/// as it does far from every line, gets a fresh one each time.
pub(crate) const OLDEST: Duration = Duration::from_millis(20);
/// Usage within this share of a line at which the kernel reclaims counts as standing there ...
const NEAR_SHARE: u64 = 32;
/// ... or within this many bytes: a reclaim takes 32 pages and more at a time.
const NEAR_BYTES: u64 = 4 * 1024 * 1024;

/// What a look at the cache is decided from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) usage_bytes: u64,
    pub(crate) rss_bytes: Option<u64>,
    pub(crate) now: Duration,
}

/// The inactive file cache, with what else was seen when it was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeptCache {
    read: Option<(u64, Seen)>,
}

impl KeptCache {
    /// The cache as last read, if that is still near enough to what it is. `reclaims_at` is the
    /// lowest usage at which the kernel reclaims.
    pub(crate) fn bytes(&self, seen: Seen, reclaims_at: Option<u64>) -> Option<u64> {
        let (bytes, then) = self.read?;
        let near = reclaims_at.is_some_and(|line| {
            seen.usage_bytes >= line.saturating_sub(NEAR_BYTES.max(line / NEAR_SHARE))
        });
        let rss_still = match (then.rss_bytes, seen.rss_bytes) {
            (Some(then), Some(now)) => then.abs_diff(now) <= RSS_SLACK,
            _ => false,
        };
        let keeps = !near
            && rss_still
            && then.usage_bytes.abs_diff(seen.usage_bytes) <= USAGE_SLACK
            && seen.now.saturating_sub(then.now) < OLDEST;
        keeps.then_some(bytes)
    }

    /// Keeps a cache that was read just now; `None` where it could not be.
    pub(crate) fn keep(&mut self, bytes: Option<u64>, seen: Seen) {
        self.read = bytes.map(|bytes| (bytes, seen));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;
    const LIMIT: u64 = 256 * MIB;

    fn seen(usage: u64, rss: u64, ms: u64) -> Seen {
        Seen { usage_bytes: usage, rss_bytes: Some(rss), now: Duration::from_millis(ms) }
    }

    fn kept() -> KeptCache {
        let mut kept = KeptCache::default();
        kept.keep(Some(50 * MIB), seen(150 * MIB, 80 * MIB, 0));
        kept
    }

    #[test]
    fn a_table_of_what_keeps_the_cache_and_what_does_not() {
        let slack = 512 * 1024;
        for (usage, rss, ms, keeps, why) in [
            (150 * MIB, 80 * MIB, 19, true, "nothing moved"),
            (150 * MIB + slack, 80 * MIB - slack, 19, true, "both within the slack"),
            (150 * MIB, 80 * MIB, 20, false, "too old"),
            (150 * MIB + slack + 1, 80 * MIB, 1, false, "usage rose"),
            (150 * MIB - slack - 1, 80 * MIB, 1, false, "usage fell"),
            (150 * MIB, 80 * MIB + slack + 1, 1, false, "the resident set rose, usage did not"),
            (150 * MIB, 80 * MIB - slack - 1, 1, false, "the resident set fell, usage did not"),
        ] {
            let bytes = kept().bytes(seen(usage, rss, ms), Some(LIMIT));
            assert_eq!(bytes.is_some(), keeps, "{why}");
        }
    }

    #[test]
    fn usage_that_stands_at_the_limit_makes_every_reading_look() {
        let mut kept = KeptCache::default();
        let full = seen(LIMIT - 2 * MIB, 80 * MIB, 0);
        kept.keep(Some(150 * MIB), full);
        assert_eq!(kept.bytes(full, Some(LIMIT)), None);
        assert_eq!(kept.bytes(full, Some(LIMIT - 4 * MIB)), None, "memory.high below it");
        assert_eq!(kept.bytes(full, Some(2 * LIMIT)), Some(150 * MIB), "nothing is reclaimed yet");
        assert_eq!(kept.bytes(full, None), Some(150 * MIB));
    }

    #[test]
    fn what_could_not_be_read_is_not_kept() {
        assert_eq!(KeptCache::default().bytes(seen(1, 1, 0), None), None);
        let mut kept = kept();
        kept.keep(None, seen(150 * MIB, 80 * MIB, 1));
        assert_eq!(kept.bytes(seen(150 * MIB, 80 * MIB, 1), None), None);
        let blind = Seen { rss_bytes: None, ..seen(150 * MIB, 0, 1) };
        assert_eq!(self::kept().bytes(blind, None), None, "nothing shows what this process took");
    }

    proptest! {
        // The sum of the slacks bounds the error of every step that this process takes, in
        // whatever direction memory and cache move, far from where the kernel reclaims.
        #[test]
        fn the_working_set_is_never_wrong_by_more_than_the_slack(
            steps in prop::collection::vec((-3_000_000_i64..3_000_000, -3_000_000_i64..3_000_000), 1..200),
        ) {
            let (mut own, mut cache) = (80 * MIB, 50 * MIB);
            let mut kept = KeptCache::default();
            for (ms, (own_step, cache_step)) in steps.into_iter().enumerate() {
                own = own.saturating_add_signed(own_step);
                cache = cache.saturating_add_signed(cache_step);
                let now = seen(own + cache, own, ms as u64);
                let taken_for = kept.bytes(now, None).unwrap_or_else(|| {
                    kept.keep(Some(cache), now);
                    cache
                });
                prop_assert!(taken_for.abs_diff(cache) <= USAGE_SLACK + RSS_SLACK);
            }
        }
    }
}
