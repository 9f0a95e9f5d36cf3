//! Reserved bytes go once, whatever becomes of the request.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
};

use http::{Request, Response};
use http_body_util::BodyExt;
use plimsoll_core::MB;
use plimsoll_guard::{DEFAULT_REQUEST_COST_BYTES, MemoryGuardLayer};
use plimsoll_testkit::ScriptedBody;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Ask, Reply, Ship, call, get, guarded, post};

const ONE: (u64, u64) = (1, DEFAULT_REQUEST_COST_BYTES);
const NONE: (u64, u64) = (0, 0);

/// Answers with this body; the future has ended.
async fn answered(
    ship: &Ship,
    body: ScriptedBody,
) -> plimsoll_guard::MemoryGuardBody<ScriptedBody> {
    let (mut service, mut inner) = guarded(ship.config());
    let mut answer = call(&mut service, get("/"));
    assert_pending!(answer.poll());
    inner.next_request().await.unwrap().1.send_response(Response::new(body));
    let answer = assert_ready_ok!(answer.poll());
    assert_eq!(ship.held(), ONE);
    answer.into_body()
}

#[tokio::test]
async fn bytes_are_held_until_the_body_is_dropped_and_not_only_read() {
    let ship = Ship::idle();
    let mut body = answered(&ship, ScriptedBody::new().data("load").data("line")).await;
    while body.frame().await.is_some() {
        assert_eq!(ship.held(), ONE);
    }
    assert_eq!(ship.held(), ONE);
    drop(body);
    assert_eq!(ship.held(), NONE);
}

#[tokio::test]
async fn a_slow_body_keeps_its_bytes() {
    let ship = Ship::idle();
    let script = ScriptedBody::new().data("load").hold().data("line");
    let probe = script.probe();
    let mut body = task::spawn(answered(&ship, script).await);
    let mut poll = move || {
        body.enter(|cx, body| http_body::Body::poll_frame(body, cx).map(|frame| frame.is_some()))
    };
    assert!(poll().is_ready());
    for _ in 0..3 {
        assert_pending!(poll());
        assert_eq!(ship.held(), ONE);
    }
    probe.resume();
    assert_pending!(poll());
    assert!(poll().is_ready());
    drop(poll);
    assert_eq!((ship.held(), probe.is_dropped()), (NONE, true));
}

#[tokio::test]
async fn a_body_dropped_half_way_gives_its_bytes_back() {
    let ship = Ship::idle();
    let mut body = answered(&ship, ScriptedBody::new().data("load").data("line")).await;
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(ship.held(), NONE);
}

#[tokio::test]
async fn a_body_that_fails_gives_its_bytes_back_with_its_end() {
    let ship = Ship::idle();
    let mut body = answered(&ship, ScriptedBody::new().data("load").error("reset by peer")).await;
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "reset by peer");
    assert_eq!(ship.held(), ONE);
    drop(body);
    assert_eq!(ship.held(), NONE);
}

#[tokio::test]
async fn an_error_gives_the_bytes_back_before_its_future_goes() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    let mut answer = call(&mut service, get("/"));
    assert_pending!(answer.poll());
    assert_eq!(ship.held(), ONE);
    inner.next_request().await.unwrap().1.send_error("broken");
    assert_eq!(assert_ready_err!(answer.poll()).to_string(), "broken");
    assert_eq!(ship.held(), NONE);
    drop(answer);
    assert_eq!(ship.held(), NONE);
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_bytes_back() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    for polled in [false, true] {
        let mut answer = call(&mut service, post("/", "1000000"));
        if polled {
            assert_pending!(answer.poll());
        }
        assert_eq!(ship.held(), (1, DEFAULT_REQUEST_COST_BYTES + MB));
        drop(answer);
        assert_eq!(ship.held(), NONE);
    }
    assert_eq!(inner.next_request().await.unwrap().0.method(), "POST");
}

#[derive(Clone)]
struct PanicsInCall;

impl Service<Ask> for PanicsInCall {
    type Response = Reply;
    type Error = Infallible;
    type Future = Ready<Result<Reply, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Ask) -> Self::Future {
        assert!(request.uri().path() == "/fine", "boom");
        ready(Ok(Reply::default()))
    }
}

#[tokio::test]
async fn a_panic_in_call_gives_the_bytes_back() {
    let ship = Ship::idle();
    let mut service = MemoryGuardLayer::new(ship.config()).layer(PanicsInCall);
    // By both ways to the inner service: with and without questions.
    for request in [get("/"), post("/", "1000")] {
        service.ready().await.unwrap();
        catch_unwind(AssertUnwindSafe(|| drop(service.call(request)))).unwrap_err();
        assert_eq!((ship.held(), ship.figures().admitted > 0), (NONE, true));
    }
    let answer = service.ready().await.unwrap().call(get("/fine")).await.unwrap();
    assert_eq!((answer.status().as_u16(), ship.held()), (200, ONE));
}

#[tokio::test]
async fn a_panic_in_poll_gives_the_bytes_back_with_the_future() {
    let ship = Ship::idle();
    let service = MemoryGuardLayer::new(ship.config())
        .layer(service_fn(async |_: Ask| -> Result<Reply, Infallible> { panic!("boom") }));
    let task = tokio::spawn(service.oneshot(get("/")));
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!((ship.held(), ship.figures().admitted), (NONE, 1));
}

#[tokio::test]
async fn what_the_inner_service_holds_goes_before_its_bytes() {
    struct Held(plimsoll_core::Plimsoll);
    impl Drop for Held {
        fn drop(&mut self) {
            assert_eq!(self.0.report().guard.in_flight, 1, "given back too early");
        }
    }
    let ship = Ship::idle();
    let plimsoll = ship.plimsoll.clone();
    let service =
        MemoryGuardLayer::new(ship.config()).layer(service_fn(move |_: Request<ScriptedBody>| {
            let held = Held(plimsoll.clone());
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok::<_, Infallible>(Reply::default())
            }
        }));
    let mut answer = task::spawn(service.oneshot(get("/")));
    assert_pending!(answer.poll());
    drop(answer);
    assert_eq!(ship.held(), NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_end_in_every_way_at_once_leave_nothing_behind() {
    let ship = Ship::idle();
    let service =
        MemoryGuardLayer::new(ship.config()).layer(service_fn(async |request: Ask| match request
            .uri()
            .path()
        {
            "/fails" => Err(std::io::Error::other("broken")),
            "/waits" => std::future::pending().await,
            "/panics" => panic!("boom"),
            _ => Ok(Response::new(ScriptedBody::new().data("load").data("line"))),
        }));
    let tasks: Vec<_> = (0..400)
        .map(|turn| {
            let path = ["/fails", "/waits", "/panics", "/whole", "/half"][turn % 5];
            let request = if turn % 2 == 0 { get(path) } else { post(path, "1000") };
            let answer = service.clone().oneshot(request);
            tokio::spawn(async move {
                let mut body = answer.await?.into_body();
                body.frame().await;
                if path == "/whole" {
                    while body.frame().await.is_some() {}
                }
                Ok::<_, std::io::Error>(())
            })
        })
        .collect();
    for task in tasks {
        if ship.figures().in_flight > 0 {
            tokio::task::yield_now().await;
        }
        task.abort();
        // Ended by itself, by the abort or by its panic.
        let _ = task.await;
    }
    ship.wait_until_empty().await;
}
