//! The monitor around a service that is busy.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_core::{MB, Plimsoll};
use plimsoll_monitor::{Monitor, MonitorRouteLayer};
use plimsoll_testkit::ScriptedSource;
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{MEMORY, empty, local};

/// Ready when told; panics when it is called without having said that it is.
#[derive(Debug)]
struct Strict {
    shared: Arc<Shared>,
    ready: bool,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicBool,
    broken: AtomicBool,
    calls: AtomicUsize,
}

// Readiness belongs to one instance.
impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), ready: false }
    }
}

impl Service<Request<Full<Bytes>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.shared.broken.load(SeqCst) {
            return Poll::Ready(Err("broken"));
        }
        self.ready = self.shared.open.load(SeqCst);
        if self.ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.shared.calls.fetch_add(1, SeqCst);
        std::future::ready(Ok(Response::new(Full::default())))
    }
}

fn monitored() -> (Monitor<Strict>, Arc<Shared>, Plimsoll) {
    let (source, _script) = ScriptedSource::with_rss(MB);
    let plimsoll = Plimsoll::builder().start_with(source).unwrap();
    let shared = Arc::new(Shared::default());
    let strict = Strict { shared: Arc::clone(&shared), ready: false };
    (MonitorRouteLayer::new(&plimsoll).layer(strict), shared, plimsoll)
}

fn request(path: &str) -> Request<Full<Bytes>> {
    local(Method::GET, path).body(empty()).unwrap()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_ready<S: Service<Request<Full<Bytes>>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn monitoring_answers_while_the_service_behind_is_busy() {
    let (service, shared, _plimsoll) = monitored();
    for path in [MEMORY, "/livez", "/readyz"] {
        let answer = service.clone().oneshot(request(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(shared.calls.load(SeqCst), 0);
}

#[tokio::test]
async fn other_requests_wait_for_their_turn() {
    let (mut service, shared, _plimsoll) = monitored();
    assert!(poll_ready(&mut service).is_ready());
    let mut waiting = Box::pin(service.call(request("/")));
    assert!(poll(waiting.as_mut()).is_pending());
    assert_eq!(shared.calls.load(SeqCst), 0);
    shared.open.store(true, SeqCst);
    let Poll::Ready(Ok(answer)) = poll(waiting.as_mut()) else { panic!("it is ready") };
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(shared.calls.load(SeqCst), 1);
}

#[tokio::test]
async fn a_service_that_was_made_ready_is_called_once_for_it() {
    let (mut service, shared, _plimsoll) = monitored();
    shared.open.store(true, SeqCst);
    assert!(poll_ready(&mut service).is_ready());
    // A monitoring request in between takes nothing away.
    let mut report = Box::pin(service.call(request("/livez")));
    assert!(poll(report.as_mut()).is_ready());
    assert!(poll(Box::pin(service.call(request("/"))).as_mut()).is_ready());
    // Called again without being asked: makes ready first rather than panics.
    assert!(poll(Box::pin(service.call(request("/"))).as_mut()).is_ready());
    assert_eq!(shared.calls.load(SeqCst), 2);
}

#[tokio::test]
async fn a_clone_starts_without_readiness() {
    let (mut service, shared, _plimsoll) = monitored();
    shared.open.store(true, SeqCst);
    assert!(poll_ready(&mut service).is_ready());
    let mut clone = service.clone();
    shared.open.store(false, SeqCst);
    assert!(poll(Box::pin(clone.call(request("/"))).as_mut()).is_pending());
    assert!(poll(Box::pin(service.call(request("/"))).as_mut()).is_ready());
}

#[tokio::test]
async fn an_error_of_the_service_behind_is_passed_on_as_it_is() {
    let (mut service, shared, _plimsoll) = monitored();
    assert!(poll_ready(&mut service).is_ready());
    let mut waiting = Box::pin(service.call(request("/")));
    shared.broken.store(true, SeqCst);
    assert!(matches!(poll(waiting.as_mut()), Poll::Ready(Err("broken"))));
    assert_eq!(poll_ready(&mut service), Poll::Ready(Err("broken")));
}

#[tokio::test]
async fn a_limit_behind_the_monitor_holds_and_is_never_overrun() {
    let (source, _script) = ScriptedSource::with_rss(MB);
    let plimsoll = Plimsoll::builder().start_with(source).unwrap();
    let (go, inside) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let app = service_fn({
        let (go, inside) = (Arc::clone(&go), Arc::clone(&inside));
        move |_: Request<Full<Bytes>>| {
            let (go, inside) = (Arc::clone(&go), Arc::clone(&inside));
            async move {
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "two at once");
                go.notified().await;
                inside.fetch_sub(1, SeqCst);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        }
    });
    let limited = ConcurrencyLimitLayer::new(1).layer(app);
    let service = MonitorRouteLayer::new(&plimsoll).layer(limited);
    let mut calls: Vec<_> =
        (0..3).map(|_| Box::pin(service.clone().oneshot(request("/")))).collect();
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    assert_eq!(inside.load(SeqCst), 1);
    let report = service.clone().oneshot(request(MEMORY)).await.unwrap();
    assert_eq!(report.status(), StatusCode::OK);
    for call in calls {
        go.notify_one();
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
}
