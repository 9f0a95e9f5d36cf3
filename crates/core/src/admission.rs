//! The handle by which a middleware admits work.

use crate::{
    ledger::{Cost, Ledger, Refusal, Reservation, Surcharge},
    level::PressureLevel,
    lines::Priority,
    routes::Route,
};

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("level", &self.level()).finish_non_exhaustive()
    }
}

/// Admits or refuses work by memory; a plain reference, free to copy.
///
/// The ledger behind it is kept for the life of the process, about 50 KiB for each
/// [`Plimsoll`](crate::Plimsoll) started, so that no reference count is touched per request.
#[derive(Clone, Copy)]
pub struct Admission {
    ledger: &'static Ledger,
}

impl Admission {
    pub(crate) fn new(ledger: &'static Ledger) -> Self {
        Self { ledger }
    }

    /// Reserves `cost` bytes (at least 1, at most 1 TiB) until the reservation is dropped.
    ///
    /// Takes no lock, makes no system call and allocates nothing. Without a `route` it counts as
    /// `<unmatched>`. `priority` is asked only when memory is short; `None` is for what is never
    /// shed, and is not charged then. With `observe_only` nothing is refused, and what would have
    /// been is counted.
    ///
    /// # Errors
    /// The [`Refusal`] when the cost does not fit under the priority's load line.
    #[inline]
    pub fn reserve(
        &self,
        cost: u64,
        route: Option<&'static Route>,
        priority: impl FnOnce() -> Option<Priority>,
        observe_only: bool,
    ) -> Result<Reservation, Refusal> {
        self.ledger.reserve(cost, route, priority, observe_only)
    }

    /// The same for as long as memory is far from short: `None` means that [`Admission::reserve`]
    /// has to be asked. For callers that would have to gather what it asks for.
    #[inline]
    pub fn reserve_unquestioned(
        &self,
        cost: Cost,
        route: Option<&'static Route>,
    ) -> Option<Reservation> {
        self.ledger.reserve_unquestioned(cost, route)
    }

    /// Begins what a request of this route will be charged beyond its reservation: nothing yet.
    pub fn surcharge(&self, route: Option<&'static Route>) -> Surcharge {
        Surcharge::new(self.ledger, route)
    }

    /// Returns the counters of a route; the first 200 names have their own.
    pub fn route(&self, name: &str) -> &'static Route {
        self.ledger.routes().find(name)
    }

    /// Whether what requests allocate is attributed to them.
    pub fn is_attributed(&self) -> bool {
        self.ledger.meter().is_some()
    }

    /// What a request of `route` takes beyond its body, in bytes: as learned from those before,
    /// or a cautious guess where there were none. What was `declared` for it is scaled by how far
    /// others went beyond. `None` where nothing is attributed.
    pub fn learned_cost(
        &self,
        route: Option<&'static Route>,
        declared: Option<u64>,
    ) -> Option<u64> {
        self.ledger.meter()?;
        let route = route.unwrap_or(self.ledger.routes().unmatched());
        let guess = || self.ledger.unlearned_cost();
        Some(match declared {
            Some(bytes) => route.corrected(bytes, guess),
            None => route.learned_or(guess),
        })
    }

    /// What to tell the client of a request that was cancelled; counts nothing.
    pub fn cancelled_refusal(&self) -> Refusal {
        self.ledger.cancelled_refusal()
    }

    /// Whether work should be refused rather than wait for a busy service: while critical, for
    /// as long as anything is refused at all.
    pub fn refuses_to_queue(&self) -> bool {
        self.ledger.refuses_to_queue()
    }

    /// Counts and returns the refusal of work whose service is busy at a time when nobody should
    /// queue.
    pub fn busy_refusal(&self, route: Option<&'static Route>) -> Refusal {
        self.ledger.busy_refusal(route)
    }

    /// The pressure level: one load.
    pub fn level(&self) -> PressureLevel {
        self.ledger.level()
    }
}
