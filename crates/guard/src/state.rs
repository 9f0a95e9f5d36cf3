//! What all clones of a guard share, and the decision.

use std::ops::RangeInclusive;

use http::{
    HeaderMap, Request,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;
use plimsoll_core::{
    Admission, Cost, GuardMode, Plimsoll, Priority, Refusal, RefusalReason, Reservation, Route,
    WatchTerms,
};

use crate::{
    answer,
    config::{GuardConfig, RequestHead},
};

/// A declared body up to this needs no second look on an exempt path, in bytes.
pub(crate) const SMALL_BODY: u64 = 64 * 1024;

/// Exact lengths of bodies that are noted as held in memory. A shorter one is part of what each
/// request costs; a longer one is taken for a file or a proxied stream, which does not lie in
/// memory as a whole.
const BUFFERED_BODY: RangeInclusive<u64> = LEAST_BUFFERED as u64..=8 << 20;
const LEAST_BUFFERED: u32 = 4 << 10;

/// Noted of a watched request that is answered as gRPC.
pub(crate) const GRPC_NOTE: u8 = 1;

/// Kept for the life of the process, one for each layer made: services reach it without a
/// reference count, which is what would stop two threads from scaling.
pub(crate) struct GuardState {
    pub(crate) admission: Admission,
    /// What a request without a body costs if nobody need be asked, else too much to be
    /// admitted without a question.
    unquestioned_cost: Cost,
    /// Whether requests are watched one by one.
    watches: bool,
    pub(crate) config: GuardConfig,
    /// Keeps the sampler running for as long as something may be guarded.
    _plimsoll: Plimsoll,
}

/// What was decided about a request.
pub(crate) enum Decision {
    Admitted(Reservation),
    Refused(Refused),
}

/// A refusal, and whose it is to change something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// The declared body is what can never fit.
    pub(crate) body_too_large: bool,
}

impl GuardState {
    pub(crate) fn leak(mut config: GuardConfig) -> &'static Self {
        if config.observe_only {
            // To cancel is to refuse late.
            config.cancel.clear();
        }
        let mode = if config.observe_only { GuardMode::Observe } else { GuardMode::Enforce };
        let plimsoll = config.plimsoll.clone();
        let admission = plimsoll.admission(mode);
        let watches = admission.is_attributed() || !config.cancel.is_empty();
        let unquestioned_cost = match &config.cost {
            None if !watches && config.route.is_none() => Cost::new(config.default_cost.max(1)),
            _ => Cost::TOO_MUCH,
        };
        let state = Self { admission, unquestioned_cost, watches, config, _plimsoll: plimsoll };
        Box::leak(Box::new(state))
    }

    /// Whether a request that would have to queue is refused instead.
    #[cold]
    pub(crate) fn refuses_to_queue(&self) -> bool {
        !self.config.observe_only && self.admission.refuses_to_queue()
    }

    /// Admits a request whose body has a known length, which is what most are, while memory is far
    /// from short and the application declares no costs; `None` leaves it to
    /// [`GuardState::decide`]. Lends the request to nobody, so that the optimizer need not copy it.
    // Always: else a call, and a copy of the inner future, costs more than all that is done here.
    #[inline(always)]
    pub(crate) fn admit_unquestioned<B: Body>(&self, request: &Request<B>) -> Option<Reservation> {
        let body = request.body().size_hint().exact()?;
        // A larger one is noted beside the ledger too; beside what reading it takes, the longer way
        // is nothing.
        if body >= u64::from(LEAST_BUFFERED) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is small")]
        let cost = self.unquestioned_cost.plus(body as u32);
        match self.matched_route(request) {
            // Apart, so that the optimizer drops what is done for a route.
            None => self.admission.reserve_unquestioned(cost, None),
            route => self.admission.reserve_unquestioned(cost, route),
        }
    }

    #[inline(never)]
    pub(crate) fn decide<B: Body>(&self, request: &Request<B>) -> Decision {
        let head = RequestHead::of(request);
        let body = self.body_cost(&head, request.body());
        let route = self.route(request);
        let declared = self.config.cost.as_ref().and_then(|cost| cost(&head));
        let own = self.own_cost(route, declared);
        let cost = own.saturating_add(body);
        let priority = || self.priority(&head);
        match self.admission.reserve(cost, route, priority, self.config.observe_only) {
            Ok(mut reservation) => {
                if self.watches {
                    let terms = WatchTerms::new(body, reservation.bytes()).declared(declared);
                    self.watch(&head, terms, &mut reservation, route);
                }
                if let Some(bytes) = buffered(Some(body)) {
                    reservation.note_buffered(bytes);
                }
                Decision::Admitted(reservation)
            }
            Err(refusal) => {
                // A body that is the lesser part is not what makes it too large.
                let body_too_large = refusal.reason == RefusalReason::NeverFits && body > own;
                Decision::Refused(Refused { refusal, body_too_large })
            }
        }
    }

    /// What a request takes beyond its body: as the application says, corrected by what its route
    /// was seen to take, else as that was seen, else the default.
    fn own_cost(&self, route: Option<&'static Route>, declared: Option<u64>) -> u64 {
        let learned = self.admission.learned_cost(route, declared);
        match (declared, learned) {
            (Some(bytes), None) | (Some(_), Some(bytes)) => bytes,
            (None, learned) => learned.unwrap_or(0).max(self.config.default_cost),
        }
    }

    /// Watches a request that was admitted.
    fn watch(
        &self,
        head: &RequestHead<'_>,
        terms: WatchTerms,
        reservation: &mut Reservation,
        route: Option<&'static Route>,
    ) {
        let grpc = head.headers.get(CONTENT_TYPE).is_some_and(answer::is_grpc);
        let note = if grpc { GRPC_NOTE } else { 0 };
        let priority = || self.priority(head).filter(|it| self.config.cancel.contains(it));
        let cancel = if self.config.cancel.is_empty() { None } else { priority() };
        reservation.begin_watch(route, terms.note(note).cancel(cancel));
    }

    /// Bytes of the body that a request is admitted for.
    pub(crate) fn body_cost<B: Body>(&self, head: &RequestHead<'_>, body: &B) -> u64 {
        // The server's own word where it has one: it holds the sender to that.
        let hint = body.size_hint();
        let declared = || declared_body(head.headers).max(hint.lower());
        let body = hint.exact().unwrap_or_else(declared);
        if body > SMALL_BODY && self.config.is_exempt(head.path()) {
            // What is never shed could else shut out the others with a made-up length.
            return 0;
        }
        body
    }

    /// Counts the refusal of a request that no one decided about, since the service is busy.
    #[cold]
    pub(crate) fn busy<B>(&self, request: &Request<B>) -> Refused {
        let refusal = self.admission.busy_refusal(self.route(request));
        Refused { refusal, body_too_large: false }
    }

    /// Asked only when memory is short: a request that fits needs no exemption.
    pub(crate) fn priority(&self, head: &RequestHead<'_>) -> Option<Priority> {
        if self.config.is_exempt(head.path()) {
            return None;
        }
        Some(self.config.priority.as_ref().map_or(Priority::default(), |priority| priority(head)))
    }

    /// The route as a router has matched it, else as the application names it.
    pub(crate) fn route<B>(&self, request: &Request<B>) -> Option<&'static Route> {
        self.matched_route(request).or_else(|| {
            let name = self.config.route.as_ref()?(&RequestHead::of(request))?;
            Some(self.admission.route(&name))
        })
    }

    #[cfg(feature = "axum")]
    #[inline]
    fn matched_route<B>(&self, request: &Request<B>) -> Option<&'static Route> {
        let matched = request.extensions().get::<axum::extract::MatchedPath>()?;
        Some(self.admission.route(matched.as_str()))
    }

    #[cfg(not(feature = "axum"))]
    #[expect(clippy::unused_self, reason = "with the feature `axum` it is used")]
    #[inline]
    fn matched_route<B>(&self, _: &Request<B>) -> Option<&'static Route> {
        None
    }
}

