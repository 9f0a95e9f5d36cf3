//! What becomes of an upload that outgrows its room.

use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::BodyExt;
use plimsoll_core::{MB, Priority};
use plimsoll_guard::{ChargedBodyError, DEFAULT_REQUEST_COST_BYTES as BASE, MemoryGuardLayer};
use plimsoll_testkit::ScriptedBody;
use serde_json::Value;
use std::task::Poll;
use tokio_test::{assert_pending, assert_ready_ok};
use tower::{Layer, ServiceExt, service_fn};

use super::{Charging, Polled, call, charging, chunks, upload};
use crate::support::{Ship, get, post};

/// Reserved by somebody else, so that normal priority has some 50 MB left. What one thread keeps
/// as credit is missing for it, so that the last 2 MiB under a line are left alone here.
const OTHERS: u64 = 200 * MB;

/// Takes up most of the room for as long as it is held.
fn others(service: &mut Charging) -> impl Sized + use<> {
    call(service, post("/other", "200000000"))
}

#[tokio::test]
async fn an_upload_that_outgrows_the_line_is_answered_in_the_place_of_its_handler() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let held = others(&mut service);
    let _other = inner.next_request().await.unwrap();
    let mut answer = call(&mut service, upload(chunks(9, 10 * MB)));
    assert_pending!(answer.poll());
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    for _ in 0..4 {
        assert!(body.data().is_some());
    }
    assert_pending!(answer.poll());
    assert_eq!(ship.held(), (2, OTHERS + 2 * BASE + 40 * MB));
    // The fifth would go past 250 MB; it is not handed on, and is the last that is asked for.
    let ChargedBodyError::Refused(refusal) = body.error() else { panic!("not the body's own") };
    assert!(refusal.retry_after.as_secs() >= 1);
    assert!(matches!(body.poll(), Poll::Ready(None)));
    assert!(body.0.is_end_stream() && body.0.size_hint().exact() == Some(0));
    // Read elsewhere, it has woken the future.
    assert!(answer.is_woken());
    let response = assert_ready_ok!(answer.poll());
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(ship.held(), (1, OTHERS + BASE + 40 * MB), "what was handed on is still there");
    drop(body);
    assert_eq!(ship.held(), (1, OTHERS + BASE), "an answer holds nothing");
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&text["status"], &text["instance"]), (&503.into(), &"/upload".into()));
    drop(held);
    assert_eq!(ship.held(), (0, 0));
    let figures = ship.figures();
    assert_eq!((figures.admitted, figures.shed), (2, 1), "admitted, and shed once");
    assert_eq!(ship.plimsoll.routes()[0].shed_memory, 1);
}

#[tokio::test]
async fn whatever_the_handler_makes_of_its_broken_body_the_client_is_told_why() {
    for fails in [false, true] {
        let ship = Ship::idle();
        let config = ship.config().cost(|_| Some(240 * MB));
        let handler = service_fn(move |request: super::Charged| async move {
            match request.into_body().collect().await {
                Ok(_) => Ok(Response::new(ScriptedBody::new())),
                Err(error) if fails => Err(error),
                Err(_) => {
                    let mut answer = Response::new(ScriptedBody::new());
                    *answer.status_mut() = http::StatusCode::BAD_REQUEST;
                    Ok(answer)
                }
            }
        });
        let service = MemoryGuardLayer::new(config).charging_bodies().layer(handler);
        let answer = service.clone().oneshot(upload(chunks(1, 1_000))).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer);
        let answer = service.oneshot(upload(chunks(5, 4 * MB))).await.unwrap();
        assert_eq!((answer.status().as_u16(), ship.held()), (503, (0, 0)));
    }
}

#[tokio::test]
async fn grpc_is_answered_as_grpc() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let _held = others(&mut service);
    let _other = inner.next_request().await.unwrap();
    let mut request = upload(chunks(1, 60 * MB));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    let mut answer = call(&mut service, request);
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    body.error();
    let response = assert_ready_ok!(answer.poll());
    assert_eq!((response.status().as_u16(), response.body().is_end_stream()), (200, true));
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc+proto");
    assert_eq!(response.headers()["grpc-status"], "14");
}

