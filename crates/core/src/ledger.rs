//! The ledger: bytes promised to requests, charged before they are touched.
//!
//! It lives for as long as the process does (see [`Admission`](crate::Admission)), so that a
//! reservation holds a plain reference: an `Arc` cloned into each permit is what stops two
//! threads from scaling. Nothing here that a request writes is written by another thread, as
//! long as memory is far from short; [`account`] has the how and why.

mod account;
mod cost;
mod figures;
mod refusal;
mod reservation;
mod slots;
mod surcharge;
mod watching;

use std::sync::{
    Arc, OnceLock,
    atomic::{
        AtomicBool, AtomicU8, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};
use std::{thread::Thread, time::Duration};

pub(crate) use self::slots::Count;
use self::{
    account::{Account, Terms},
    cost::LARGEST_COST_BYTES,
    reservation::Extra,
    slots::{Slot, Slots, threads_seen},
};
pub use self::{
    cost::Cost,
    refusal::{Refusal, RefusalReason},
    reservation::Reservation,
    surcharge::Surcharge,
};
use crate::{
    clock::{Clock, saturating_millis},
    level::PressureLevel,
    lines::{Caps, Priority},
    meter::AllocationMeter,
    routes::{Route, RouteTable},
    watchlist::Watchlist,
};

/// What a thread may keep as credit, far from every line: more than the requests that one thread
/// has in flight usually cost, and little beside any server's memory.
const MOST_CREDIT_BYTES: u64 = 2 << 20;
/// Below this a credit would not hold a few ordinary requests, so there is none.
const LEAST_CREDIT_BYTES: u64 = 64 << 10;
/// All credits together are at most this share of the room that is left: what threads that have
/// gone quiet keep is missing when the line comes near.
const CREDIT_ROOM_SHARE: u64 = 16;

/// Written by the sampler, read by every request.
#[repr(align(128))]
#[derive(Debug)]
struct Published {
    /// Up to where no question is asked: the lowest cap, or the point at which the sampler wants
    /// to look again.
    terms: Terms,
    wake_at: AtomicU64,
    low: AtomicU64,
    normal: AtomicU64,
    high: AtomicU64,
    alone: [AtomicU64; 3],
    level: AtomicU8,
    enforce: AtomicBool,
    valid_until_ms: AtomicU64,
    retry_after_ms: AtomicU64,
}

/// Written by refusals.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Refused {
    shed: AtomicU64,
    would_have_shed: AtomicU64,
    expired: AtomicU64,
    cancelled: AtomicU64,
    jitter: AtomicU64,
}

/// Reserved bytes, the caps on them, and what became of the requests.
// In this order, so that a thread's slot is found without adding where the slots begin.
#[repr(C)]
pub(crate) struct Ledger {
    slots: Slots,
    published: Published,
    account: Account,
    refused: Refused,
    routes: RouteTable,
    watchlist: OnceLock<Watchlist>,
    meter: Option<Arc<dyn AllocationMeter>>,
    clock: Clock,
    sampler: OnceLock<Thread>,
}

/// Why bytes were granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Granted {
    UnderLine,
    /// Past the line, since refusing is turned off.
    NotEnforced,
    /// Past the line, since nobody has looked for too long.
    Expired,
    /// Past the line, since the guard only observes.
    Observed,
}

