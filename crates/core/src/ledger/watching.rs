//! Requests whose allocations are counted, and those that may be ended.

use std::sync::atomic::Ordering::Relaxed;

use super::{Ledger, Refusal, RefusalReason};
use crate::{meter::AllocationMeter, routes::Route, watchlist::Watchlist};

/// A request of a route that was never seen at work is charged this share of the room ...
const UNLEARNED_ROOM_SHARE: u64 = 32;
/// ... and at most this, so that hundreds are let in at once where there is plenty.
const MOST_UNLEARNED_BYTES: u64 = 8 << 20;

impl Ledger {
    /// Promises more to a request that was admitted, whatever the lines say.
    #[inline(never)]
    pub(super) fn add_promised(&self, more: u64, route: Option<usize>) {
        self.wake_if_outrun(more);
        self.account.grant_up_to(more, u64::MAX);
        self.count_raised(more, route);
    }

    /// Counts bytes that a request was promised beyond what it was admitted for; a wrapped sum
    /// takes them away again.
    pub(super) fn count_raised(&self, more: u64, route: Option<usize>) {
        if let Some(index) = route {
            match self.slots.mine() {
                Some(slot) => slot.route(index).raised(more),
                None => self.slots.shared.route(index).raised_shared(more),
            }
        }
    }

    /// Who tells what requests allocate.
    pub(crate) fn meter(&self) -> Option<&dyn AllocationMeter> {
        self.meter.as_deref()
    }

    /// The requests that are watched; made with the first one.
    pub(crate) fn watchlist(&self) -> &Watchlist {
        self.watchlist.get_or_init(Watchlist::default)
    }

    /// Ends the request that takes the most of those that may be ended, if there is one; returns
    /// its bytes.
    pub(crate) fn cancel_largest(&self) -> Option<u64> {
        self.watchlist.get()?.cancel_largest()
    }

    /// Takes back cancellations that nobody has taken notice of.
    pub(crate) fn forgive_cancelled(&self) {
        if let Some(watchlist) = self.watchlist.get() {
            watchlist.forgive();
        }
    }

    pub(crate) fn watchlist_bytes(&self) -> u64 {
        self.watchlist.get().map_or(0, Watchlist::bytes)
    }

    pub(crate) fn count_cancelled(&self, route: &'static Route) {
        self.refused.cancelled.fetch_add(1, Relaxed);
        route.count_shed(RefusalReason::Cancelled);
    }

    pub(crate) fn cancelled_total(&self) -> u64 {
        self.refused.cancelled.load(Relaxed)
    }

    /// What a client is told whose request was ended.
    pub(crate) fn cancelled_refusal(&self) -> Refusal {
        let (level, retry_after) = (self.level(), self.jittered_retry_after());
        Refusal { reason: RefusalReason::Cancelled, level, retry_after }
    }

    /// Counts what the code of a request allocated, and by how much more or less it holds.
    pub(crate) fn count_attributed(&self, route: &'static Route, allocated: u64, change: i64) {
        let change = change.cast_unsigned();
        match self.slots.mine() {
            Some(slot) => slot.route(route.index()).attributed(allocated, change),
            None => self.slots.shared.route(route.index()).attributed_shared(allocated, change),
        }
    }

    /// What a request is charged whose route nobody has seen at work: a share of all the room that
    /// requests have, so that a cold burst is let in a few at a time where that is little.
    pub(crate) fn unlearned_cost(&self) -> u64 {
        let room = self.published.alone[1].load(Relaxed);
        (room / UNLEARNED_ROOM_SHARE).min(MOST_UNLEARNED_BYTES)
    }
}