#[tokio::test]
async fn a_body_that_could_never_fit_is_told_so_once_it_has_arrived() {
    let ship = Ship::idle();
    for (cost, status) in [(1, 413), (200 * MB, 503)] {
        let (mut service, mut inner) = charging(ship.config().default_cost(cost));
        let mut answer = call(&mut service, upload(chunks(20, 15 * MB)));
        let (request, _reply) = inner.next_request().await.unwrap();
        let mut body = Polled::new(request);
        while let Poll::Ready(Some(Ok(_))) = body.poll() {}
        // A body that is the lesser part is not what makes it too large.
        assert_eq!(assert_ready_ok!(answer.poll()).status(), status);
    }
    assert_eq!(ship.plimsoll.routes()[0].shed_too_large, 2);
}

#[tokio::test]
async fn once_the_response_has_begun_only_the_handler_sees_the_refusal() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let held = others(&mut service);
    let _other = inner.next_request().await.unwrap();
    let mut answer = call(&mut service, upload(chunks(2, 30 * MB)));
    let (request, reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    assert!(body.data().is_some());
    reply.send_response(Response::new(ScriptedBody::new().data("half").data("way")));
    let response = assert_ready_ok!(answer.poll());
    assert_eq!(response.status(), 200);
    assert!(matches!(body.error(), ChargedBodyError::Refused(_)));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "halfway");
    drop((answer, body, held));
    assert_eq!((ship.held(), ship.figures().shed), ((0, 0), 1));
}

#[tokio::test]
async fn others_are_refused_while_an_upload_holds_the_room() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let mut answer = call(&mut service, upload(chunks(24, 10 * MB)));
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    while body.data().is_some() {}
    let refused = assert_ready_ok!(call(&mut service, post("/", "20000000")).poll());
    assert_eq!(refused.status(), 503);
    assert_pending!(answer.poll());
    drop((answer, body));
    assert_eq!(ship.held(), (0, 0));
    assert_pending!(call(&mut service, post("/", "20000000")).poll());
}

#[tokio::test]
async fn critical_priority_is_charged_and_never_refused() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config().priority(|_| Priority::Critical));
    let mut answer = call(&mut service, upload(chunks(3, 100 * MB)));
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    while body.data().is_some() {}
    assert_pending!(answer.poll());
    assert_eq!(ship.held(), (1, BASE + 300 * MB));
}

#[tokio::test]
async fn an_exempt_path_is_never_refused_and_charged_no_more_than_a_declared_one() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config().exempt("/upload"));
    let mut answer = call(&mut service, upload(chunks(3, 30_000)));
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    while body.data().is_some() {}
    assert_pending!(answer.poll());
    assert_eq!(ship.held(), (1, BASE + 60_000));
    drop((answer, body));

    ship.use_bytes(crate::support::FULL).await;
    let mut answer = call(&mut service, upload(chunks(3, 30_000)));
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    while body.data().is_some() {}
    assert_pending!(answer.poll());
    assert_eq!((ship.held(), ship.figures().shed), ((1, 0), 0));
}

#[tokio::test]
async fn observing_counts_an_upload_once_and_lets_it_pass() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config().observe_only(true));
    let mut answer = call(&mut service, upload(chunks(4, 100 * MB)));
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    while body.data().is_some() {}
    assert_pending!(answer.poll());
    let figures = ship.figures();
    assert_eq!((figures.shed, figures.would_have_shed), (0, 1));
    assert_eq!(ship.held(), (1, BASE + 400 * MB));
    drop((answer, body));
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_request_that_is_refused_at_once_is_refused_as_by_the_plain_guard() {
    let ship = Ship::full();
    let (mut service, mut inner) = charging(ship.config());
    for request in [upload(chunks(1, MB)), get("/")] {
        let probe = request.body().probe();
        let answer = assert_ready_ok!(call(&mut service, request).poll());
        assert_eq!((answer.status().as_u16(), probe.polls(), probe.is_dropped()), (503, 0, true));
    }
    assert_pending!(inner.poll_request());
    inner.allow(0);
    assert_eq!(ship.held(), (0, 0));
}
