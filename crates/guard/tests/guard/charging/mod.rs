//! Request bodies that are charged as they arrive.

mod arriving;
mod ends;
mod hosts;
mod random;
mod refusing;

use http::{Method, Request};
use http_body::Body;
use plimsoll_guard::{
    ChargedBody, ChargedBodyError, ChargingGuard, ChargingGuardFuture, GuardConfig,
    MemoryGuardLayer,
};
use plimsoll_testkit::ScriptedBody;
use std::task::Poll;
use tokio_test::task::{self, Spawn};
use tower::Service;
use tower_test::mock::{self, Handle, Mock};

use crate::support::{Ask, Reply};

type Inner = Mock<Charged, Reply>;
type Charged = Request<ChargedBody<ScriptedBody>>;
type Charging = mock::Spawn<ChargingGuard<Inner>>;
type Answer = Spawn<ChargingGuardFuture<<Inner as Service<Charged>>::Future>>;

fn charging(config: GuardConfig) -> (Charging, Handle<Charged, Reply>) {
    let layer = MemoryGuardLayer::new(config).charging_bodies();
    mock::spawn_layer(layer.passed_on(|head| head.headers.contains_key("passed-on")))
}

/// Makes the service ready and calls it.
fn call(service: &mut Charging, request: Ask) -> Answer {
    tokio_test::assert_ready_ok!(service.poll_ready());
    task::spawn(service.call(request))
}

/// Declares no length anywhere.
fn upload(body: ScriptedBody) -> Ask {
    let body = body.size_hint(http_body::SizeHint::default());
    Request::builder().method(Method::POST).uri("/upload").body(body).unwrap()
}

/// Zeroes that take no memory until somebody reads them.
static ZEROES: [u8; 100_000_000] = [0; 100_000_000];

/// `count` chunks of `bytes`.
fn chunks(count: usize, bytes: u64) -> ScriptedBody {
    let chunk = bytes::Bytes::from_static(&ZEROES[..usize::try_from(bytes).unwrap()]);
    (0..count).fold(ScriptedBody::new(), |body, _| body.data(chunk.clone()))
}

type Frame = Result<http_body::Frame<bytes::Bytes>, ChargedBodyError>;

/// A body that is polled and not awaited.
struct Polled(Spawn<ChargedBody<ScriptedBody>>);

impl Polled {
    fn new(request: Charged) -> Self {
        Self(task::spawn(request.into_body()))
    }

    fn poll(&mut self) -> Poll<Option<Frame>> {
        self.0.enter(|cx, body| body.poll_frame(cx))
    }

    /// The next frame's data; none at the end.
    fn data(&mut self) -> Option<bytes::Bytes> {
        match self.poll() {
            Poll::Ready(frame) => Some(frame?.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("nothing has arrived"),
        }
    }

    fn error(&mut self) -> ChargedBodyError {
        match self.poll() {
            Poll::Ready(Some(Err(error))) => error,
            other => panic!("{other:?}"),
        }
    }
}
