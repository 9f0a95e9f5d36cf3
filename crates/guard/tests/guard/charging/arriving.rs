//! What is charged, and when.

use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, SizeHint};
use http_body_util::BodyExt;
use plimsoll_core::{MB, Priority};
use plimsoll_guard::{ChargedBodyError, DEFAULT_REQUEST_COST_BYTES as BASE};
use plimsoll_testkit::ScriptedBody;
use tokio_test::{assert_pending, assert_ready_ok};

use super::{Polled, call, charging, chunks, upload};
use crate::support::{Ship, get, post};

#[tokio::test]
async fn each_chunk_is_charged_before_it_is_handed_on() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let _answer = call(&mut service, upload(chunks(3, MB)));
    assert_eq!(ship.held(), (1, BASE));
    let mut body = Polled::new(inner.next_request().await.unwrap().0);
    for arrived in 1..=3 {
        assert_eq!(body.data().unwrap().len() as u64, MB);
        assert_eq!(ship.held(), (1, BASE + arrived * MB));
    }
    assert_eq!(body.data(), None);
    assert_eq!(ship.held(), (1, BASE + 3 * MB));
}

#[tokio::test]
async fn a_slow_upload_holds_only_what_has_arrived() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let script = chunks(1, MB).hold().data("rest");
    let probe = script.probe();
    let _answer = call(&mut service, upload(script));
    let mut body = Polled::new(inner.next_request().await.unwrap().0);
    assert!(body.data().is_some());
    for _ in 0..3 {
        assert_pending!(body.poll());
        assert_eq!(ship.held(), (1, BASE + MB));
    }
    probe.resume();
    assert_pending!(body.poll());
    assert_eq!(body.data().unwrap(), "rest");
    assert_eq!(ship.held(), (1, BASE + MB + 4));
}

#[tokio::test]
async fn bytes_stay_charged_until_both_the_body_and_the_response_are_gone() {
    for body_first in [true, false] {
        let ship = Ship::idle();
        let (mut service, mut inner) = charging(ship.config());
        let mut answer = call(&mut service, upload(chunks(2, MB)));
        let (request, reply) = inner.next_request().await.unwrap();
        let mut body = Polled::new(request);
        while body.data().is_some() {}
        let mut body = Some(body);
        if body_first {
            body = None;
            assert_eq!(ship.held(), (1, BASE + 2 * MB), "the handler has collected it");
        }
        reply.send_response(Response::new(ScriptedBody::new().data("thanks").data("bye")));
        let mut response = assert_ready_ok!(answer.poll()).into_body();
        drop(answer);
        response.frame().await.unwrap().unwrap();
        assert_eq!(ship.held(), (1, BASE + 2 * MB));
        drop(response);
        if !body_first {
            assert_eq!(ship.held(), (0, 2 * MB), "the handler may read it somewhere else");
        }
        drop(body);
        assert_eq!(ship.held(), (0, 0));
    }
}

#[tokio::test]
async fn an_upload_that_is_sent_back_is_charged_once_and_until_it_has_been_sent() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let mut answer = call(&mut service, upload(chunks(1, MB)));
    let (request, reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    let echo = body.data().unwrap();
    drop(body);
    reply.send_response(Response::new(ScriptedBody::new().data(echo)));
    let mut response = assert_ready_ok!(answer.poll()).into_body();
    let last = response.frame().await.unwrap().unwrap();
    drop((answer, response));
    assert_eq!(ship.held(), (1, BASE + MB));
    drop(last);
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_declared_body_is_charged_up_front_and_not_again() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    // By its own word, and by its head alone.
    let mut told = get("/");
    *told.body_mut() = chunks(2, 1_000);
    let mut headed = upload(chunks(2, 1_000));
    headed.headers_mut().insert("content-length", HeaderValue::from_static("2000"));
    for request in [told, headed] {
        let answer = call(&mut service, request);
        assert_eq!(ship.held(), (1, BASE + 2_000));
        let mut body = Polled::new(inner.next_request().await.unwrap().0);
        while body.data().is_some() {
            assert_eq!(ship.held(), (1, BASE + 2_000));
        }
        drop((answer, body));
        assert_eq!(ship.held(), (0, 0));
    }
}

