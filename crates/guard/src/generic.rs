//! The same admission for services that are not HTTP: a refusal is an error.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use plimsoll_core::{Admission, GuardMode, Plimsoll, Priority, Refusal, Reservation};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::AdmissionError;

/// Applies [`AdmissionService`]. `cost` tells the bytes that a request takes while it is handled.
///
/// Each `new` keeps its settings for the life of the process, so make one layer and clone it.
///
/// ```
/// use plimsoll_core::{MB, Plimsoll, Priority};
/// use plimsoll_guard::{AdmissionError, AdmissionLayer};
/// use plimsoll_testkit::ScriptedSource;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (source, script) = ScriptedSource::new();
/// script.set_rss(3_500 * MB); // over critical
/// let plimsoll = Plimsoll::builder().start_with(source)?;
/// let layer = AdmissionLayer::new(&plimsoll, Priority::Normal, |job: &Vec<u8>| job.len() as u64);
/// let service = layer.layer(service_fn(|job: Vec<u8>| async move { Ok::<_, std::io::Error>(job.len()) }));
/// let refused = service.oneshot(vec![0; 100]).await;
/// assert!(matches!(refused, Err(AdmissionError::Refused(_))));
/// # Ok(())
/// # }
/// ```
pub struct AdmissionLayer<Req: 'static> {
    state: &'static AdmissionState<Req>,
}

/// Reached without a reference count, as the state of a [`MemoryGuard`](crate::MemoryGuard).
struct AdmissionState<Req> {
    admission: Admission,
    priority: Priority,
    cost: Box<dyn Fn(&Req) -> u64 + Send + Sync>,
    /// Keeps the sampler running for as long as something may be guarded.
    _plimsoll: Plimsoll,
}

impl<Req> AdmissionLayer<Req> {
    /// Admits all requests with one priority, each for the bytes that `cost` tells (at least 1).
    pub fn new(
        plimsoll: &Plimsoll,
        priority: Priority,
        cost: impl Fn(&Req) -> u64 + Send + Sync + 'static,
    ) -> Self {
        let state = AdmissionState {
            admission: plimsoll.admission(GuardMode::Enforce),
            priority,
            cost: Box::new(cost),
            _plimsoll: plimsoll.clone(),
        };
        Self { state: Box::leak(Box::new(state)) }
    }
}

impl<S, Req> Layer<S> for AdmissionLayer<Req> {
    type Service = AdmissionService<S, Req>;

    fn layer(&self, inner: S) -> Self::Service {
        AdmissionService { inner, state: self.state, inner_ready: false }
    }
}

// By hand: a request type need not be `Clone`.
impl<Req> Clone for AdmissionLayer<Req> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req> Copy for AdmissionLayer<Req> {}

impl<Req> fmt::Debug for AdmissionLayer<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut layer = f.debug_struct("AdmissionLayer");
        layer.field("priority", &self.state.priority).finish_non_exhaustive()
    }
}

/// Admits requests of any type by memory; the bytes are held until the response is ready.
pub struct AdmissionService<S, Req: 'static> {
    inner: S,
    state: &'static AdmissionState<Req>,
    /// Whether `inner` was ready and has not been called since.
    inner_ready: bool,
}

impl<S, Req> Service<Req> for AdmissionService<S, Req>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = AdmissionError<S::Error>;
    type Future = AdmissionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let ready = self.inner.poll_ready(cx);
        self.inner_ready = matches!(ready, Poll::Ready(Ok(())));
        match ready {
            // While it is critical nobody queues here.
            Poll::Pending if self.state.admission.refuses_to_queue() => Poll::Ready(Ok(())),
            ready => ready.map_err(AdmissionError::Inner),
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let AdmissionState { admission, priority, cost, .. } = self.state;
        if !mem::take(&mut self.inner_ready) {
            let refusal = admission.busy_refusal(None);
            return AdmissionFuture { state: State::Refused { refusal } };
        }
        let state = match admission.reserve(cost(&request), None, || Some(*priority), false) {
            Ok(reservation) => {
                State::Admitted { inner: self.inner.call(request), reservation: Some(reservation) }
            }
            Err(refusal) => State::Refused { refusal },
        };
        AdmissionFuture { state }
    }
}

// By hand: readiness belongs to one handle, so a clone starts without it.
impl<S: Clone, Req> Clone for AdmissionService<S, Req> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), state: self.state, inner_ready: false }
    }
}

impl<S: fmt::Debug, Req> fmt::Debug for AdmissionService<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of [`AdmissionService`].
    ///
    /// # Cancel safety
    /// Dropping it drops the inner future and then gives the reserved bytes back.
    #[derive(Debug)]
    pub struct AdmissionFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Admitted {
            #[pin]
            inner: F,
            // After `inner`: what it holds must be gone before its bytes are given back.
            reservation: Option<Reservation>,
        },
        Refused { refusal: Refusal },
    }
}

impl<F, T, E> Future for AdmissionFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, AdmissionError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Admitted { inner, reservation } => {
                let ended = ready!(inner.poll(cx));
                // Now rather than with the future, which may lie about after its end.
                drop(reservation.take());
                Poll::Ready(ended.map_err(AdmissionError::Inner))
            }
            StateProjection::Refused { refusal } => {
                Poll::Ready(Err(AdmissionError::Refused(*refusal)))
            }
        }
    }
}
