use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use http_body::Body;
use plimsoll_core::{Priority, Refusal, RefusalReason, Surcharge};

use super::layer::PassedOn;
use crate::{
    answer::Manners,
    config::RequestHead,
    state::{GuardState, Refused, SMALL_BODY},
};

/// What the body of a request without a known length shares with its future and its response:
/// the bytes that have arrived, and that there was no room for more.
pub(super) struct Upload {
    surcharge: Surcharge,
    /// `None` on an exempt path.
    priority: Option<Priority>,
    observe_only: bool,
    /// Whether each chunk is gone before the next is asked for.
    passed_on: bool,
    /// What the request was admitted for, and how much of that was for its body.
    admitted_for: AtomicU64,
    paid: u64,
    refused: OnceLock<Refused>,
    /// Of the future: the body may be read in another task.
    waker: AtomicWaker,
    manners: Manners,
}

impl Upload {
    pub(super) fn of<B: Body>(
        state: &'static GuardState,
        passed_on: Option<&'static PassedOn>,
        request: &Request<B>,
    ) -> Self {
        let head = RequestHead::of(request);
        Self {
            surcharge: state.admission.surcharge(state.route(request)),
            // Now, since the head will be gone when it is needed.
            priority: state.priority(&head),
            observe_only: state.config.observe_only,
            passed_on: passed_on.is_some_and(|passed_on| passed_on(&head)),
            admitted_for: AtomicU64::new(0),
            paid: state.body_cost(&head, request.body()),
            refused: OnceLock::new(),
            waker: AtomicWaker::new(),
            manners: Manners::of(request),
        }
    }

    /// Called as soon as the request was admitted.
    pub(super) fn admitted_for(&self, bytes: u64) {
        self.admitted_for.store(bytes, Relaxed);
    }

    /// Charges `more` bytes that have arrived after `before`, as far as they were not charged
    /// with the request; after a refusal there is no other.
    pub(super) fn arrived(&self, before: u64, more: u64) -> Result<(), Refusal> {
        let arrived = before.saturating_add(more);
        let mut unpaid = arrived.saturating_sub(before.max(self.paid));
        if self.passed_on {
            // In the place of the one before.
            unpaid = unpaid.saturating_sub(self.surcharge.bytes());
        }
        // On a path that is never shed, no more than a declared body would be charged.
        if unpaid == 0 || (self.priority.is_none() && arrived > SMALL_BODY) {
            return Ok(());
        }
        let beside = self.admitted_for.load(Relaxed);
        let grown = self.surcharge.grow(unpaid, beside, self.priority, self.observe_only);
        grown.inspect_err(|refusal| {
            // A body that is the lesser part is not what makes it too large.
            let own = beside.saturating_sub(self.paid);
            let body = self.paid.saturating_add(self.surcharge.bytes()).saturating_add(unpaid);
            let body_too_large = refusal.reason == RefusalReason::NeverFits && body > own;
            let _ = self.refused.set(Refused { refusal: *refusal, body_too_large });
            self.waker.wake();
        })
    }

    /// Whether a chunk was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    /// The answer in the place of the handler's, once a chunk was refused.
    pub(super) fn refusal(&self) -> Option<Response<bytes::Bytes>> {
        self.refused.get().map(|refused| self.manners.refuse(refused))
    }

    /// Wakes this when a chunk is refused.
    pub(super) fn wake(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(super) fn into_surcharge(self) -> Surcharge {
        self.surcharge
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("charged_bytes", &self.surcharge.bytes())
            .field("refused", &self.is_refused())
            .finish_non_exhaustive()
    }
}
