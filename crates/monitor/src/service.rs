use std::{
    error::Error,
    fmt, mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    answer::answer, body::MonitorBody, future::MonitorFuture, monitoring::Monitoring, paths::Route,
};

/// Answers the monitoring routes and passes everything else on; see the [crate docs](crate).
pub struct Monitor<S> {
    inner: S,
    monitoring: &'static Monitoring,
    /// Whether `inner` was ready and has not been called since.
    inner_ready: bool,
}

impl<S> Monitor<S> {
    pub(crate) fn new(inner: S, monitoring: &'static Monitoring) -> Self {
        Self { inner, monitoring, inner_ready: false }
    }

    /// The service behind.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service behind, without the monitoring routes.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Monitor<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: Body + Send + 'static,
    ReqBody::Data: Send,
    ReqBody::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<MonitorBody<ResBody>>;
    // An answer of the monitor is a response, so it never widens the inner error type.
    type Error = S::Error;
    type Future = MonitorFuture<S, ReqBody>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Ready although the service behind may not be: which path is asked for is not known yet,
        // and a server that is busy is one that somebody wants to look at.
        match self.inner.poll_ready(cx) {
            Poll::Ready(Ok(())) => self.inner_ready = true,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => self.inner_ready = false,
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if self.monitoring.paths.may_hold(request.uri().path())
            && let Some(route) = self.monitoring.paths.find(request.uri().path())
        {
            return answering(self.monitoring, route, request);
        }
        // The flag is taken: an inner service that was not made ready must not be called.
        if mem::take(&mut self.inner_ready) {
            return MonitorFuture::passing(self.inner.call(request));
        }
        self.wait(request)
    }
}

/// Apart, so that what other requests need no room for takes none of their stack.
#[cold]
#[inline(never)]
fn answering<S, B>(
    monitoring: &'static Monitoring,
    route: Route,
    request: Request<B>,
) -> MonitorFuture<S, B>
where
    S: Service<Request<B>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    MonitorFuture::answering(Box::pin(answer(monitoring, route, request)))
}

impl<S: Clone> Monitor<S> {
    /// The instance that has queued for its turn goes with the request; the clone that stays
    /// starts over.
    #[cold]
    #[inline(never)]
    fn wait<B>(&mut self, request: Request<B>) -> MonitorFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        let fresh = self.inner.clone();
        MonitorFuture::waiting(mem::replace(&mut self.inner, fresh), request)
    }
}

// By hand: readiness belongs to one handle, so a clone starts without it.
impl<S: Clone> Clone for Monitor<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.monitoring)
    }
}

impl<S: fmt::Debug> fmt::Debug for Monitor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("inner", &self.inner).finish_non_exhaustive()
    }
}
