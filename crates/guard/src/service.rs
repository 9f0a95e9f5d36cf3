use std::{
    fmt, mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    answer,
    body::MemoryGuardBody,
    future::MemoryGuardFuture,
    state::{Decision, GuardState},
};

/// Admits requests by the memory they take; see the [crate docs](crate).
///
/// A clone costs what a clone of the inner service costs.
pub struct MemoryGuard<S> {
    inner: S,
    state: &'static GuardState,
    /// Whether `inner` was ready and has not been called since.
    inner_ready: bool,
}

impl<S> MemoryGuard<S> {
    pub(crate) fn new(inner: S, state: &'static GuardState) -> Self {
        Self { inner, state, inner_ready: false }
    }

    /// The guarded service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The guarded service, unguarded.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for MemoryGuard<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<MemoryGuardBody<ResBody>>;
    // A refusal is an answer, so it never widens the inner error type.
    type Error = S::Error;
    type Future = MemoryGuardFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let ready = self.inner.poll_ready(cx);
        self.inner_ready = matches!(ready, Poll::Ready(Ok(())));
        match ready {
            // A parked request holds memory, so while it is critical nobody queues here.
            Poll::Pending if self.state.refuses_to_queue() => Poll::Ready(Ok(())),
            ready => ready,
        }
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // Taken first and whatever the level says by now: an inner service that was not made
        // ready must not be called.
        if !mem::take(&mut self.inner_ready) {
            return self.refuse_busy(request);
        }
        match self.state.admit_unquestioned(&request) {
            Some(reservation) => MemoryGuardFuture::admitted(self.inner.call(request), reservation),
            None => self.call_questioned(request),
        }
    }
}

impl<S> MemoryGuard<S> {
    /// Refuses a request that cannot be passed on, whether it fits or not.
    #[cold]
    #[inline(never)]
    fn refuse_busy<F, B>(&self, mut request: Request<B>) -> MemoryGuardFuture<F> {
        MemoryGuardFuture::refused(answer::refuse(&self.state.busy(&request), &mut request))
    }

    /// Calls the inner service, which is ready, if the request is let through.
    #[inline(never)]
    fn call_questioned<ReqBody, ResBody>(
        &mut self,
        mut request: Request<ReqBody>,
    ) -> MemoryGuardFuture<S::Future>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        ReqBody: Body,
    {
        match self.state.decide(&request) {
            Decision::Admitted(mut reservation) => {
                let inner = reservation.run(|| self.inner.call(request));
                reservation.follow_peak();
                MemoryGuardFuture::admitted(inner, reservation)
            }
            Decision::Refused(refused) => {
                MemoryGuardFuture::refused(answer::refuse(&refused, &mut request))
            }
        }
    }
}

// By hand: readiness belongs to one handle, so a clone starts without it.
impl<S: Clone> Clone for MemoryGuard<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.state)
    }
}

impl<S: fmt::Debug> fmt::Debug for MemoryGuard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryGuard").field("inner", &self.inner).finish_non_exhaustive()
    }
}
