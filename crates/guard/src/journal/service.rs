use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    Name,
    future::{JournalFuture, Note},
    layer::Settings,
};

/// Notes how long requests took and which failed; see [`JournalLayer`](super::JournalLayer).
#[derive(Clone)]
pub struct JournalService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> JournalService<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for JournalService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: fmt::Display,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = JournalFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let name = Name::of(&request, self.settings.route.as_deref());
        // Before the call: some services do all of their work in it, and may panic there.
        let note = Note::begin(Arc::clone(&self.settings), name);
        JournalFuture::new(self.inner.call(request), note)
    }
}

impl<S: fmt::Debug> fmt::Debug for JournalService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
