//! The ledger: bytes promised to requests, charged before they are touched.
//!
//! It lives for as long as the process does (see [`Admission`](crate::Admission)), so that a
//! reservation holds a plain reference: an `Arc` cloned into each permit is what stops two
//! threads from scaling.

use std::sync::{
    OnceLock,
    atomic::{
        AtomicBool, AtomicU8, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};
use std::{thread::Thread, time::Duration};

use crate::{
    clock::{Clock, saturating_millis},
    level::PressureLevel,
    lines::{Caps, Priority},
    routes::{Route, RouteFigures, RouteTable, Totals},
};

/// A single request is never charged more than this, 1 TiB, so that a made-up length cannot
/// wrap the sum.
const LARGEST_COST_BYTES: u64 = 1 << LARGEST_COST_BITS;
const LARGEST_COST_BITS: u32 = 40;

/// Written by every request.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Flow {
    reserved: AtomicU64,
    admitted: AtomicU64,
    finished: AtomicU64,
    given_back: AtomicU64,
    buffered: AtomicU64,
}

/// Written by the sampler, read by every request.
#[repr(align(128))]
#[derive(Debug)]
struct Published {
    /// Below this sum every request is admitted without another question: the lowest cap, or
    /// the point at which the sampler wants to look again.
    unquestioned: AtomicU64,
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
    jitter: AtomicU64,
}

/// Reserved bytes, the caps on them, and what became of the requests.
#[derive(Debug)]
pub(crate) struct Ledger {
    flow: Flow,
    published: Published,
    refused: Refused,
    routes: RouteTable,
    clock: Clock,
    sampler: OnceLock<Thread>,
}

/// Bytes promised to one request; dropping it gives them back, once.
#[derive(Debug)]
#[must_use = "the bytes are given back when this is dropped"]
pub struct Reservation {
    ledger: &'static Ledger,
    bytes: u64,
    buffered: u64,
    route: Option<&'static Route>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// It does not fit under its priority's load line now.
    Pressure,
    /// It would not fit even with nothing else in flight and the process healthy.
    NeverFits,
}

impl RefusalReason {
    /// The label of `plimsoll_requests_shed_total`: `memory` or `too_large`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pressure => "memory",
            Self::NeverFits => "too_large",
        }
    }
}

/// What a refused request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The pressure level.
    pub level: PressureLevel,
    /// When trying again makes sense, jittered so that refused clients do not return together.
    pub retry_after: Duration,
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

