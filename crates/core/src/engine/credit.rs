//! Bytes that a cleanup has freed and that are not gone yet: nobody is pruned for them again.
//!
//! Memory that is freed leaves the resident set late: when an allocator's own timer gives it back,
//! when the page that it shares is free, when a cache's epoch has passed. A cleanup that follows on
//! the heels of another (critical follows warning) would otherwise prune for the same bytes twice.

use std::time::Duration;

/// What is not gone by then is held by a page that is in use in part. Then pruning more may free it.
const LIFE: Duration = Duration::from_secs(10);

/// Pure: told what a cleanup freed, asked how much of that is still to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LagCredit {
    bytes: u64,
    /// The decision figure when it was granted.
    figure: u64,
    until: Duration,
}

/// What a cleanup knows of the bytes that it freed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freed {
    /// What the pruners claim.
    pub(super) claimed: u64,
    /// By how much the heaps say that the program holds less; `None` where one does not tell.
    pub(super) heaps_fell: Option<u64>,
    /// The decision figure before pruning, and at the end.
    pub(super) before: u64,
    pub(super) after: u64,
}

impl LagCredit {
    /// The credit after a cleanup: what was freed, less what has gone. A claim is believed as far
    /// as the heaps bear it out, where they tell.
    pub(super) fn after(freed: Freed, now: Duration) -> Self {
        let believed = freed.claimed.min(freed.heaps_fell.unwrap_or(u64::MAX));
        let gone = freed.before.saturating_sub(freed.after);
        Self { bytes: believed.saturating_sub(gone), figure: freed.after, until: now + LIFE }
    }

    /// Bytes still to come, when the decision figure is `figure`.
    pub(super) fn left(self, figure: u64, now: Duration) -> u64 {
        if now >= self.until {
            return 0;
        }
        self.bytes.saturating_sub(self.figure.saturating_sub(figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn freed(claimed: u64, heaps_fell: Option<u64>, after: u64) -> LagCredit {
        LagCredit::after(Freed { claimed, heaps_fell, before: 1_000, after }, s(1))
    }

    #[test]
    fn what_was_freed_and_is_not_gone_is_credited_until_it_goes() {
        let credit = freed(300, None, 900);
        assert_eq!(credit.left(900, s(1)), 200);
        assert_eq!(credit.left(950, s(1)), 200, "what grew meanwhile is another matter");
        assert_eq!(credit.left(750, s(1)), 50);
        assert_eq!(credit.left(600, s(1)), 0);
    }

    #[test]
    fn what_stays_is_not_credited_for_long() {
        let credit = freed(300, None, 900);
        assert_eq!((credit.left(900, s(10)), credit.left(900, s(11))), (200, 0));
    }

    #[test]
    fn a_claim_that_the_heaps_do_not_bear_out_is_no_credit() {
        assert_eq!(freed(300, Some(120), 900).left(900, s(1)), 20);
        assert_eq!(freed(300, Some(0), 900).left(900, s(1)), 0);
        assert_eq!(freed(300, Some(5_000), 900).left(900, s(1)), 200);
        assert_eq!(LagCredit::default().left(900, s(1)), 0);
    }
}
