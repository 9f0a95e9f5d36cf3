//! What a refused client is told.

use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::BodyExt;
use plimsoll_core::MB;
use plimsoll_guard::MemoryGuardBody;
use plimsoll_testkit::ScriptedBody;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Ask, Ship, get, ok_service, post};

type Answer = Response<MemoryGuardBody<ScriptedBody>>;

async fn refused(ship: &Ship, request: Ask) -> Answer {
    ok_service(ship.config()).oneshot(request).await.unwrap()
}

async fn text(answer: Answer) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn grpc(mut request: Ask, content_type: &'static str) -> Ask {
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

#[tokio::test]
async fn a_shed_request_gets_503_with_problem_details() {
    let ship = Ship::full();
    let mut request = get("/rooms?token=secret");
    request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer secret"));
    let answer = refused(&ship, request).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers().len(), 2, "nothing of the request's: {:?}", answer.headers());
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
    assert_eq!(answer.body().size_hint().exact(), Some(text(answer).await.len() as u64));

    let body: Value =
        serde_json::from_str(&text(refused(&ship, get("/rooms?token=secret")).await).await)
            .unwrap();
    let millis = body["retryAfterMs"].as_u64().unwrap();
    assert!((1_000..=10_000).contains(&millis), "{millis}");
    assert_eq!(
        body,
        json!({
            "success": false,
            "error": "Memory pressure",
            "type": "https://plimsoll.rs/problems/memory-pressure",
            "title": "Memory pressure",
            "status": 503,
            "detail": "the server is short of memory and did not take this request",
            "instance": "/rooms",
            "level": "critical",
            "retryAfterMs": millis,
        })
    );
}

#[tokio::test]
async fn no_answer_holds_a_byte_count() {
    let ship = Ship::idle();
    let too_large = text(refused(&ship, post("/", "999999999")).await).await;
    let ship = Ship::full();
    let shed = text(refused(&ship, get("/")).await).await;
    for answer in [too_large, shed] {
        let body: Value = serde_json::from_str(&answer).unwrap();
        for (key, value) in body.as_object().unwrap() {
            let told = !matches!(key.as_str(), "status" | "retryAfterMs");
            assert!(
                !told || !value.to_string().contains(|c: char| c.is_ascii_digit()),
                "{key}: {value}"
            );
        }
    }
}

#[tokio::test]
async fn clients_that_are_refused_together_are_told_different_times() {
    let ship = Ship::full();
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let body: Value =
            serde_json::from_str(&text(refused(&ship, get("/")).await).await).unwrap();
        told.insert(body["retryAfterMs"].as_u64().unwrap());
    }
    assert!(told.len() > 15, "{told:?}");
}

#[tokio::test]
async fn a_body_that_could_never_fit_gets_413_and_no_time_to_come_back() {
    let ship = Ship::idle();
    let answer = refused(&ship, post("/upload", "999999999")).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.headers().get("retry-after"), None);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    let body: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(
        body,
        json!({
            "success": false,
            "error": "Content too large",
            "type": "https://plimsoll.rs/problems/content-too-large",
            "title": "Content too large",
            "status": 413,
            "detail": "the body is larger than this server can ever take",
            "instance": "/upload",
            "level": "healthy",
            "retryAfterMs": null,
        })
    );
    assert_eq!(ship.plimsoll.routes()[0].shed_too_large, 1);
}

#[tokio::test]
async fn a_hostile_path_is_only_a_string_in_the_answer() {
    let ship = Ship::full();
    for path in [
        "/%22%7d,\"admin\":\"",
        "/\\\\\"",
        "/ä\u{2028}\u{1f600}",
        &format!("/{}", "x".repeat(10_000)),
    ] {
        let request = get("/");
        let mut parts = request.into_parts();
        let Ok(uri) = path.parse() else { continue };
        parts.0.uri = uri;
        let answer = refused(&ship, Ask::from_parts(parts.0, parts.1)).await;
        let body: Value = serde_json::from_str(&text(answer).await).unwrap();
        let instance = body["instance"].as_str().unwrap();
        assert!(path.starts_with(instance) && instance.len() <= 256, "{instance}");
        assert_eq!(body.as_object().unwrap().len(), 9);
    }
}

#[tokio::test]
async fn grpc_gets_unavailable_as_trailers_only() {
    let ship = Ship::full();
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc-web"] {
        let request = grpc(post("/chat.Rooms/Join", "999"), content_type);
        let answer = refused(&ship, request).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.body().is_end_stream(), "no data frame, so that the headers end the stream");
        assert_eq!(answer.body().size_hint().exact(), Some(0));
        let headers = answer.headers();
        assert_eq!(headers[CONTENT_TYPE], content_type);
        assert_eq!(headers["grpc-status"], "14");
        assert_eq!(headers["grpc-message"], "memory%20pressure");
        let pushback: u64 = headers["grpc-retry-pushback-ms"].to_str().unwrap().parse().unwrap();
        assert!((1_000..=10_000).contains(&pushback), "{pushback}");
        assert_eq!((headers.len(), text(answer).await), (4, String::new()));
    }
}

#[tokio::test]
async fn a_grpc_message_that_could_never_fit_is_not_to_be_sent_again() {
    let ship = Ship::idle();
    let answer = refused(&ship, grpc(post("/a.B/C", "999999999"), "application/grpc")).await;
    let headers = answer.headers();
    assert_eq!((answer.status().as_u16(), headers["grpc-status"].to_str().unwrap()), (200, "8"));
    assert_eq!(headers["grpc-retry-pushback-ms"], "-1");
}

#[tokio::test]
async fn the_level_told_is_the_level_now() {
    let ship = Ship::idle();
    ship.use_bytes(290 * MB).await;
    let service = ok_service(ship.config().priority(|_| plimsoll_core::Priority::Low));
    let answer = service.oneshot(get("/")).await.unwrap();
    assert_eq!(answer.status(), 503);
    let body: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(body["level"], "warning");
}