/// Bytes of a body that lie in memory, where its length says so.
#[inline]
fn buffered(length: Option<u64>) -> Option<u64> {
    length.filter(|bytes| BUFFERED_BODY.contains(bytes))
}

/// The declared length of the body; 0 where none is declared, or one that is no number, which
/// is the server's to refuse.
#[inline]
fn declared_body(headers: &HeaderMap) -> u64 {
    match headers.get(CONTENT_LENGTH) {
        None => 0,
        // Of several lengths, which a careful server refuses, the largest is the safe one.
        Some(_) if headers.len() != headers.keys_len() => {
            let lengths = headers.get_all(CONTENT_LENGTH).iter();
            lengths.map(|value| decimal(value.as_bytes())).max().unwrap_or(0)
        }
        Some(value) => decimal(value.as_bytes()),
    }
}

/// Digits only: `str::parse` would take a sign. A number past 64 bits is as large as can be.
#[inline]
fn decimal(text: &[u8]) -> u64 {
    /// So many digits always fit.
    const SHORT: usize = 19;
    let mut number = 0_u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    if text.len() > SHORT { u64::MAX } else { number }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_length_is_a_number_of_digits_and_nothing_else() {
        for (text, expected) in [
            ("0", 0),
            ("1024", 1_024),
            ("007", 7),
            ("", 0),
            ("-1", 0),
            ("+5", 0),
            ("1e9", 0),
            ("0x10", 0),
            ("5, 5", 0),
            ("9999999999999999999", 9_999_999_999_999_999_999),
            ("10000000000000000000", u64::MAX),
            ("18446744073709551617", u64::MAX),
            ("99999999999999999999999999", u64::MAX),
            ("99999999999999999999x", 0),
        ] {
            assert_eq!(decimal(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn of_several_lengths_the_largest_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(declared_body(&headers), 0);
        for length in ["5", "700", "x", "6"] {
            headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        assert_eq!(declared_body(&headers), 700);
    }
}
