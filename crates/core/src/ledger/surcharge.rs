use std::{
    mem,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed},
        fence,
    },
};

use super::{Granted, LARGEST_COST_BYTES, Ledger, Refusal};
use crate::{lines::Priority, routes::Route, watchlist::Watch};

/// Bytes charged to a request while it runs, beyond what it was admitted for; dropping it gives
/// them back, once. It is no request of its own: it counts as neither admitted nor finished.
///
/// It grows by a shared reference, so that whoever holds the bytes may keep it in an `Arc`.
#[derive(Debug)]
#[must_use = "the bytes are given back when this is dropped"]
pub struct Surcharge {
    ledger: &'static Ledger,
    route: Option<&'static Route>,
    bytes: AtomicU64,
    /// Whether it was counted that the request went past its line: once, however often it grows.
    let_through: AtomicBool,
    /// Whether it is of no request.
    apart: bool,
}

impl Surcharge {
    pub(crate) fn new(ledger: &'static Ledger, route: Option<&'static Route>) -> Self {
        let (bytes, let_through) = Default::default();
        Self { ledger, route, bytes, let_through, apart: false }
    }

    /// Makes it one of no request, for memory that outlives whoever asks for it, such as a queue:
    /// else a request whose code grows it is taken to hold the bytes as its body.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Bytes charged so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Charges `more` bytes (at most 1 TiB at once), or refuses; `beside` is what the request was
    /// promised otherwise, which only tells whether all of it could ever fit.
    ///
    /// As [`Admission::reserve`](crate::Admission::reserve): takes no lock, makes no system call
    /// and allocates nothing; `None` is for what is never shed, and is not charged where the
    /// bytes do not fit. What goes past the line nonetheless is counted once.
    ///
    /// # Errors
    /// The [`Refusal`] when the bytes do not fit under the priority's load line. What was
    /// charged before stays charged.
    pub fn grow(
        &self,
        more: u64,
        beside: u64,
        priority: Option<Priority>,
        observe_only: bool,
    ) -> Result<(), Refusal> {
        let more = more.min(LARGEST_COST_BYTES);
        if !self.ledger.charge_unquestioned(more) {
            // Pairs with the store in `publish`.
            fence(Acquire);
            let Some(priority) = priority else { return Ok(()) };
            let whole = beside.saturating_add(self.bytes()).saturating_add(more);
            let granted =
                self.ledger.charge_questioned(more, whole, self.route, priority, observe_only)?;
            if granted != Granted::UnderLine && !self.let_through.swap(true, Relaxed) {
                self.ledger.count_let_through(granted);
            }
        }
        self.charged(more);
        Ok(())
    }

    /// Charges `more` bytes, without asking whether they fit: for memory that is held already,
    /// so that it is missing for those who ask next.
    pub fn grow_unasked(&self, more: u64) {
        let more = more.min(LARGEST_COST_BYTES);
        if !self.ledger.charge_unquestioned(more) {
            self.ledger.wake_if_outrun(more);
            self.ledger.account.grant_up_to(more, u64::MAX);
        }
        self.charged(more);
    }

    fn charged(&self, more: u64) {
        self.bytes.fetch_add(more, Relaxed);
        self.ledger.count_raised(more, self.route_index());
        if self.apart {
            return;
        }
        // Whose body it is: that of the request whose code asks for it.
        if let Some(watch) = Watch::current(self.ledger) {
            watch.surcharged(more);
        }
    }

    pub(super) fn ledger(&self) -> &'static Ledger {
        self.ledger
    }

    /// The place of the route among the counters of a thread, as in a reservation.
    pub(super) fn route_index(&self) -> Option<usize> {
        self.route.map(Route::index)
    }

    /// Hands the bytes over to whoever gives them back instead.
    pub(super) fn take(&mut self) -> u64 {
        mem::take(self.bytes.get_mut())
    }
}

impl Drop for Surcharge {
    fn drop(&mut self) {
        let bytes = self.take();
        if bytes > 0 {
            self.ledger.give_back(bytes, self.route_index());
        }
    }
}

impl Ledger {
    /// Gives back bytes whose request may go on.
    fn give_back(&self, bytes: u64, route: Option<usize>) {
        match self.slots.mine() {
            Some(slot) => {
                self.account.give_back(&slot.credit, bytes, &self.published.terms);
                slot.given_back.add(bytes);
            }
            None => {
                self.account.return_bytes(bytes);
                self.slots.shared.given_back.add_shared(bytes);
            }
        }
        self.count_raised(0_u64.wrapping_sub(bytes), route);
    }
}
