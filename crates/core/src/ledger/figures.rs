//! Sums over what every thread has counted, for reports and readings: never for a request.

use std::sync::atomic::Ordering::Relaxed;

use super::Ledger;
use crate::routes::{RouteFigures, RouteTable, Totals};

impl Ledger {
    /// Bytes promised to requests. While they come and go it can be off by what is on its way
    /// between a credit and the sum, never by more than the credits.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        let credit = self.slots.sum(|slot| slot.credit.bytes());
        self.account.granted().saturating_sub(credit)
    }

    /// All bytes given back since the start.
    pub(crate) fn given_back_bytes(&self) -> u64 {
        self.slots.sum(|slot| slot.given_back.value())
    }

    pub(crate) fn buffered_bytes(&self) -> u64 {
        // Threads are read one after the other, so a moment's sum can be below none at all.
        let sum = self.slots.sum(|slot| slot.buffered.value());
        if sum > u64::MAX / 2 { 0 } else { sum }
    }

    pub(crate) fn admitted_total(&self) -> u64 {
        self.slots.sum(|slot| slot.admitted.value())
    }

    pub(crate) fn in_flight(&self) -> u64 {
        // `finished` first: a request that ends between the two sums must not underflow.
        let finished = self.slots.sum(|slot| slot.finished.value());
        self.admitted_total().saturating_sub(finished)
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
        let totals = Totals {
            admitted: self.admitted_total(),
            in_flight: self.in_flight(),
            reserved: self.reserved_bytes(),
        };
        let counts = |index| self.slots.used().filter_map(move |slot| slot.counted_route(index));
        self.routes.figures(totals, counts)
    }
}
