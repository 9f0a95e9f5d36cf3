use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{Answer, MonitorBody};

/// An answer of the monitor under way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<Answer>> + Send>>;

pin_project! {
    /// Response future of [`Monitor`](crate::Monitor).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner future. A cleanup that was asked for goes on.
    pub struct MonitorFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Passing {
            #[pin]
            inner: S::Future,
        },
        // Boxed: a service that is not ready is rare, and its request is large.
        Waiting { waiting: Option<Box<(S, Request<B>)>> },
        Answering { answer: Answering },
    }
}

impl<S, B> MonitorFuture<S, B>
where
    S: Service<Request<B>>,
{
    #[inline]
    pub(crate) fn passing(inner: S::Future) -> Self {
        Self { state: State::Passing { inner } }
    }

    pub(crate) fn waiting(service: S, request: Request<B>) -> Self {
        Self { state: State::Waiting { waiting: Some(Box::new((service, request))) } }
    }

    pub(crate) fn answering(answer: Answering) -> Self {
        Self { state: State::Answering { answer } }
    }
}

impl<S, B, ResBody> Future for MonitorFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Output = Result<Response<MonitorBody<ResBody>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let inner = match state.as_mut().project() {
                StateProjection::Passing { inner } => {
                    return inner.poll(cx).map_ok(|response| response.map(MonitorBody::inner));
                }
                StateProjection::Answering { answer } => {
                    return answer.as_mut().poll(cx).map(|answer| Ok(answer.map(MonitorBody::own)));
                }
                StateProjection::Waiting { waiting } => {
                    let (service, _) = waiting.as_deref_mut().expect("polled after completion");
                    ready!(service.poll_ready(cx))?;
                    let (mut service, request) = *waiting.take().expect("looked at above");
                    service.call(request)
                }
            };
            state.set(State::Passing { inner });
        }
    }
}

impl<S, B> fmt::Debug for MonitorFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Passing { .. } => "Passing",
            State::Waiting { .. } => "Waiting",
            State::Answering { .. } => "Answering",
        };
        f.debug_tuple("MonitorFuture").field(&state).finish()
    }
}
