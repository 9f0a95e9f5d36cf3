//! Who is let in: load lines, priorities, exemptions, observing, expiry.

use std::time::Duration;

use http::HeaderMap;
use plimsoll_core::{MB, Plimsoll, Priority, Thresholds};
use plimsoll_guard::{DEFAULT_REQUEST_COST_BYTES, GuardConfig, RequestHead};
use plimsoll_testkit::ScriptedSource;
use tower::{Service, ServiceExt};

use crate::support::{Ask, FULL, IDLE, Ship, get, ok_service, post};

/// Takes the cost in MB and the priority from the request.
fn declared(config: GuardConfig) -> GuardConfig {
    fn of(headers: &HeaderMap, name: &str) -> Option<u64> {
        headers.get(name)?.to_str().ok()?.parse().ok()
    }
    let priority = |head: &RequestHead<'_>| match head.uri.path() {
        "/low" => Priority::Low,
        "/high" => Priority::High,
        "/critical" => Priority::Critical,
        _ => Priority::Normal,
    };
    config.cost(|head| of(head.headers, "x-mb").map(|mb| mb * MB)).priority(priority)
}

fn costing(path: &str, mb: u64) -> Ask {
    let mut request = get(path);
    request.headers_mut().insert("x-mb", mb.into());
    request
}

#[tokio::test]
async fn each_priority_is_admitted_up_to_its_own_line() {
    let ship = Ship::idle();
    let service = ok_service(declared(ship.config()));
    let ask = async |path: &str, mb| service.clone().oneshot(costing(path, mb)).await.unwrap();
    let mut held = Vec::new();
    for (path, fill, refused) in [
        ("/low", 200, &["/low"][..]),
        ("/normal", 50, &["/low", "/normal"]),
        ("/high", 30, &["/low", "/normal", "/high"]),
    ] {
        held.push(ask(path, fill).await);
        assert_eq!(held.last().unwrap().status(), 200, "{path} up to its line");
        for path in ["/low", "/normal", "/high", "/critical"] {
            let expected = if refused.contains(&path) { 503 } else { 200 };
            assert_eq!(ask(path, 1).await.status(), expected, "{path} at {:?}", ship.held());
        }
    }
    assert_eq!(ship.held(), (3, 280 * MB));
    held.clear();
    assert_eq!(ask("/low", 1).await.status(), 200);
}

#[tokio::test]
async fn exempt_paths_are_never_shed_and_others_are() {
    let ship = Ship::full();
    let service = ok_service(ship.config().exempt("/livez").exempt("/internal/*"));
    for (path, expected) in [
        ("/livez", 200),
        ("/livez?verbose", 200),
        ("/internal", 200),
        ("/internal/a/b", 200),
        ("/internals", 503),
        ("/livez/", 503),
        ("/", 503),
        ("http://host/livez", 200),
    ] {
        let answer = service.clone().oneshot(get(path)).await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_made_up_length_on_an_exempt_path_shuts_nobody_out() {
    for ship in [Ship::idle(), Ship::full()] {
        let service = ok_service(ship.config().exempt("/livez"));
        let mut held = Vec::new();
        for length in [
            "9000000",
            "240000000",
            "999999999999",
            "18446744073709551615",
            "999999999999999999999999",
        ] {
            held.push(service.clone().oneshot(post("/livez", length)).await.unwrap());
            assert_eq!(held.last().unwrap().status(), 200, "{length}");
        }
        let (in_flight, reserved) = ship.held();
        assert_eq!((in_flight, ship.plimsoll.report().bytes.array_buffers), (5, Some(0)));
        assert!(reserved <= 5 * DEFAULT_REQUEST_COST_BYTES, "{reserved}");
        ship.relieve();
        assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn observing_sheds_nothing_and_counts_what_it_would_have_shed() {
    let ship = Ship::full();
    let mut service = ok_service(ship.config().observe_only(true));
    for request in [get("/"), post("/", "999999999999")] {
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let figures = ship.figures();
    assert_eq!((figures.admitted, figures.shed, figures.would_have_shed), (2, 0, 2));
    assert_eq!(figures.mode, plimsoll_core::GuardMode::Observe);
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn a_verdict_that_nobody_renews_refuses_nobody() {
    let ship = Ship::full();
    let service = ok_service(ship.config());
    ship.script.fail(true);
    assert!(ship.plimsoll.check().await.is_none());
    assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 503, "still valid");
    ship.clock.advance(Duration::from_secs(3_600));
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(ship.plimsoll.admitted_unchecked(), 1);
}

#[tokio::test]
async fn refusing_can_be_suspended_and_resumed() {
    let ship = Ship::full();
    let service = ok_service(ship.config());
    for (enforcing, expected) in [(true, 503), (false, 200), (true, 503)] {
        ship.plimsoll.set_enforcing(enforcing);
        assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn a_guard_keeps_the_sampler_running_without_another_handle() {
    let (source, script) = ScriptedSource::new();
    script.set_rss(IDLE);
    let plimsoll = Plimsoll::builder()
        .thresholds(Thresholds::new(200 * MB, 300 * MB).unwrap())
        .check_interval(Duration::from_millis(10))
        .start_with(source)
        .unwrap();
    let service = ok_service(GuardConfig::new(&plimsoll));
    drop(plimsoll);
    assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 200);
    script.set_rss(FULL);
    // The second reading is taken once the first has been published.
    for _ in 0..2 {
        assert!(script.wait_for_read(Duration::from_secs(10)));
    }
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 503);
}

#[tokio::test]
async fn after_shutdown_everything_is_admitted() {
    let ship = Ship::full();
    let service = ok_service(ship.config());
    ship.plimsoll.shutdown().await;
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
}
