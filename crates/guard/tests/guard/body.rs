//! The response body stays what it was.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Full};
use plimsoll_guard::{DEFAULT_REQUEST_COST_BYTES, MemoryGuardBody, MemoryGuardLayer};
use plimsoll_testkit::ScriptedBody;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Ask, Ship, get};

async fn through_the_guard<B>(ship: &Ship, body: B) -> MemoryGuardBody<B>
where
    B: Body + Clone,
{
    let inner = service_fn(move |_: Ask| {
        let response = Response::new(body.clone());
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    MemoryGuardLayer::new(ship.config()).layer(inner).oneshot(get("/")).await.unwrap().into_body()
}

/// For a body that cannot be cloned.
async fn scripted(ship: &Ship, body: ScriptedBody) -> MemoryGuardBody<ScriptedBody> {
    let body = std::sync::Mutex::new(Some(body));
    let inner = service_fn(move |_: Ask| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
    });
    MemoryGuardLayer::new(ship.config()).layer(inner).oneshot(get("/")).await.unwrap().into_body()
}

#[tokio::test]
async fn hints_are_forwarded_as_frames_pass() {
    let ship = Ship::idle();
    let mut body = scripted(&ship, ScriptedBody::new().data("load").data("line")).await;
    for left in [8, 4, 0] {
        assert_eq!(body.size_hint().exact(), Some(left));
        assert_eq!(body.is_end_stream(), left == 0);
        assert_eq!(body.frame().await.is_some(), left > 0);
    }
    let mut hint = SizeHint::new();
    hint.set_lower(3);
    hint.set_upper(9);
    let body = scripted(&ship, ScriptedBody::new().lazy_end().size_hint(hint)).await;
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (3, Some(9)));
    assert!(!body.is_end_stream());
}

#[tokio::test]
async fn trailers_pass() {
    let ship = Ship::idle();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let body = scripted(&ship, ScriptedBody::new().data("load").trailers(trailers)).await;
    let whole = body.collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "7");
    assert_eq!(whole.to_bytes(), "load");
}

#[tokio::test]
async fn large_data_is_charged_until_it_has_been_sent_and_not_only_taken() {
    let ship = Ship::idle();
    let buffered = || ship.plimsoll.report().bytes.array_buffers;
    let mut body = through_the_guard(&ship, Full::new(Bytes::from_static(&[7; 50_000]))).await;
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, &[7; 50_000][..]);
    drop(body);
    assert_eq!((ship.held(), buffered()), ((1, 50_000), Some(50_000)));
    // A server sends a part, and keeps the rest.
    let rest = data.slice(40_000..);
    drop(data);
    assert_eq!(ship.held(), (1, 50_000));
    drop(rest);
    assert_eq!((ship.held(), buffered()), ((0, 0), Some(0)));
    assert_eq!(ship.figures().admitted, 1);
}

#[tokio::test]
async fn small_data_is_part_of_what_a_request_costs() {
    let ship = Ship::idle();
    let mut body = scripted(&ship, ScriptedBody::new().data("load").data("line")).await;
    let first = body.frame().await.unwrap().unwrap();
    let last = body.frame().await.unwrap().unwrap();
    assert_eq!(ship.held(), (1, DEFAULT_REQUEST_COST_BYTES));
    drop(body);
    assert_eq!(ship.held(), (0, 0));
    assert_eq!(
        (first.into_data().unwrap(), last.into_data().unwrap()),
        ("load".into(), "line".into())
    );
}

#[tokio::test]
async fn an_empty_body_can_be_made_for_answers_of_outer_layers() {
    struct NotDefault;
    let body = MemoryGuardBody::<NotDefault>::default();
    assert_eq!(format!("{body:?}"), "MemoryGuardBody(\"Refused\")");
    let mut body = MemoryGuardBody::<Full<Bytes>>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}
