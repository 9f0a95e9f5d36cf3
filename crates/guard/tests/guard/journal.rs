//! What the journal notes of requests that end in every way.

use std::{convert::Infallible, io, time::Duration};

use axum::{Router, routing::get};
use http::{Request, Response, StatusCode};
use plimsoll_core::{Clock, UNMATCHED_ROUTE};
use plimsoll_guard::{Journal, JournalLayer};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::mock;

fn request(path: &str) -> Request<()> {
    Request::get(path).body(()).expect("valid")
}

fn errors(journal: &Journal) -> Vec<(String, String, u64)> {
    let newest = journal.errors.newest(99);
    newest.into_iter().map(|entry| (entry.source, entry.message, entry.count)).collect()
}

#[tokio::test]
async fn a_request_takes_from_its_call_to_the_head_of_its_answer() {
    let (journal, clock) = (Journal::new(), Clock::manual(Duration::from_secs(5)));
    let layer = JournalLayer::new(&journal).clock(clock.clone());
    let (service, mut handle) = mock::pair::<Request<()>, Response<()>>();
    let mut service = layer.layer(service);
    handle.allow(1);
    service.ready().await.expect("ready");
    let mut answer = task::spawn(service.call(request("/")));
    clock.advance(Duration::from_millis(70));
    assert_pending!(answer.poll());
    let (_, respond) = handle.next_request().await.expect("called");
    respond.send_response(Response::new(()));
    assert_ready!(answer.poll()).expect("answered");
    let told = &journal.latencies.snapshot()[0];
    assert_eq!((told.route.as_str(), told.max), (UNMATCHED_ROUTE, Duration::from_millis(70)));
    assert!(errors(&journal).is_empty());
}

#[tokio::test]
async fn failures_are_noted_by_route_and_a_client_that_goes_away_is_none() {
    let journal = Journal::new();
    let layer = JournalLayer::new(&journal).route(|head| Some(head.uri.path().into()));
    let inner = service_fn(async |request: Request<()>| match request.uri().path() {
        "/broken" => {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        }
        "/fails" => Err(io::Error::other("disk gone")),
        "/panics" => panic!("on purpose"),
        "/hangs" => std::future::pending().await,
        _ => {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
    });
    let service = layer.layer(inner);
    for path in ["/broken", "/broken", "/missing"] {
        service.clone().oneshot(request(path)).await.expect("answered");
    }
    service.clone().oneshot(request("/fails")).await.expect_err("the error is passed on");
    let panics = tokio::spawn(service.clone().oneshot(request("/panics"))).await;
    assert!(panics.expect_err("passed on").is_panic());
    let mut hangs = task::spawn(service.oneshot(request("/hangs")));
    assert_pending!(hangs.poll());
    drop(hangs);
    let told = |source: &str, message: &str, count| (source.to_owned(), message.to_owned(), count);
    assert_eq!(
        errors(&journal),
        [
            told("/panics", "panicked", 1),
            told("/fails", "disk gone", 1),
            told("/broken", "500 Internal Server Error", 2),
        ]
    );
    let timed: Vec<_> = journal.latencies.snapshot().into_iter().map(|it| it.route).collect();
    assert_eq!(timed, ["/broken", "/fails", "/missing"]);
}

#[tokio::test]
async fn inside_a_router_routes_are_told_by_their_templates() {
    let journal = Journal::new();
    let app: Router = Router::new()
        .route("/rooms/{id}", get(async || StatusCode::BAD_GATEWAY))
        .layer(JournalLayer::new(&journal));
    for id in 0..300 {
        let request = Request::get(format!("/rooms/{id}")).body(axum::body::Body::empty());
        app.clone().oneshot(request.expect("valid")).await.expect("infallible");
    }
    let expected = if cfg!(feature = "axum") { "/rooms/{id}" } else { UNMATCHED_ROUTE };
    let told = &journal.latencies.snapshot()[0];
    assert_eq!((told.route.as_str(), told.count), (expected, 300));
    assert_eq!(errors(&journal), [(expected.to_owned(), "502 Bad Gateway".to_owned(), 300)]);
}

#[tokio::test]
async fn a_layer_that_is_changed_leaves_the_services_that_it_made() {
    let journal = Journal::new();
    let named = JournalLayer::new(&journal).route(|_| Some("named".into()));
    let echo = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let before = named.layer(echo);
    let after =
        named.clock(Clock::manual(Duration::ZERO)).route(|_| Some("renamed".into())).layer(echo);
    before.oneshot(request("/")).await.expect("infallible");
    after.oneshot(request("/")).await.expect("infallible");
    let routes: Vec<_> = journal.latencies.snapshot().into_iter().map(|it| it.route).collect();
    assert_eq!(routes, ["named", "renamed"]);
}