#[tokio::test]
async fn what_exceeds_the_declared_length_is_charged_as_it_arrives() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let mut told = get("/");
    *told.body_mut() = chunks(3, 1_000).size_hint(SizeHint::with_exact(1_500));
    let mut headed = upload(chunks(3, 1_000));
    headed.headers_mut().insert("content-length", HeaderValue::from_static("1500"));
    for request in [told, headed] {
        let answer = call(&mut service, request);
        let mut body = Polled::new(inner.next_request().await.unwrap().0);
        for charged in [1_500, 2_000, 3_000] {
            assert!(body.data().is_some());
            assert_eq!(ship.held(), (1, BASE + charged));
        }
        drop((answer, body));
        assert_eq!(ship.held(), (0, 0));
    }
}

#[tokio::test]
async fn of_a_body_that_is_passed_on_the_largest_chunk_is_charged() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let script = chunks(2, 1_000).data("small").data(vec![7; 5_000]).data("small");
    let mut request = upload(script);
    request.headers_mut().insert("passed-on", HeaderValue::from_static("yes"));
    let answer = call(&mut service, request);
    let (request, _reply) = inner.next_request().await.unwrap();
    let mut body = Polled::new(request);
    for charged in [1_000, 1_000, 1_000, 5_000, 5_000] {
        assert!(body.data().is_some());
        assert_eq!(ship.held(), (1, BASE + charged));
    }
    drop((answer, body));
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_stream_that_is_passed_on_may_be_longer_than_all_memory() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    for (chunk, status) in [(50 * MB, None), (60 * MB, Some(503))] {
        let mut request = upload(chunks(40, chunk));
        request.headers_mut().insert("passed-on", HeaderValue::from_static("yes"));
        let _others = call(&mut service, post("/other", "190000000"));
        let _other = inner.next_request().await.unwrap();
        let mut answer = call(&mut service, request);
        let (request, _reply) = inner.next_request().await.unwrap();
        let mut body = Polled::new(request);
        while let std::task::Poll::Ready(Some(Ok(_))) = body.poll() {}
        match status {
            None => assert_pending!(answer.poll()),
            Some(status) => assert_eq!(assert_ready_ok!(answer.poll()).status(), status),
        }
    }
}

#[tokio::test]
async fn a_body_stays_what_it_was() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let mut hint = SizeHint::new();
    hint.set_lower(3);
    hint.set_upper(9);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let script = ScriptedBody::new().data("load").trailers(trailers).lazy_end().size_hint(hint);
    let mut request = get("/");
    *request.body_mut() = script;
    let _answer = call(&mut service, request);
    let body = inner.next_request().await.unwrap().0.into_body();
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (3, Some(9)));
    assert!(!body.is_end_stream());
    let whole = body.collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "7");
    assert_eq!(whole.to_bytes(), "load");

    let mut request = get("/");
    *request.body_mut() = ScriptedBody::new().data("load");
    let _answer = call(&mut service, request);
    let mut body = inner.next_request().await.unwrap().0.into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
    body.frame().await.unwrap().unwrap();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
}

#[tokio::test]
async fn an_error_of_the_body_is_handed_on_and_its_cause_can_be_found() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    for request in [upload(chunks(1, MB).error("reset by peer")), {
        let mut told = get("/");
        *told.body_mut() = ScriptedBody::new().data("load").error("reset by peer");
        told
    }] {
        let mut answer = call(&mut service, request);
        let (request, reply) = inner.next_request().await.unwrap();
        let mut body = Polled::new(request);
        assert!(body.data().is_some());
        let error = body.error();
        assert!(matches!(error, ChargedBodyError::Inner(_)));
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "reset by peer");
        drop(body);
        reply.send_error("broken body");
        tokio_test::assert_ready_err!(answer.poll());
        assert_eq!(ship.held(), (0, 0));
    }
    assert_eq!(ship.figures().shed, 0);
}

#[tokio::test]
async fn the_priority_of_a_declared_body_is_not_asked_for_while_memory_suffices() {
    let ship = Ship::idle();
    let config = ship.config().priority(|head| match head.uri.path() {
        "/upload" => Priority::Low,
        path => panic!("asked for {path}"),
    });
    let (mut service, _inner) = charging(config);
    drop(call(&mut service, get("/")));
    drop(call(&mut service, post("/upload", "1000")));
    assert_eq!(ship.figures().admitted, 2);
}
