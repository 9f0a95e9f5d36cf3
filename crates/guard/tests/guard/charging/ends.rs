//! However an upload ends, its bytes are given back once.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
};

use http_body_util::BodyExt;
use plimsoll_core::MB;
use plimsoll_guard::{DEFAULT_REQUEST_COST_BYTES as BASE, MemoryGuardLayer};
use plimsoll_testkit::ScriptedBody;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt, service_fn};

use super::{Charged, Polled, call, charging, chunks, upload};
use crate::support::{Reply, Ship};

/// Polls a handler until it waits for more of an upload that has stopped after 2 MB.
fn half_way<F: Future<Output: std::fmt::Debug>>(ship: &Ship, answer: F) -> task::Spawn<F> {
    let mut answer = task::spawn(answer);
    assert_pending!(answer.poll());
    assert_eq!(ship.held(), (1, BASE + 2 * MB));
    answer
}

#[tokio::test]
async fn a_client_that_goes_away_half_way_gives_its_bytes_back() {
    let ship = Ship::idle();
    let handler = service_fn(async |request: Charged| {
        request.into_body().collect().await?;
        Ok::<_, plimsoll_guard::ChargedBodyError>(Reply::default())
    });
    let service = MemoryGuardLayer::new(ship.config()).charging_bodies().layer(handler);
    drop(half_way(&ship, service.oneshot(upload(chunks(2, MB).hold()))));
    assert_eq!(ship.held(), (0, 0));
    assert_eq!(ship.plimsoll.routes()[0].reserved_bytes, 0);
}

#[tokio::test]
async fn a_panic_half_way_gives_its_bytes_back() {
    let ship = Ship::idle();
    let handler = service_fn(async |request: Charged| -> Result<Reply, Infallible> {
        let mut body = request.into_body();
        while body.frame().await.is_some() {}
        panic!("boom")
    });
    let service = MemoryGuardLayer::new(ship.config()).charging_bodies().layer(handler);
    let script = chunks(2, MB).hold();
    let probe = script.probe();
    let mut answer = half_way(&ship, service.clone().oneshot(upload(script)));
    probe.resume();
    assert_pending!(answer.poll());
    catch_unwind(AssertUnwindSafe(|| answer.poll())).unwrap_err();
    drop(answer);
    assert_eq!((ship.held(), probe.is_dropped()), ((0, 0), true));
}

#[tokio::test]
async fn a_body_that_outlives_its_request_keeps_its_bytes_and_nothing_else() {
    let ship = Ship::idle();
    let (mut service, mut inner) = charging(ship.config());
    let answer = call(&mut service, upload(chunks(2, MB)));
    let mut body = Polled::new(inner.next_request().await.unwrap().0);
    assert!(body.data().is_some());
    drop(answer);
    assert_eq!(ship.held(), (0, MB));
    assert!(body.data().is_some());
    assert_eq!(ship.held(), (0, 2 * MB), "what arrives in a task of its own is charged too");
    drop(body);
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn what_the_inner_service_holds_of_a_refused_upload_goes_before_its_bytes() {
    struct Held(plimsoll_core::Plimsoll);
    impl Drop for Held {
        fn drop(&mut self) {
            let figures = self.0.report().guard;
            let held = (figures.in_flight, figures.reserved_bytes);
            assert_eq!(held, (1, 235 * MB + 12 * MB), "given back too early");
        }
    }
    let ship = Ship::idle();
    let plimsoll = ship.plimsoll.clone();
    let handler = service_fn(move |request: Charged| {
        let held = Held(plimsoll.clone());
        async move {
            let _ = request.into_body().collect().await;
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Reply::new(ScriptedBody::new()))
        }
    });
    let config = ship.config().default_cost(235 * MB);
    let service = MemoryGuardLayer::new(config).charging_bodies().layer(handler);
    let answer = service.oneshot(upload(chunks(3, 6 * MB))).await.unwrap();
    assert_eq!((answer.status().as_u16(), ship.held()), (503, (0, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_end_in_every_way_at_once_leave_nothing_behind() {
    let ship = Ship::idle();
    let handler = service_fn(async |request: Charged| {
        let path = request.uri().path().to_owned();
        let mut body = request.into_body();
        match path.as_str() {
            "/fails" => {
                body.frame().await;
                Err(std::io::Error::other("broken"))
            }
            "/waits" => {
                body.frame().await;
                std::future::pending().await
            }
            "/panics" => panic!("boom"),
            "/elsewhere" => {
                tokio::spawn(body.collect());
                Ok(Reply::default())
            }
            _ => {
                let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                Ok(Reply::new(ScriptedBody::new().data(bytes)))
            }
        }
    });
    let service = MemoryGuardLayer::new(ship.config()).charging_bodies().layer(handler);
    let tasks: Vec<_> = (0..400)
        .map(|turn| {
            let mut request = upload(chunks(3, 1_000_000 * (turn % 4)).pending().data("end"));
            let paths = ["/fails", "/waits", "/panics", "/elsewhere", "/whole"];
            let path = paths[usize::try_from(turn).unwrap() % 5];
            *request.uri_mut() = path.parse().unwrap();
            let answer = service.clone().oneshot(request);
            tokio::spawn(async move {
                let mut body = answer.await?.into_body();
                while body.frame().await.is_some() {}
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
    assert_eq!(ship.plimsoll.routes()[0].reserved_bytes, 0);
}
