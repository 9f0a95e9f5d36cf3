use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use plimsoll_core::Plimsoll;
use serde_json::json;

use crate::support::{AGGRESSIVE, Answer, MEMORY, Server, empty, local};

/// What no refusal may change.
fn state(server: &Server) -> serde_json::Value {
    let report = serde_json::to_value(server.plimsoll.report()).unwrap();
    json!([
        report["thresholds"],
        report["cleanupHistory"],
        report["alerts"],
        server.plimsoll.alerts().silences(),
    ])
}

#[tokio::test]
async fn every_malformed_body_is_refused_and_changes_nothing() {
    let server = Server::start();
    let before = state(&server);
    let silence = "/api/monitoring/alerts/silence";
    let malformed = "malformed-request";
    let deep = format!(r#"{{"action":{}"#, "[".repeat(10_000));
    for (path, body, status, slug) in [
        (MEMORY, "", 400, "unknown-action"),
        (MEMORY, "{", 400, malformed),
        (MEMORY, "[]", 400, malformed),
        (MEMORY, "\"cleanup\"", 400, malformed),
        (MEMORY, "{\"action\":\"cleanup\"", 400, malformed),
        (MEMORY, &deep, 400, malformed),
        (MEMORY, "{}", 400, "unknown-action"),
        (MEMORY, r#"{"action":"gc"}"#, 400, "unknown-action"),
        (MEMORY, r#"{"action":["cleanup"]}"#, 400, "unknown-action"),
        (MEMORY, r#"{"action":"Cleanup"}"#, 400, "unknown-action"),
        (MEMORY, r#"{"action":"cleanup","level":"brutal"}"#, 422, "invalid-value"),
        (MEMORY, r#"{"action":"cleanup","level":2}"#, 422, "invalid-value"),
        (MEMORY, r#"{"action":"cleanup","dryRun":"yes"}"#, 422, "invalid-value"),
        (AGGRESSIVE, "nonsense", 400, malformed),
        (AGGRESSIVE, r#"{"dryRun":1}"#, 422, "invalid-value"),
        (silence, "{}", 422, "invalid-value"),
        (silence, r#"{"name":"MemoryWarning"}"#, 422, "invalid-value"),
        (silence, r#"{"name":"Nothing","minutes":1}"#, 422, "invalid-value"),
        (silence, r#"{"name":"MemoryWarning","minutes":1441}"#, 422, "invalid-value"),
        (silence, r#"{"name":"MemoryWarning","minutes":-1}"#, 422, "invalid-value"),
        (
            silence,
            r#"{"name":"MemoryWarning","minutes":18446744073709551615}"#,
            422,
            "invalid-value",
        ),
        (silence, r#"{"name":"MemoryWarning","for":"25h"}"#, 422, "invalid-value"),
        (silence, r#"{"name":"MemoryWarning","for":7}"#, 422, "invalid-value"),
        (silence, r#"{"name":"MemoryWarning","for":"1h","minutes":1}"#, 422, "invalid-value"),
        ("/api/monitoring/alerts/nothing/resolve", "", 404, "not-found"),
    ] {
        let problem = server.post(path, body).await.problem(status, slug);
        if slug == "unknown-action" {
            assert_eq!(problem["allowed"], json!(["cleanup", "release", "updateThresholds"]));
        }
        if status == 422 {
            assert!(problem["errors"][0]["pointer"].is_string(), "{problem}");
        }
        assert_eq!(state(&server), before, "{path} {body}");
    }
    let query = format!("{AGGRESSIVE}?dryRun=perhaps");
    server.post(&query, "{}").await.problem(400, malformed);
    assert_eq!(state(&server), before);
}

#[tokio::test]
async fn a_method_that_does_not_fit_is_told_which_would() {
    let server = Server::start();
    for (method, path, allow) in [
        (Method::PUT, MEMORY, "GET, HEAD, POST"),
        (Method::OPTIONS, MEMORY, "GET, HEAD, POST"),
        (Method::GET, AGGRESSIVE, "POST"),
        (Method::POST, "/metrics", "GET, HEAD"),
        (Method::POST, "/livez", "GET, HEAD"),
        (Method::DELETE, "/api/monitoring/alerts/silence", "POST"),
    ] {
        let request = local(method, path).body(empty()).unwrap();
        let answer = Answer::of(server.ask(request).await).await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn a_body_must_be_json_and_say_so() {
    let server = Server::start();
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut request = local(Method::POST, MEMORY);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Full::<Bytes>::from(r#"{"action":"cleanup"}"#)).unwrap();
        let answer = Answer::of(server.ask(request).await).await;
        answer.problem(415, "unsupported-media-type");
    }
    // Nothing to describe.
    let request = local(Method::POST, AGGRESSIVE).body(empty()).unwrap();
    assert_eq!(server.ask(request).await.status(), StatusCode::OK);
    assert_eq!(server.plimsoll.cleanups(9).len(), 1);
}

/// A body that panics when it is read.
struct Unreadable;

impl http_body::Body for Unreadable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was read");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_unread() {
    let server = Server::start();
    let post = || local(Method::POST, MEMORY).header("content-type", "application/json");
    let declared = post().header("content-length", 16 * 1024 + 1).body(Unreadable).unwrap();
    Answer::of(server.ask(declared).await).await.problem(413, "content-too-large");

    // Nor is it read when the request is refused for another reason.
    let elsewhere = post().header("x-forwarded-for", "1").body(Unreadable).unwrap();
    assert_eq!(server.ask(elsewhere).await.status(), StatusCode::FORBIDDEN);
    let form = local(Method::POST, MEMORY).body(Unreadable).unwrap();
    assert_eq!(server.ask(form).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);

    // Of unknown length: counted as it comes, and no frame after the one too many is asked for.
    let mut asked = 0;
    let frames = std::iter::from_fn(move || {
        asked += 1;
        assert!(asked <= 17, "read on");
        Some(Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; 1_024]))))
    });
    let endless = post().body(StreamBody::new(tokio_stream::iter(frames))).unwrap();
    Answer::of(server.ask(endless).await).await.problem(413, "content-too-large");

    let just = format!("{:width$}", r#"{"action":"gc"}"#, width = 16 * 1024);
    server.post(MEMORY, &just).await.problem(400, "unknown-action");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_not_waited_for() {
    let server = Server::start();
    let never = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let request = local(Method::POST, MEMORY).header("content-type", "application/json");
    let answer = Answer::of(server.ask(request.body(never).unwrap()).await).await;
    answer.problem(408, "request-timeout");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let server = Server::start();
    let broken = tokio_stream::once(Err::<Frame<Bytes>, _>(std::io::Error::other("gone")));
    let request = local(Method::POST, MEMORY).header("content-type", "application/json");
    let answer = server.ask(request.body(StreamBody::new(broken)).unwrap()).await;
    Answer::of(answer).await.problem(400, "malformed-request");
}

#[tokio::test]
async fn the_first_thing_wrong_is_what_is_told() {
    let server = Server::with(Plimsoll::builder(), |layer| layer);
    // Each request has everything wrong that comes after what it is refused for.
    let bad = || {
        local(Method::POST, MEMORY)
            .header("sec-fetch-site", "cross-site")
            .header("content-type", "text/plain")
            .header("content-length", 1 << 30)
    };
    let answer = server.ask(bad().method(Method::PATCH).body(Unreadable).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let answer = server.ask(bad().header("via", "1.1 p").body(Unreadable).unwrap()).await;
    assert!(Answer::of(answer).await.text().contains("proxy"));
    let answer = server.ask(bad().body(Unreadable).unwrap()).await;
    assert!(Answer::of(answer).await.text().contains("another site"));
}
