//! Under a layer that answers by itself, and so needs a body that can be made from nothing.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use plimsoll_guard::MemoryGuardLayer;
use plimsoll_testkit::ScriptedBody;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::{Ask, Reply, Ship, get};

/// Like tower-http's `CorsLayer` or `ValidateRequestHeaderLayer`.
#[derive(Clone)]
struct Doorman<S>(S);

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Doorman<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<ResBody>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if request.uri().path() == "/closed" {
            return Either::Right(ready(Ok(Response::default())));
        }
        Either::Left(self.0.call(request))
    }
}

#[tokio::test]
async fn a_layer_outside_can_answer_by_itself() {
    let ship = Ship::full();
    let service = ServiceBuilder::new()
        .layer_fn(Doorman)
        .layer(MemoryGuardLayer::new(ship.config()))
        .service_fn(async |_: Ask| Ok::<_, Infallible>(Reply::new(ScriptedBody::new())));
    assert_eq!(service.clone().oneshot(get("/closed")).await.unwrap().status(), 200);
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 503);
}
