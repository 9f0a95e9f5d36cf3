//! When the inner service is asked, and when it is called.

use plimsoll_core::MB;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_test::mock;

use crate::support::{FULL, Ship, call, get, guarded, post};

#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service_and_its_body_is_not_read() {
    let ship = Ship::full();
    let (mut service, mut inner) = guarded(ship.config());
    let request = post("/upload", "4");
    let body = request.body().probe();
    let answer = assert_ready_ok!(call(&mut service, request).poll());
    assert_eq!(answer.status(), 503);
    assert_eq!((body.polls(), body.is_dropped()), (0, true));
    assert_pending!(inner.poll_request());
    assert_eq!(ship.figures().shed, 1);
}

#[tokio::test]
async fn while_memory_suffices_a_busy_inner_service_is_waited_for() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    inner.allow(0);
    assert_pending!(service.poll_ready());
    inner.allow(1);
    assert!(service.is_woken());
    let mut answer = call(&mut service, get("/"));
    assert_pending!(answer.poll());
    inner.next_request().await.unwrap().1.send_response(http::Response::default());
    assert_eq!(assert_ready_ok!(answer.poll()).status(), 200);
}

#[tokio::test]
async fn at_critical_a_busy_inner_service_does_not_delay_a_refusal() {
    let ship = Ship::full();
    let (mut service, mut inner) = guarded(ship.config());
    inner.allow(0);
    assert_ready_ok!(service.poll_ready());
    let answer = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(answer.status(), 503);
    assert_pending!(inner.poll_request());
}

#[tokio::test]
async fn an_inner_service_that_was_not_ready_is_not_called_when_pressure_ends_meanwhile() {
    let ship = Ship::full();
    let (mut service, mut inner) = guarded(ship.config());
    inner.allow(0);
    assert_ready_ok!(service.poll_ready());
    ship.relieve();
    let answer = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(answer.status(), 503);
    assert_pending!(inner.poll_request());
    let figures = ship.figures();
    assert_eq!((figures.admitted, figures.shed, figures.reserved_bytes), (0, 1, 0));
}

#[tokio::test]
async fn nobody_is_turned_away_from_a_busy_service_where_nothing_is_refused() {
    for expired in [false, true] {
        let ship = Ship::full();
        let (mut service, mut inner) = guarded(ship.config().observe_only(!expired));
        if expired {
            ship.script.fail(true);
            assert!(ship.plimsoll.check().await.is_none());
            ship.clock.advance(std::time::Duration::from_secs(3_600));
        }
        inner.allow(0);
        assert_pending!(service.poll_ready(), "expired: {expired}");
        assert_eq!(ship.figures().shed, 0);
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_and_is_no_readiness() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    assert_ready_ok!(service.poll_ready());
    inner.send_error("broken");
    let error = tokio_test::assert_ready_err!(service.poll_ready());
    assert_eq!(error.to_string(), "broken");
    let answer = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(answer.status(), 503, "the inner service was not called");
}

#[tokio::test]
async fn a_clone_has_no_readiness_of_its_own() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    inner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut clone = mock::Spawn::new(service.get_ref().clone());
    let answer = assert_ready_ok!(task::spawn(clone.call(get("/clone"))).poll());
    assert_eq!(answer.status(), 503);
    assert_pending!(inner.poll_request());
    // What was ready before is ready still.
    assert_pending!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(inner.next_request().await.unwrap().0.uri().path(), "/");
}

#[tokio::test]
async fn readiness_is_for_one_call() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    let mut first = call(&mut service, get("/first"));
    assert_pending!(first.poll());
    let second = assert_ready_ok!(task::spawn(service.call(get("/second"))).poll());
    assert_eq!(second.status(), 503);
    assert_eq!(inner.next_request().await.unwrap().0.uri().path(), "/first");
    assert_pending!(inner.poll_request());
}

#[tokio::test]
async fn a_refusal_uses_the_readiness_up_as_well() {
    let ship = Ship::idle();
    let (mut service, mut inner) = guarded(ship.config());
    assert_ready_ok!(service.poll_ready());
    ship.use_bytes(FULL).await;
    for _ in 0..2 {
        let answer = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
        assert_eq!(answer.status(), 503);
    }
    ship.relieve();
    let answer = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(answer.status(), 503, "not made ready again");
    assert_pending!(inner.poll_request());
    assert!(ship.plimsoll.reading().rss_bytes >= Some(300 * MB));
}
