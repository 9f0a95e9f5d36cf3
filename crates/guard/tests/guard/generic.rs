//! The layer for services that are not HTTP.

use plimsoll_core::{MB, Priority, RefusalReason};
use plimsoll_guard::{AdmissionError, AdmissionLayer};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower_test::mock;

use crate::support::{FULL, Ship};

/// Asks for so many bytes.
type Job = u64;

fn layer(ship: &Ship) -> AdmissionLayer<Job> {
    AdmissionLayer::new(&ship.plimsoll, Priority::Normal, |bytes: &Job| *bytes)
}

#[tokio::test]
async fn work_that_fits_is_done_and_its_bytes_are_held_meanwhile() {
    let ship = Ship::idle();
    let (mut service, mut inner) = mock::spawn_layer::<Job, &str, _>(layer(&ship));
    assert_ready_ok!(service.poll_ready());
    let mut done = task::spawn(service.call(10 * MB));
    assert_pending!(done.poll());
    assert_eq!(ship.held(), (1, 10 * MB));
    inner.next_request().await.unwrap().1.send_response("done");
    assert_eq!(assert_ready_ok!(done.poll()), "done");
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_refusal_is_an_error_that_tells_when_to_come_back() {
    let ship = Ship::idle();
    let (mut service, mut inner) = mock::spawn_layer::<Job, &str, _>(layer(&ship));
    ship.use_bytes(FULL).await;
    assert_ready_ok!(service.poll_ready());
    let error = assert_ready_err!(task::spawn(service.call(1)).poll());
    let AdmissionError::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!(refusal.reason, RefusalReason::Pressure);
    assert!((1..=10).contains(&refusal.retry_after.as_secs()));
    assert!(error.to_string().starts_with("refused for lack of memory; try again in "), "{error}");
    assert_pending!(inner.poll_request());
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_told_from_a_refusal() {
    let ship = Ship::idle();
    let (mut service, mut inner) = mock::spawn_layer::<Job, &str, _>(layer(&ship));
    assert_ready_ok!(service.poll_ready());
    let mut done = task::spawn(service.call(MB));
    assert_pending!(done.poll());
    inner.next_request().await.unwrap().1.send_error("broken");
    let error = assert_ready_err!(done.poll());
    assert!(matches!(&error, AdmissionError::Inner(inner) if inner.to_string() == "broken"));
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn at_critical_nobody_queues_and_nobody_is_called_unready() {
    let ship = Ship::full();
    let (mut service, mut inner) = mock::spawn_layer::<Job, &str, _>(layer(&ship));
    inner.allow(0);
    assert_ready_ok!(service.poll_ready());
    ship.relieve();
    assert_ready_err!(task::spawn(service.call(1)).poll());
    assert_pending!(inner.poll_request());
    assert_pending!(service.poll_ready());
    assert_eq!((ship.figures().admitted, ship.figures().shed), (0, 1));
}

#[tokio::test]
async fn a_clone_has_no_readiness_of_its_own() {
    let ship = Ship::idle();
    let (mut service, mut inner) = mock::spawn_layer::<Job, &str, _>(layer(&ship));
    assert_ready_ok!(service.poll_ready());
    let mut clone = mock::Spawn::new(service.get_ref().clone());
    assert_ready_err!(task::spawn(clone.call(1)).poll());
    assert_pending!(inner.poll_request());
}

#[tokio::test]
async fn work_that_is_given_up_gives_its_bytes_back() {
    let ship = Ship::idle();
    let (mut service, _inner) = mock::spawn_layer::<Job, &str, _>(layer(&ship));
    assert_ready_ok!(service.poll_ready());
    let done = task::spawn(service.call(MB));
    assert_eq!(ship.held(), (1, MB));
    drop(done);
    assert_eq!(ship.held(), (0, 0));
}
