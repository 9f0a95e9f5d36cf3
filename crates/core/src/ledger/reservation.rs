use std::mem;

use super::{Ledger, Surcharge};
use crate::routes::Route;

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
        if more > 0 && !self.extra.is_taken() {
            self.ledger.add_promised(more, self.extra);
            self.bytes += more;
        }
    }

    /// Takes over what the same request was charged beyond its reservation, to be given back with
    /// it.
    pub fn absorb(&mut self, mut surcharge: Surcharge) {
        // Else they would be taken out of another ledger, or of no route.
        if std::ptr::eq(self.ledger, surcharge.ledger())
            && self.extra.route_index() == surcharge.route_index()
            && !self.extra.is_taken()
        {
            self.bytes += surcharge.take();
        }
    }

    /// Notes that `bytes` of a body are held in memory until this is dropped. They show as
    /// `arrayBuffers`; they do not change what is reserved.
    // Inlined as far as it touches `self`: a reservation whose address is given away is copied.
    #[inline]
    pub fn note_buffered(&mut self, bytes: u64) {
        // A made-up length must wrap neither the sum nor the word.
        let bytes = bytes.min(super::LARGEST_COST_BYTES);
        if !self.extra.is_taken() {
            self.ledger.add_buffered(bytes);
            self.extra.0 += bytes;
        }
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
