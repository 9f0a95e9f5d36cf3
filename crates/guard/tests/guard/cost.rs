//! What a request is charged for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{HeaderValue, Method, header::CONTENT_LENGTH};
use http_body::SizeHint;
use plimsoll_core::MB;
use plimsoll_guard::DEFAULT_REQUEST_COST_BYTES;
use plimsoll_testkit::ScriptedBody;
use tower::{Service, ServiceExt};

use crate::support::{Ask, FULL, Ship, get, ok_service, post, untold};

/// Asks with these lengths; returns the status and what was reserved meanwhile.
async fn ask(ship: &Ship, method: Method, lengths: &[&'static str]) -> (u16, u64) {
    let mut request = get("/").map(|_| untold());
    *request.method_mut() = method;
    for length in lengths {
        request.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static(length));
    }
    let answer = ok_service(ship.config()).oneshot(request).await.unwrap();
    (answer.status().as_u16(), ship.held().1)
}

#[tokio::test]
async fn a_declared_body_is_charged_whatever_form_its_length_has() {
    let ship = Ship::idle();
    let own = DEFAULT_REQUEST_COST_BYTES;
    let cases: &[(&[&'static str], u16, u64)] = &[
        (&[], 200, own),
        (&["0"], 200, own),
        (&["1000000"], 200, own + MB),
        (&["0001000000"], 200, own + MB),
        // No numbers: the server's to refuse.
        (&["-1"], 200, own),
        (&["+1000000000"], 200, own),
        (&["1e12"], 200, own),
        (&["0xffffffffff"], 200, own),
        (&[""], 200, own),
        (&["1000000, 1000000"], 200, own),
        // The largest of several.
        (&["5", "1000000"], 200, own + MB),
        (&["1000000", "x", "5"], 200, own + MB),
        (&["5", "1000000000"], 413, 0),
        // Above every line.
        (&["251000000"], 413, 0),
        (&["18446744073709551615"], 413, 0),
        (&["99999999999999999999999999999999"], 413, 0),
    ];
    for (lengths, status, reserved) in cases {
        assert_eq!(ask(&ship, Method::POST, lengths).await, (*status, *reserved), "{lengths:?}");
    }
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_declared_body_is_charged_for_any_method() {
    let ship = Ship::idle();
    let own = DEFAULT_REQUEST_COST_BYTES;
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        assert_eq!(ask(&ship, method.clone(), &["1000000"]).await, (200, own + MB), "{method}");
        assert_eq!(ask(&ship, method.clone(), &["251000000"]).await, (413, 0), "{method}");
    }
}

#[tokio::test]
async fn what_the_body_itself_says_of_its_length_is_charged() {
    let ship = Ship::idle();
    let own = DEFAULT_REQUEST_COST_BYTES;
    let lengths = [0, 1, 4_095, 4_096, 100_000, 8 << 20, 200 * MB];
    for length in lengths {
        let body = ScriptedBody::new().size_hint(SizeHint::with_exact(length));
        let answer = ok_service(ship.config()).oneshot(get("/").map(|_| body)).await.unwrap();
        assert_eq!((answer.status().as_u16(), ship.held().1), (200, own + length));
    }
    for length in [251 * MB, u64::MAX] {
        let body = ScriptedBody::new().size_hint(SizeHint::with_exact(length));
        let answer = ok_service(ship.config()).oneshot(get("/").map(|_| body)).await.unwrap();
        assert_eq!((answer.status().as_u16(), ship.held().1), (413, 0));
    }
    // At least so much, and who knows how much more.
    let mut hint = SizeHint::default();
    hint.set_lower(70_000);
    let body = ScriptedBody::new().size_hint(hint);
    let answer = ok_service(ship.config()).oneshot(get("/").map(|_| body)).await.unwrap();
    assert_eq!((answer.status().as_u16(), ship.held().1), (200, own + 70_000));
}

#[tokio::test]
async fn a_body_that_would_fit_later_is_not_too_large() {
    let ship = Ship::idle();
    ship.use_bytes(FULL).await;
    assert_eq!(ask(&ship, Method::POST, &["100000"]).await.0, 503, "an idle process that is full");
    assert_eq!(ask(&ship, Method::POST, &["100000000"]).await.0, 503);
    assert_eq!(ask(&ship, Method::POST, &["900000000"]).await.0, 413);
    // Started full: nobody knows yet what would fit.
    assert_eq!(ask(&Ship::full(), Method::POST, &["100000"]).await.0, 503);
}

#[tokio::test]
async fn a_small_body_is_not_blamed_for_what_the_application_declares() {
    let ship = Ship::idle();
    let service = ok_service(ship.config().cost(|_| Some(1_000 * MB)));
    assert_eq!(service.oneshot(post("/", "10")).await.unwrap().status(), 503);
}

#[tokio::test]
async fn the_application_declares_costs() {
    let ship = Ship::idle();
    let config = ship.config().default_cost(7).cost(|head| match head.uri.path() {
        "/export" => Some(5 * MB),
        "/free" => Some(0),
        "/made-up" => Some(u64::MAX),
        _ => None,
    });
    let service = ok_service(config);
    for (path, reserved) in [("/export", 5 * MB), ("/free", 1), ("/", 7), ("/made-up", 0)] {
        let answer = service.clone().oneshot(get(path)).await.unwrap();
        assert_eq!(ship.held().1, reserved, "{path}");
        assert_eq!(answer.status() == 200, path != "/made-up");
    }
}

#[tokio::test]
async fn any_default_cost_is_safe() {
    for (cost, expected) in [(0, 200), (1, 200), (1 << 40, 503), (u64::MAX, 503)] {
        let ship = Ship::idle();
        let service = ok_service(ship.config().default_cost(cost));
        let answer = service.oneshot(get("/")).await.unwrap();
        assert_eq!(answer.status(), expected, "{cost}");
    }
}

#[tokio::test]
async fn a_declared_body_shows_as_buffered_while_it_is_held() {
    let ship = Ship::idle();
    let buffered = || ship.plimsoll.report().bytes.array_buffers;
    let answer = ok_service(ship.config()).oneshot(post("/", "3000000")).await.unwrap();
    assert_eq!(buffered(), Some(3 * MB));
    drop(answer);
    assert_eq!(buffered(), Some(0));
}

#[tokio::test]
async fn a_panic_in_a_closure_of_the_application_charges_nothing() {
    let ship = Ship::full();
    let boom = |request: &http::Uri| assert!(request.path() != "/boom", "boom");
    let config = ship.config().cost(move |head| {
        boom(head.uri);
        None
    });
    let mut by_cost = ok_service(config);
    let mut by_priority = ok_service(ship.config().priority(move |head| {
        boom(head.uri);
        plimsoll_core::Priority::Critical
    }));
    let panics = |service: &mut dyn FnMut(Ask)| {
        catch_unwind(AssertUnwindSafe(|| service(get("/boom")))).unwrap_err();
    };
    by_cost.ready().await.unwrap();
    panics(&mut |request| drop(by_cost.call(request)));
    by_priority.ready().await.unwrap();
    panics(&mut |request| drop(by_priority.call(request)));
    assert_eq!((ship.held(), ship.figures().admitted), ((0, 0), 0));
    assert_eq!(by_priority.oneshot(get("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_application_names_routes_where_no_router_has() {
    let ship = Ship::idle();
    let config = ship.config().route(|head| head.uri.path().strip_prefix("/named").map(Into::into));
    let service = ok_service(config);
    for path in ["/named/a", "/named/b", "/named/a", "/other"] {
        service.clone().oneshot(get(path)).await.unwrap();
    }
    let routes = ship.plimsoll.routes();
    let routes: Vec<_> = routes.iter().map(|route| (route.name.as_str(), route.admitted)).collect();
    assert_eq!(routes, [("/a", 2), ("/b", 1), ("<unmatched>", 1)]);
}