/// What the sampler publishes after each reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) caps: Caps,
    pub(crate) level: PressureLevel,
    /// The sum of reservations at which the sampler wants to look again.
    pub(crate) wake_at: u64,
    /// When this verdict is too old to refuse by.
    pub(crate) valid_until: Duration,
    pub(crate) retry_after: Duration,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Admits everything until the first verdict.
    pub(crate) fn new(clock: Clock, meter: Option<Arc<dyn AllocationMeter>>) -> Self {
        let open = || AtomicU64::new(u64::MAX);
        Self {
            published: Published {
                terms: Terms::default(),
                wake_at: open(),
                low: open(),
                normal: open(),
                high: open(),
                alone: [open(), open(), open()],
                level: AtomicU8::new(0),
                enforce: AtomicBool::new(true),
                valid_until_ms: open(),
                retry_after_ms: AtomicU64::new(1_000),
            },
            slots: Slots::default(),
            account: Account::default(),
            refused: Refused::default(),
            routes: RouteTable::default(),
            watchlist: OnceLock::new(),
            meter,
            clock,
            sampler: OnceLock::new(),
        }
    }

    /// Names the thread to wake when reservations outrun the readings.
    pub(crate) fn wakes(&self, sampler: Thread) {
        let _ = self.sampler.set(sampler);
    }

    pub(crate) fn publish(&self, verdict: &Verdict) {
        let Caps { low, normal, high, alone } = verdict.caps;
        self.published.low.store(low, Relaxed);
        self.published.normal.store(normal, Relaxed);
        self.published.high.store(high, Relaxed);
        for (slot, cap) in self.published.alone.iter().zip(alone) {
            // An idle process that is short of memory has no room for anybody. That is its
            // state, not the size of what was asked for, so only a healthy one may lower this.
            if verdict.level == PressureLevel::Healthy {
                slot.store(cap, Relaxed);
            } else {
                slot.fetch_max(cap, Relaxed);
            }
        }
        self.published.level.store(verdict.level.as_u8(), Relaxed);
        self.published.retry_after_ms.store(saturating_millis(verdict.retry_after), Relaxed);
        self.published.valid_until_ms.store(saturating_millis(verdict.valid_until), Relaxed);
        self.published.wake_at.store(verdict.wake_at, Relaxed);
        let unquestioned = low.min(verdict.wake_at);
        let room = unquestioned.saturating_sub(self.account.granted());
        self.published.terms.set_most_credit(credit_for(room));
        // Last, so that whoever is questioned finds the caps of this verdict or newer ones.
        self.published.terms.unquestioned.store(unquestioned, Release);
    }

    /// Charges `cost` bytes while memory is far from short; else charges nothing, and
    /// [`Ledger::reserve`] tells more. Nothing that it would not need is asked here, so this is
    /// all that an admitted request costs.
    #[inline]
    pub(crate) fn reserve_unquestioned(
        &'static self,
        cost: Cost,
        route: Option<&'static Route>,
    ) -> Option<Reservation> {
        let cost = cost.bytes();
        let slot = self.slots.known();
        if Account::charge_credit(&slot.credit, cost, &self.published.terms) {
            slot.admitted.add(1);
            if let Some(route) = route {
                slot.route(route.index()).admitted(cost);
            }
        } else if !self.reserve_apart(cost, route) {
            return None;
        }
        Some(Reservation::new(self, cost, route))
    }

    /// The same where it takes more than the credit of a known thread.
    #[cold]
    #[inline(never)]
    fn reserve_apart(&self, cost: u64, route: Option<&'static Route>) -> bool {
        // Past the line nothing else need be tried, and there a refusal should be cheap. What this
        // thread keeps as credit is returned by who asks on.
        if self.account.granted() >= self.published.terms.unquestioned() {
            return false;
        }
        let charged = cost <= LARGEST_COST_BYTES && self.charge_unquestioned(cost);
        if charged {
            self.count_admitted(cost, route);
        }
        charged
    }

    /// Charges bytes that need no question, and counts nothing.
    fn charge_unquestioned(&self, bytes: u64) -> bool {
        let terms = &self.published.terms;
        match self.slots.mine() {
            Some(slot) => self.account.charge(&slot.credit, bytes, terms),
            None => self.account.grant_up_to(bytes, terms.unquestioned()),
        }
    }

    /// Charges `cost` bytes, or refuses. `priority` is asked only when memory is short; `None`
    /// is for what is never shed: not charged then, since a made-up length on an open path must
    /// not shut out the others.
    #[inline]
    pub(crate) fn reserve(
        &'static self,
        cost: u64,
        route: Option<&'static Route>,
        priority: impl FnOnce() -> Option<Priority>,
        observe_only: bool,
    ) -> Result<Reservation, Refusal> {
        let cost = cost.clamp(1, LARGEST_COST_BYTES);
        if let Some(reservation) = self.reserve_unquestioned(Cost::new(cost), route) {
            return Ok(reservation);
        }
        // Pairs with the store in `publish`.
        fence(Acquire);
        match priority() {
            None => Ok(self.admitted(0, route)),
            Some(priority) => {
                let granted = self.charge_questioned(cost, cost, route, priority, observe_only)?;
                self.count_let_through(granted);
                Ok(self.admitted(cost, route))
            }
        }
    }

    /// Charges `more` bytes to a request that takes `whole` bytes with them, or refuses.
    #[cold]
    fn charge_questioned(
        &self,
        more: u64,
        whole: u64,
        route: Option<&'static Route>,
        priority: Priority,
        observe_only: bool,
    ) -> Result<Granted, Refusal> {
        let (cap, alone) = match priority {
            Priority::Low => (self.published.low.load(Relaxed), Some(0)),
            Priority::Normal => (self.published.normal.load(Relaxed), Some(1)),
            Priority::High => (self.published.high.load(Relaxed), Some(2)),
            Priority::Critical => (u64::MAX, None),
        };
        // A line is near, whether or not the sampler has noticed: what this thread keeps as credit
        // must not be what its own request has no room for.
        if let Some(slot) = self.slots.mine() {
            self.account.settle(&slot.credit);
        }
        // Before the decision: an admitted request may be the one that outran the reading.
        self.wake_if_outrun(more);
        if self.account.grant_up_to(more, cap) {
            // The reading that the wake brought may have missed this charge.
            self.wake_if_outrun(0);
            return Ok(Granted::UnderLine);
        }
        let let_through = if !self.published.enforce.load(Relaxed) {
            Granted::NotEnforced
        } else if self.verdict_expired() {
            Granted::Expired
        } else if observe_only {
            Granted::Observed
        } else {
            self.refused.shed.fetch_add(1, Relaxed);
            let fits_alone =
                alone.is_none_or(|index| whole <= self.published.alone[index].load(Relaxed));
            let reason =
                if fits_alone { RefusalReason::Pressure } else { RefusalReason::NeverFits };
            route.unwrap_or(self.routes.unmatched()).count_shed(reason);
            let (level, retry_after) = (self.level(), self.jittered_retry_after());
            return Err(Refusal { reason, level, retry_after });
        };
        self.account.grant_up_to(more, u64::MAX);
        Ok(let_through)
    }

    /// Counts a request that was let through past its line.
    fn count_let_through(&self, granted: Granted) {
        match granted {
            Granted::UnderLine | Granted::NotEnforced => {}
            Granted::Expired => _ = self.refused.expired.fetch_add(1, Relaxed),
            Granted::Observed => _ = self.refused.would_have_shed.fetch_add(1, Relaxed),
        }
    }

    /// Whether nobody has looked for too long: a verdict that old must not keep a server shut.
    fn verdict_expired(&self) -> bool {
        saturating_millis(self.clock.now()) > self.published.valid_until_ms.load(Relaxed)
    }

    /// Whether work should be refused rather than wait for a busy service.
    #[cold]
    pub(crate) fn refuses_to_queue(&self) -> bool {
        self.level() == PressureLevel::Critical && self.enforcing() && !self.verdict_expired()
    }

    /// Refuses work whose service is busy at a time when nobody should queue.
    #[cold]
    pub(crate) fn busy_refusal(&self, route: Option<&'static Route>) -> Refusal {
        self.refused.shed.fetch_add(1, Relaxed);
        route.unwrap_or(self.routes.unmatched()).count_shed(RefusalReason::Pressure);
        let (level, retry_after) = (self.level(), self.jittered_retry_after());
        Refusal { reason: RefusalReason::Pressure, level, retry_after }
    }

    /// Counts a request whose bytes were charged.
    fn count_admitted(&self, bytes: u64, route: Option<&'static Route>) {
        if let Some(slot) = self.slots.mine() {
            slot.admitted.add(1);
            if let Some(route) = route {
                slot.route(route.index()).admitted(bytes);
            }
        } else {
            self.slots.shared.admitted.add_shared(1);
            if let Some(route) = route {
                self.slots.shared.route(route.index()).admitted_shared(bytes);
            }
        }
    }

    #[cold]
    fn admitted(&'static self, bytes: u64, route: Option<&'static Route>) -> Reservation {
        self.count_admitted(bytes, route);
        Reservation::new(self, bytes, route)
    }

    /// Gives back what a request was promised, on whichever thread it ends.
    #[inline(never)]
    fn finished(&'static self, bytes: u64, extra: Extra) {
        // Each way out is the last step of one branch, so that nothing need be saved before it.
        let slot = self.slots.known();
        if Account::return_to_credit(&slot.credit, bytes, &self.published.terms) {
            slot.given_back.add(bytes);
            slot.finished.add(1);
            if !extra.is_none() {
                self.settle(slot, bytes, extra);
            }
        } else {
            self.finished_apart(bytes, extra);
        }
    }

    /// The same where it is too much for the credit of a known thread.
    #[cold]
    #[inline(never)]
    fn finished_apart(&'static self, bytes: u64, extra: Extra) {
        if let Some(slot) = self.slots.mine() {
            self.account.give_back(&slot.credit, bytes, &self.published.terms);
            slot.given_back.add(bytes);
            slot.finished.add(1);
            return self.settle(slot, bytes, extra);
        }
        if extra.is_taken() {
            return;
        }
        let slot = &self.slots.shared;
        self.account.return_bytes(bytes);
        slot.given_back.add_shared(bytes);
        slot.finished.add_shared(1);
        let Counted { buffered, route } = self.counted(extra);
        slot.buffered.add_shared(0_u64.wrapping_sub(buffered));
        if let Some(index) = route {
            slot.route(index).finished_shared(bytes);
        }
    }

    /// Takes a request out of what is only counted for some.
    #[inline(never)]
    fn settle(&'static self, slot: &Slot, bytes: u64, extra: Extra) {
        if extra.is_taken() {
            // Not the end of the request: whoever took it over will end it.
            return slot.finished.add(0_u64.wrapping_sub(1));
        }
        let Counted { buffered, route } = self.counted(extra);
        slot.buffered.add(0_u64.wrapping_sub(buffered));
        if let Some(index) = route {
            slot.route(index).finished(bytes);
        }
    }

    /// What was counted for one request beyond its bytes; ends its watch.
    fn counted(&'static self, extra: Extra) -> Counted {
        match extra.watch(self) {
            None => Counted { buffered: extra.buffered(), route: extra.route_index() },
            Some(watch) => {
                let counted = Counted {
                    buffered: watch.buffered_bytes(),
                    route: Some(watch.route().index()),
                };
                watch.finish();
                counted
            }
        }
    }

    /// Counts an admitted request for a route, beside the sum.
    fn count_route_admitted(&self, route: &'static Route, bytes: u64) {
        match self.slots.mine() {
            Some(slot) => slot.route(route.index()).admitted(bytes),
            None => self.slots.shared.route(route.index()).admitted_shared(bytes),
        }
    }

    /// Counts bytes of bodies held in memory.
    #[inline(never)]
    fn add_buffered(&self, bytes: u64) {
        match self.slots.mine() {
            Some(slot) => slot.buffered.add(bytes),
            None => self.slots.shared.buffered.add_shared(bytes),
        }
    }

    /// Wakes the sampler once per reading when reservations have outrun it.
    fn wake_if_outrun(&self, cost: u64) {
        let wake_at = self.published.wake_at.load(Relaxed);
        if self.account.granted().saturating_add(cost) <= wake_at
            || self.published.wake_at.swap(u64::MAX, Relaxed) == u64::MAX
        {
            return;
        }
        if let Some(sampler) = self.sampler.get() {
            sampler.unpark();
        }
    }

    /// Between 1.0 and 2.0 times the base, from a Weyl sequence: consecutive refusals land as
    /// far from each other as can be, which a random draw would not ensure.
    fn jittered_retry_after(&self) -> Duration {
        const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
        let base = self.published.retry_after_ms.load(Relaxed);
        let turn = self.refused.jitter.fetch_add(GOLDEN_RATIO, Relaxed).wrapping_add(GOLDEN_RATIO);
        let extra = (u128::from(base) * u128::from(turn)) >> 64;
        Duration::from_millis(base.saturating_add(u64::try_from(extra).unwrap_or(u64::MAX)))
    }

    /// Stops or resumes refusing; counting goes on.
    pub(crate) fn set_enforcing(&self, enforce: bool) {
        self.published.enforce.store(enforce, Relaxed);
    }

    pub(crate) fn enforcing(&self) -> bool {
        self.published.enforce.load(Relaxed)
    }

    pub(crate) fn level(&self) -> PressureLevel {
        PressureLevel::from_u8(self.published.level.load(Relaxed))
    }
}

/// What is counted for some requests.
struct Counted {
    buffered: u64,
    route: Option<usize>,
}

/// The most that a thread may keep as credit when so much room is left to all.
fn credit_for(room: u64) -> u64 {
    let threads = threads_seen().max(1) as u64;
    let share = room / CREDIT_ROOM_SHARE / threads;
    if share < LEAST_CREDIT_BYTES { 0 } else { share.min(MOST_CREDIT_BYTES) }
}

#[cfg(test)]
mod tests;
