//! The same admission for services that are not HTTP: a refusal is an error.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use plimsoll_core::{Admission, GuardMode, Plimsoll, PressureLevel, Priority, Reservation};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::AdmissionError;

type CostFn<Req> = dyn Fn(&Req) -> u64 + Send + Sync;

/// Applies [`AdmissionService`]. `cost` tells the bytes that a request takes while it is handled.
///
/// ```
/// use plimsoll_core::{MB, Plimsoll, Priority};
/// use plimsoll_guard::{AdmissionError, AdmissionLayer};
/// use plimsoll_testkit::ScriptedSource;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (source, _script) = ScriptedSource::with_rss(3_500 * MB); // over critical
/// let plimsoll = Plimsoll::builder().start_with(source)?;
/// let layer = AdmissionLayer::new(&plimsoll, Priority::Normal, |job: &Vec<u8>| job.len() as u64);
/// let service = layer.layer(service_fn(|job: Vec<u8>| async move { Ok::<_, std::io::Error>(job.len()) }));
/// let refused = service.oneshot(vec![0; 100]).await;
/// assert!(matches!(refused, Err(AdmissionError::Refused(_))));
/// # Ok(())
/// # }
/// ```
pub struct AdmissionLayer<Req> {
    admission: Admission,
    plimsoll: Plimsoll,
    priority: Priority,
    cost: Arc<CostFn<Req>>,
}

impl<Req> AdmissionLayer<Req> {
    /// Admits all requests with one priority, each for the bytes that `cost` tells (at least 1).
    pub fn new(
        plimsoll: &Plimsoll,
        priority: Priority,
        cost: impl Fn(&Req) -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            admission: plimsoll.admission(GuardMode::Enforce),
            plimsoll: plimsoll.clone(),
            priority,
            cost: Arc::new(cost),
        }
    }
}

impl<S, Req> Layer<S> for AdmissionLayer<Req> {
    type Service = AdmissionService<S, Req>;

    fn layer(&self, inner: S) -> Self::Service {
        AdmissionService { inner, layer: self.clone(), inner_ready: false }
    }
}

// By hand: a request type need not be `Clone`.
impl<Req> Clone for AdmissionLayer<Req> {
    fn clone(&self) -> Self {
        Self {
            admission: self.admission,
            plimsoll: self.plimsoll.clone(),
            priority: self.priority,
            cost: Arc::clone(&self.cost),
        }
    }
}

impl<Req> fmt::Debug for AdmissionLayer<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionLayer").field("priority", &self.priority).finish_non_exhaustive()
    }
}

/// Admits requests of any type by memory; the bytes are held until the response is ready.
pub struct AdmissionService<S, Req> {
    inner: S,
    layer: AdmissionLayer<Req>,
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
        match self.inner.poll_ready(cx) {
            Poll::Ready(ready) => {
                self.inner_ready = ready.is_ok();
                Poll::Ready(ready.map_err(AdmissionError::Inner))
            }
            // While memory is critical nobody queues here.
            Poll::Pending if self.layer.admission.level() == PressureLevel::Critical => {
                self.inner_ready = false;
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let layer = &self.layer;
        let cost = (layer.cost)(&request);
        let state = match layer.admission.reserve(cost, None, || Some(layer.priority), false) {
            Ok(reservation) if mem::take(&mut self.inner_ready) => {
                State::Admitted { inner: self.inner.call(request), reservation: Some(reservation) }
            }
            Ok(_) => State::Refused { refusal: layer.admission.busy_refusal(None) },
            Err(refusal) => State::Refused { refusal },
        };
        AdmissionFuture { state }
    }
}

// By hand: readiness belongs to one handle, so a clone starts without it.
impl<S: Clone, Req> Clone for AdmissionService<S, Req> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone(), inner_ready: false }
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
        Refused { refusal: plimsoll_core::Refusal },
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
                let ended = std::task::ready!(inner.poll(cx));
                drop(reservation.take());
                Poll::Ready(ended.map_err(AdmissionError::Inner))
            }
            StateProjection::Refused { refusal } => {
                Poll::Ready(Err(AdmissionError::Refused(*refusal)))
            }
        }
    }
}
