use std::{mem, task::Waker};

use super::{Ledger, Refusal, Surcharge};
use crate::{
    routes::Route,
    watchlist::{Watch, WatchTerms},
};

/// Bytes promised to one request; dropping it gives them back, once.
#[derive(Debug)]
#[must_use = "the bytes are given back when this is dropped"]
pub struct Reservation {
    ledger: &'static Ledger,
    bytes: u64,
    extra: Extra,
}

/// What is only counted for some requests, in one word: a reservation is moved several times
/// on its way from the decision to the end of the response body, and tested once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extra(u64);

impl Extra {
    /// Bits for bytes of bodies held in memory; the route stands above them.
    const BUFFERED_BITS: u32 = 48;
    const NONE: Self = Self(0);
    /// Set where the request is watched; the rest is the place of its watch then, which knows the
    /// route and the bytes of bodies.
    const WATCHED: u64 = 1 << 63;
    /// Somebody else holds the reservation, and will end the request.
    const TAKEN: Self = Self(u64::MAX);

    #[inline]
    fn of(route: Option<&'static Route>) -> Self {
        route.map_or(Self::NONE, |route| Self((route.index() as u64 + 1) << Self::BUFFERED_BITS))
    }

    #[inline]
    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }

    fn watched(watch: Watch) -> Self {
        Self(Self::WATCHED | watch.index() as u64)
    }

    #[inline]
    fn is_watched(self) -> bool {
        self.0 & Self::WATCHED != 0
    }

    pub(super) fn watch(self, ledger: &'static Ledger) -> Option<Watch> {
        if !self.is_watched() || self.is_taken() {
            return None;
        }
        Watch::at(ledger, usize::try_from(self.0 & !Self::WATCHED).ok()?)
    }

    pub(super) fn is_taken(self) -> bool {
        self == Self::TAKEN
    }

    pub(super) fn buffered(self) -> u64 {
        self.0 & ((1 << Self::BUFFERED_BITS) - 1)
    }

    /// The place of the route among the counters of a thread.
    pub(super) fn route_index(self) -> Option<usize> {
        usize::try_from(self.0 >> Self::BUFFERED_BITS).ok()?.checked_sub(1)
    }
}

impl Reservation {
    /// Of bytes that were charged and of a request that was counted.
    #[inline]
    pub(super) fn new(ledger: &'static Ledger, bytes: u64, route: Option<&'static Route>) -> Self {
        Self { ledger, bytes, extra: Extra::of(route) }
    }

    /// Bytes promised; 0 for a request that is never shed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hands the reservation over and leaves one behind that promises nothing and ends nothing.
    pub fn take(&mut self) -> Self {
        mem::replace(self, Self { ledger: self.ledger, bytes: 0, extra: Extra::TAKEN })
    }

    /// Promises at least `bytes`, without asking whether they fit: for memory that is held already,
    /// so that it is missing for those who ask next.
    pub fn raise_to(&mut self, bytes: u64) {
        let more = bytes.min(super::LARGEST_COST_BYTES).saturating_sub(self.bytes);
        if more == 0 || self.extra.is_taken() {
            return;
        }
        self.ledger.add_promised(more, self.route_index());
        self.bytes += more;
        if let Some(watch) = self.watch() {
            watch.raised(self.bytes);
        }
    }

    /// Takes over what the same request was charged beyond its reservation, to be given back with
    /// it.
    pub fn absorb(&mut self, mut surcharge: Surcharge) {
        // Else they would be taken out of another ledger.
        if !std::ptr::eq(self.ledger, surcharge.ledger()) || self.extra.is_taken() {
            return;
        }
        let (counted, counts) = (surcharge.route_index(), self.route_index());
        let bytes = surcharge.take();
        if counted != counts {
            self.ledger.count_raised(0_u64.wrapping_sub(bytes), counted);
            self.ledger.count_raised(bytes, counts);
        }
        self.bytes += bytes;
        if let Some(watch) = self.watch() {
            watch.absorbed(self.bytes);
        }
    }

    /// Notes that `bytes` of a body are held in memory until this is dropped. They show as
    /// `arrayBuffers`; they do not change what is reserved.
    // Inlined as far as it touches `self`: a reservation whose address is given away is copied.
    #[inline]
    pub fn note_buffered(&mut self, bytes: u64) {
        // A made-up length must wrap neither the sum nor the word.
        let bytes = bytes.min(super::LARGEST_COST_BYTES);
        if self.extra.is_taken() {
            return;
        }
        self.ledger.add_buffered(bytes);
        match self.watch() {
            Some(watch) => watch.add_buffered(bytes),
            None => self.extra.0 += bytes,
        }
    }

    /// Watches the request from now on: what its code allocates in [`Reservation::run`] is counted
    /// for it and for its route, and it may be cancelled on the terms given. Past 16,384 requests at
    /// the same time it goes on unwatched. To be called once, before anything is noted.
    pub fn begin_watch(&mut self, route: Option<&'static Route>, terms: WatchTerms) {
        let counted = self.extra.route_index().is_some();
        let route = route.unwrap_or(self.ledger.routes().unmatched());
        if let Some(watch) = Watch::start(self.ledger, route, terms) {
            if !counted {
                // Its end will be counted for the route that the watch knows.
                self.ledger.count_route_admitted(route, self.bytes);
            }
            self.extra = Extra::watched(watch);
        }
    }

    /// Whether the request is watched.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.extra.is_watched()
    }

    /// Runs a part of the request's work: what it allocates and frees is the request's.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        match self.watch() {
            Some(watch) => watch.run(work),
            None => work(),
        }
    }

    /// Promises what the request was seen to take, where that is more than it was promised.
    pub fn follow_peak(&mut self) {
        if let Some(watch) = self.watch() {
            self.raise_to(watch.peak_bytes());
        }
    }

    /// Notes that the request has its answer: what it took is what such a request takes.
    pub fn answered(&self) {
        if let Some(watch) = self.watch() {
            watch.answered();
        }
    }

    /// Whether the request is to end now. `waker` is woken when that becomes so later.
    pub fn is_cancelled(&self, waker: &Waker) -> bool {
        self.watch().is_some_and(|watch| {
            // In this order, else a cancellation between the two would be missed.
            watch.wake_on_cancel(waker);
            watch.is_cancelled()
        })
    }

    /// The request is not to be cancelled any more, since that would free nothing: what it holds is
    /// on its way to the client.
    pub fn spare(&self) {
        if let Some(watch) = self.watch() {
            watch.spare();
        }
    }

    /// The note that the watch was begun with; 0 without one.
    pub fn watch_note(&self) -> u8 {
        self.watch().map_or(0, Watch::note)
    }

    /// Counts the cancellation as a refusal of the request's route, and says what to tell its
    /// client.
    pub fn cancelled(&self) -> Refusal {
        if let Some(watch) = self.watch() {
            watch.note_cancelled();
        }
        self.ledger.cancelled_refusal()
    }

    /// The route that the bytes are counted for.
    fn route_index(&self) -> Option<usize> {
        match self.watch() {
            Some(watch) => Some(watch.route().index()),
            None => self.extra.route_index(),
        }
    }

    fn watch(&self) -> Option<Watch> {
        self.extra.watch(self.ledger)
    }
}

impl Drop for Reservation {
    // All of it out of line, and by value: a drop that is inlined only where there is room leaves
    // calls with the address of the reservation on every path that unwinds, and what has an
    // address is copied through memory wherever it goes.
    #[inline(always)]
    fn drop(&mut self) {
        self.ledger.finished(self.bytes, self.extra);
    }
}
