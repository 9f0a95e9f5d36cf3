//! What all clones of a guard share.

use http::{Request, header::CONTENT_LENGTH};
use plimsoll_core::{Admission, GuardMode, Plimsoll, Priority, Refusal, Reservation, Route};

use crate::config::{GuardConfig, RequestHead};

/// Kept for the life of the process, one for each layer made: services reach it without a
/// reference count, which is what would stop two threads from scaling.
pub(crate) struct GuardState {
    admission: Admission,
    config: GuardConfig,
    /// Keeps the sampler running for as long as something may be guarded.
    _plimsoll: Plimsoll,
}

/// What was decided about a request.
pub(crate) enum Decision {
    Admitted(Reservation),
    Refused { refusal: Refusal, declared_body: u64 },
}

impl GuardState {
    pub(crate) fn leak(config: GuardConfig) -> &'static Self {
        let mode = if config.observe_only { GuardMode::Observe } else { GuardMode::Enforce };
        let plimsoll = config.plimsoll.clone();
        let admission = plimsoll.admission(mode);
        Box::leak(Box::new(Self { admission, config, _plimsoll: plimsoll }))
    }

    pub(crate) fn admission(&self) -> Admission {
        self.admission
    }

    #[inline]
    pub(crate) fn decide<B>(&self, request: &Request<B>) -> Decision {
        let head = RequestHead::of(request);
        let declared_body = declared_body(&head);
        let own = match &self.config.cost {
            None => self.config.default_cost,
            Some(cost) => cost(&head).unwrap_or(self.config.default_cost),
        };
        let route = self.route(&head);
        let priority = || self.priority(&head);
        let cost = own.saturating_add(declared_body);
        match self.admission.reserve(cost, route, priority, self.config.observe_only) {
            Ok(mut reservation) => {
                reservation.note_buffered(declared_body);
                Decision::Admitted(reservation)
            }
            Err(refusal) => Decision::Refused { refusal, declared_body },
        }
    }

    /// Asked only when memory is short: a request that fits needs no exemption.
    #[cold]
    fn priority(&self, head: &RequestHead<'_>) -> Option<Priority> {
        if self.is_exempt(head) {
            return None;
        }
        Some(self.config.priority.as_ref().map_or(Priority::default(), |priority| priority(head)))
    }

    fn is_exempt(&self, head: &RequestHead<'_>) -> bool {
        self.config.exempt.iter().any(|exempt| exempt.matches(head.uri.path()))
    }

    #[cfg(feature = "axum")]
    fn route(&self, head: &RequestHead<'_>) -> Option<&'static Route> {
        let matched = head.extensions.get::<axum::extract::MatchedPath>()?;
        Some(self.admission.route(matched.as_str()))
    }

    #[cfg(not(feature = "axum"))]
    fn route(&self, _: &RequestHead<'_>) -> Option<&'static Route> {
        None
    }
}

/// The declared length of the body; a length that is no number is the server's to refuse.
#[inline]
fn declared_body(head: &RequestHead<'_>) -> u64 {
    if head.headers.is_empty() {
        return 0;
    }
    let length = head.headers.get(CONTENT_LENGTH);
    length.and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0)
}
