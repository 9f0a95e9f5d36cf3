use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    body::ChargedBody, error::BoxError, future::ChargingGuardFuture, layer::PassedOn,
    response::ChargingGuardBody, upload::Upload,
};
use crate::{service::MemoryGuard, state::GuardState};

/// A [`MemoryGuard`] that also charges request bodies as they arrive; see
/// [`MemoryGuardLayer::charging_bodies`](crate::MemoryGuardLayer::charging_bodies).
///
/// The request body's error need only be one that can be boxed, which every host asks for too.
#[derive(Clone)]
pub struct ChargingGuard<S> {
    guard: MemoryGuard<S>,
    state: &'static GuardState,
    passed_on: Option<&'static PassedOn>,
}

impl<S> ChargingGuard<S> {
    pub(super) fn new(
        guard: MemoryGuard<S>,
        state: &'static GuardState,
        passed_on: Option<&'static PassedOn>,
    ) -> Self {
        Self { guard, state, passed_on }
    }

    /// The guarded service.
    pub fn get_ref(&self) -> &S {
        self.guard.get_ref()
    }

    /// The guarded service, unguarded.
    pub fn into_inner(self) -> S {
        self.guard.into_inner()
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ChargingGuard<S>
where
    S: Service<Request<ChargedBody<ReqBody>>, Response = Response<ResBody>>,
    ReqBody: Body<Error: Into<BoxError>>,
    ResBody: Body,
{
    type Response = Response<ChargingGuardBody<ResBody>>;
    type Error = S::Error;
    type Future = ChargingGuardFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.guard.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if let Some(length) = request.body().size_hint().exact() {
            let admission = self.state.admission;
            let request = request.map(|body| ChargedBody::declared(body, length, admission));
            return ChargingGuardFuture::new(self.guard.call(request), None);
        }
        let upload = Arc::new(Upload::of(self.state, self.passed_on, &request));
        let request = request.map(|body| ChargedBody::undeclared(body, Arc::clone(&upload)));
        let answer = self.guard.call(request);
        upload.admitted_for(answer.reserved_bytes().unwrap_or(0));
        ChargingGuardFuture::new(answer, Some(upload))
    }
}

impl<S: fmt::Debug> fmt::Debug for ChargingGuard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargingGuard").field("inner", self.guard.get_ref()).finish_non_exhaustive()
    }
}
