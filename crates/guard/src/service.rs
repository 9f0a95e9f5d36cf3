use std::{
    fmt, mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use plimsoll_core::PressureLevel;
use tower_service::Service;

use crate::{
    answer,
    body::MemoryGuardBody,
    future::MemoryGuardFuture,
    state::{Decision, GuardState},
};

/// Admits requests by the memory they take; see the [crate docs](crate).
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
    ResBody: Body,
{
    type Response = Response<MemoryGuardBody<ResBody>>;
    // A refusal is an answer, so it never widens the inner error type.
    type Error = S::Error;
    type Future = MemoryGuardFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.inner.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                self.inner_ready = true;
                Poll::Ready(Ok(()))
            }
            // While memory is critical nobody queues here: a parked request holds memory.
            Poll::Pending if self.state.admission().level() == PressureLevel::Critical => {
                self.inner_ready = false;
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match self.state.decide(&request) {
            // The flag is taken, whatever the level says now: an inner service that was not
            // made ready must not be called.
            Decision::Admitted(reservation) if mem::take(&mut self.inner_ready) => {
                MemoryGuardFuture::admitted(self.inner.call(request), reservation)
            }
            Decision::Admitted(_) => MemoryGuardFuture::refused(answer::busy(request, self.state)),
            Decision::Refused { refusal, declared_body } => {
                MemoryGuardFuture::refused(answer::refuse(request, refusal, declared_body))
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