impl Ledger {
    /// Admits everything until the first verdict.
    pub(crate) fn new(clock: Clock) -> Self {
        let open = || AtomicU64::new(u64::MAX);
        Self {
            flow: Flow::default(),
            published: Published {
                unquestioned: open(),
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
            refused: Refused::default(),
            routes: RouteTable::default(),
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
        // Last, so that whoever is questioned finds the caps of this verdict or newer ones.
        self.published.unquestioned.store(low.min(verdict.wake_at), Release);
    }

    /// Charges `cost` bytes while memory is far from short; else charges nothing, and
    /// [`Ledger::reserve`] tells more. Nothing that it would not need is asked here, so this is
    /// all that an admitted request costs.
    #[inline]
    pub(crate) fn reserve_unquestioned(
        &'static self,
        cost: u64,
        route: Option<&'static Route>,
    ) -> Option<Reservation> {
        // 0 or above the largest, in one step.
        if cost.wrapping_sub(1) >> LARGEST_COST_BITS > 0
            || !self.charge_up_to(cost, self.published.unquestioned.load(Relaxed))
        {
            return None;
        }
        Some(self.admitted(cost, route))
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
        if let Some(reservation) = self.reserve_unquestioned(cost, route) {
            return Ok(reservation);
        }
        // Pairs with the store in `publish`.
        fence(Acquire);
        match priority() {
            None => Ok(self.admitted(0, route)),
            Some(priority) => {
                self.reserve_questioned(cost, route, priority, observe_only)?;
                Ok(self.admitted(cost, route))
            }
        }
    }

    /// Adds `cost` if the sum then stays within `cap`. A loop rather than an add that is taken
    /// back: a sum that is too high for a moment would refuse others who fit.
    #[inline]
    fn charge_up_to(&self, cost: u64, cap: u64) -> bool {
        let mut reserved = self.flow.reserved.load(Relaxed);
        loop {
            let after = reserved + cost;
            if after > cap {
                return false;
            }
            match self.flow.reserved.compare_exchange_weak(reserved, after, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => reserved = now,
            }
        }
    }

    #[cold]
    fn reserve_questioned(
        &self,
        cost: u64,
        route: Option<&'static Route>,
        priority: Priority,
        observe_only: bool,
    ) -> Result<(), Refusal> {
        let (cap, alone) = match priority {
            Priority::Low => (self.published.low.load(Relaxed), Some(0)),
            Priority::Normal => (self.published.normal.load(Relaxed), Some(1)),
            Priority::High => (self.published.high.load(Relaxed), Some(2)),
            Priority::Critical => (u64::MAX, None),
        };
        // Before the decision: an admitted request may be the one that outran the reading.
        self.wake_if_outrun(cost);
        if self.charge_up_to(cost, cap) {
            // The reading that the wake brought may have missed this charge.
            self.wake_if_outrun(0);
            return Ok(());
        }
        if !self.published.enforce.load(Relaxed) {
            self.charge_up_to(cost, u64::MAX);
            return Ok(());
        }
        if self.verdict_expired() {
            self.refused.expired.fetch_add(1, Relaxed);
            self.charge_up_to(cost, u64::MAX);
            return Ok(());
        }
        if observe_only {
            self.refused.would_have_shed.fetch_add(1, Relaxed);
            self.charge_up_to(cost, u64::MAX);
            return Ok(());
        }
        self.refused.shed.fetch_add(1, Relaxed);
        let fits_alone =
            alone.is_none_or(|index| cost <= self.published.alone[index].load(Relaxed));
        let reason = if fits_alone { RefusalReason::Pressure } else { RefusalReason::NeverFits };
        route.unwrap_or(self.routes.unmatched()).count_shed(reason);
        Err(Refusal { reason, level: self.level(), retry_after: self.jittered_retry_after() })
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

    #[inline]
    fn admitted(&'static self, bytes: u64, route: Option<&'static Route>) -> Reservation {
        self.flow.admitted.fetch_add(1, Relaxed);
        if let Some(route) = route {
            route.count_admitted(bytes);
        }
        Reservation { ledger: self, bytes, buffered: 0, route }
    }

    /// Wakes the sampler once per reading when reservations have outrun it.
    fn wake_if_outrun(&self, cost: u64) {
        let wake_at = self.published.wake_at.load(Relaxed);
        if self.flow.reserved.load(Relaxed).saturating_add(cost) <= wake_at
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

    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.flow.reserved.load(Relaxed)
    }

    /// All bytes given back since the start.
    pub(crate) fn given_back_bytes(&self) -> u64 {
        self.flow.given_back.load(Relaxed)
    }

    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.flow.buffered.load(Relaxed)
    }

    pub(crate) fn admitted_total(&self) -> u64 {
        self.flow.admitted.load(Relaxed)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        // `finished` first: a request that ends between the two loads must not underflow.
        let finished = self.flow.finished.load(Relaxed);
        self.flow.admitted.load(Relaxed).saturating_sub(finished)
    }

    pub(crate) fn shed_total(&self) -> u64 {
        self.refused.shed.load(Relaxed)
    }

    pub(crate) fn would_have_shed_total(&self) -> u64 {
        self.refused.would_have_shed.load(Relaxed)
    }

    /// Requests admitted only because the verdict had expired.
    pub(crate) fn expired_total(&self) -> u64 {
        self.refused.expired.load(Relaxed)
    }

    pub(crate) fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// Every route that has seen a request, by name.
    pub(crate) fn route_figures(&self) -> Vec<RouteFigures> {
        self.routes.figures(Totals {
            admitted: self.admitted_total(),
            in_flight: self.in_flight(),
            reserved: self.reserved_bytes(),
        })
    }
}

impl Reservation {
    /// Bytes promised; 0 for a request that is never shed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes that `bytes` of a body are held in memory until this is dropped. They show as
    /// `arrayBuffers`; they do not change what is reserved.
    #[inline]
    pub fn note_buffered(&mut self, bytes: u64) {
        if bytes > 0 {
            let bytes = bytes.min(LARGEST_COST_BYTES);
            self.buffered += bytes;
            self.ledger.flow.buffered.fetch_add(bytes, Relaxed);
        }
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        let flow = &self.ledger.flow;
        flow.reserved.fetch_sub(self.bytes, Relaxed);
        flow.given_back.fetch_add(self.bytes, Relaxed);
        flow.finished.fetch_add(1, Relaxed);
        // One test for both, since most requests have neither.
        if self.buffered > 0 || self.route.is_some() {
            self.settle();
        }
    }
}

impl Reservation {
    /// Takes this out of what is only counted for some requests.
    #[inline(never)]
    fn settle(&mut self) {
        self.ledger.flow.buffered.fetch_sub(self.buffered, Relaxed);
        if let Some(route) = self.route {
            route.count_finished(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
