//! The servers that are compared.

use std::{convert::Infallible, future::Future, io::Read};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use plimsoll_core::{MB, Plimsoll};
use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
use plimsoll_monitor::MonitorRouteLayer;
use plimsoll_testkit::ScriptedSource;
use tokio::{net::TcpListener, sync::oneshot};
use tower::{Layer, Service, ServiceExt, make::Shared, util::MapResponseLayer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Router,
    Shared,
    /// The control: the router served as all that follow are, with nothing around it.
    Alone,
    Guard,
    Monitor,
    Both,
    /// By `axum::serve`, which takes no body but its own.
    Boxed,
    Refusing,
    /// What `Refusing` could not go below: nothing but a status, served in the same way.
    Status,
    Hyper,
    HyperRefusing,
}

impl Variant {
    pub(crate) const ALL: [Self; 11] = [
        Self::Router,
        Self::Shared,
        Self::Alone,
        Self::Guard,
        Self::Monitor,
        Self::Both,
        Self::Boxed,
        Self::Refusing,
        Self::Status,
        Self::Hyper,
        Self::HyperRefusing,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Router => "axum Router, axum::serve",
            Self::Shared => "axum Router behind Shared, axum::serve",
            Self::Alone => "axum Router, hyper's connection",
            Self::Guard => "guard around it",
            Self::Monitor => "monitor around it",
            Self::Both => "monitor and guard around it",
            Self::Boxed => "the same, body boxed, axum::serve",
            Self::Refusing => "monitor and guard around it, refusing",
            Self::Status => "503 without a body, hyper's connection",
            Self::Hyper => "hyper alone",
            Self::HyperRefusing => "hyper alone, 503 without a body",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    pub(crate) fn status(self) -> u16 {
        if matches!(self, Self::Refusing | Self::Status | Self::HyperRefusing) { 503 } else { 200 }
    }
}

/// Serves until the input ends; prints the address first.
pub(crate) fn run(variant: Variant) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let usage = if variant == Variant::Refusing { 3_500 * MB } else { 100 * MB };
    let (source, _script) = ScriptedSource::with_rss(usage);
    let plimsoll = Plimsoll::builder().start_with(source).expect("a readable source");
    let guard = MemoryGuardLayer::new(GuardConfig::new(&plimsoll).exempt("/internal/*"));
    let monitor = MonitorRouteLayer::new(&plimsoll);
    let router = Router::new().route("/", get(async || "Hello, World!"));
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    match variant {
        Variant::Router => serve_until_told(&runtime, async {
            let ended = async { _ = ended.await };
            axum::serve(listener, router).with_graceful_shutdown(ended).await.expect("it serves");
        }),
        Variant::Shared => serve_until_told(&runtime, shared(listener, router, ended)),
        Variant::Alone => serve_until_told(&runtime, connection(listener, router)),
        Variant::Guard => serve_until_told(&runtime, connection(listener, guard.layer(router))),
        Variant::Monitor => {
            serve_until_told(&runtime, connection(listener, monitor.layer(router)));
        }
        Variant::Both | Variant::Refusing => {
            let both = monitor.layer(guard.layer(router));
            serve_until_told(&runtime, connection(listener, both));
        }
        Variant::Boxed => {
            let both = monitor.layer(guard.layer(router));
            let boxed = MapResponseLayer::new(|response: Response<_>| response.map(Body::new));
            let boxed = boxed.layer(both);
            serve_until_told(&runtime, shared(listener, boxed, ended));
        }
        Variant::Status => {
            let service = tower::service_fn(|_: Request<Body>| async {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Ok::<_, Infallible>(response)
            });
            serve_until_told(&runtime, connection(listener, service));
        }
        Variant::Hyper => serve_until_told(&runtime, hyper(listener, StatusCode::OK)),
        Variant::HyperRefusing => {
            serve_until_told(&runtime, hyper(listener, StatusCode::SERVICE_UNAVAILABLE));
        }
    }
}

/// What is counted.
#[inline(never)]
fn serve_until_told(runtime: &tokio::runtime::Runtime, serving: impl Future<Output = ()>) {
    runtime.block_on(serving);
}

async fn shared<S>(listener: TcpListener, service: S, ended: oneshot::Receiver<()>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let ended = async { _ = ended.await };
    let serve = axum::serve(listener, Shared::new(service)).with_graceful_shutdown(ended);
    serve.await.expect("it serves");
}

/// One connection, served as `axum::serve` serves it, but with any body.
async fn connection<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (stream, _) = listener.accept().await.expect("a client");
    let service = service.map_request(|request: Request<Incoming>| request.map(Body::new));
    let builder = auto::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(service);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    served.expect("a client that hangs up between requests");
}

/// One connection, without axum and without a layer.
async fn hyper(listener: TcpListener, status: StatusCode) {
    let (stream, _) = listener.accept().await.expect("a client");
    let service = hyper::service::service_fn(move |_: Request<hyper::body::Incoming>| async move {
        let text = if status == StatusCode::OK { "Hello, World!" } else { "" };
        let mut response = Response::new(http_body_util::Full::new(bytes::Bytes::from(text)));
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    served.expect("a client that hangs up between requests");
}
