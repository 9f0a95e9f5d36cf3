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
        if matches!(*state, State::Waiting { .. }) {
            ready!(pass_when_ready(state.as_mut(), cx))?;
        }
        match state.project() {
            // Matched in place: what is moved out of the poll first is copied once more.
            StateProjection::Passing { inner } => match inner.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response.map(MonitorBody::inner))),
            },
            StateProjection::Answering { answer } => poll_answer(answer, cx).map(Ok),
            StateProjection::Waiting { .. } => unreachable!("passed on above"),
        }
    }
}

/// Apart, so that the optimizer lays out the other branch for itself.
#[cold]
#[inline(never)]
fn poll_answer<B>(answer: &mut Answering, cx: &mut Context<'_>) -> Poll<Response<MonitorBody<B>>> {
    answer.as_mut().poll(cx).map(|answer| answer.map(MonitorBody::own))
}

/// Calls the service that the request waits for, once it is ready.
#[cold]
#[inline(never)]
fn pass_when_ready<S, B>(
    mut state: Pin<&mut State<S, B>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), S::Error>>
where
    S: Service<Request<B>>,
{
    if let StateProjection::Waiting { waiting } = state.as_mut().project() {
        let (service, _) = waiting.as_deref_mut().expect("polled after completion");
        ready!(service.poll_ready(cx))?;
        let (mut service, request) = *waiting.take().expect("looked at above");
        let inner = service.call(request);
        state.set(State::Passing { inner });
    }
    Poll::Ready(Ok(()))
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
