//! What hosts ask of a service, held against the guard at compile time.

use std::{convert::Infallible, error::Error, fmt::Debug};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use plimsoll_guard::{
    AdmissionLayer, AdmissionService, ChargedBody, ChargedBodyError, ChargingGuard,
    ChargingGuardBody, ChargingGuardFuture, ChargingGuardLayer, MemoryGuard, MemoryGuardBody,
    MemoryGuardFuture, MemoryGuardLayer,
};
use plimsoll_testkit::ScriptedBody;
use tower::{Layer, Service};

type BoxError = Box<dyn Error + Send + Sync>;

/// socketioxide around or inside the guard: its own response body wraps the inner one, and asks
/// for a real error type.
fn engine_io<S, ReqBody, ResBody>(_: &S)
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: Body + Send + Unpin + Debug + 'static,
    ReqBody::Error: Debug,
    ReqBody::Data: Send,
    ResBody: Body + Send + 'static,
    ResBody::Error: Error + 'static,
{
}

/// axum's `Router::layer`.
fn axum_layer<L, ResBody>(_: &L)
where
    L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static,
    L::Service: Service<axum::extract::Request, Response = Response<ResBody>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<axum::extract::Request>>::Future: Send + 'static,
    ResBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
}

/// A body that an inner service may get: hyper's servers and clients, axum, tonic, socketioxide.
fn request_body<B>()
where
    B: Body<Data = Bytes> + Send + Unpin + Debug + 'static,
    B::Error: Error + Send + Sync + Debug + Into<BoxError> + 'static,
{
}

fn shared<T: Clone + Send + Sync + Debug + 'static>() {}
fn movable<T: Send + Unpin + 'static>() {}

/// A request type that is none of these.
struct Job(#[expect(dead_code, reason = "makes it neither Sync nor Clone")] std::cell::Cell<u8>);

#[tokio::test]
async fn the_guard_keeps_the_bounds_of_its_hosts() {
    let ship = crate::support::Ship::idle();
    let layer = MemoryGuardLayer::new(ship.config());
    let inner = tower::service_fn(async |_: Request<ScriptedBody>| {
        Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
    });
    engine_io(&layer.layer(inner));
    axum_layer(&layer);
    shared::<MemoryGuardLayer>();
    shared::<MemoryGuard<u8>>();
    shared::<AdmissionLayer<Job>>();
    shared::<AdmissionService<u8, Job>>();
    movable::<MemoryGuardBody<Full<Bytes>>>();
    movable::<MemoryGuardFuture<std::future::Ready<()>>>();
}

#[tokio::test]
async fn a_guard_that_charges_bodies_keeps_the_bounds_of_its_hosts() {
    let ship = crate::support::Ship::idle();
    let layer = MemoryGuardLayer::new(ship.config()).charging_bodies();
    let inner = tower::service_fn(async |_: Request<ChargedBody<ScriptedBody>>| {
        Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
    });
    engine_io::<_, ScriptedBody, _>(&layer.layer(inner));
    axum_layer(&layer);
    shared::<ChargingGuardLayer>();
    shared::<ChargingGuard<u8>>();
    movable::<ChargingGuardBody<Full<Bytes>>>();
    movable::<ChargingGuardFuture<std::future::Ready<()>>>();
    movable::<ChargedBodyError>();
    request_body::<ChargedBody<ScriptedBody>>();
    request_body::<ChargedBody<hyper::body::Incoming>>();
    request_body::<ChargedBody<axum::body::Body>>();
    request_body::<ChargedBody<tonic::body::Body>>();
    // Whose error is not one by its trait.
    request_body::<ChargedBody<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>>();
    request_body::<ChargedBody<ChargedBody<Full<Bytes>>>>();
}

#[test]
fn a_future_is_little_larger_than_the_one_it_holds() {
    type Inner = std::future::Ready<[u8; 256]>;
    assert!(size_of::<MemoryGuardFuture<Inner>>() <= size_of::<Inner>() + 40);
    assert!(size_of::<MemoryGuardBody<Full<Bytes>>>() <= size_of::<Full<Bytes>>() + 40);
    assert!(size_of::<ChargingGuardFuture<Inner>>() <= size_of::<Inner>() + 48);
    assert!(size_of::<ChargingGuardBody<Full<Bytes>>>() <= size_of::<Full<Bytes>>() + 48);
    assert!(size_of::<ChargedBody<Full<Bytes>>>() <= size_of::<Full<Bytes>>() + 32);
}
