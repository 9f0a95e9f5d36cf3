//! Rooms, chat sessions and threads over plain HTTP.

use super::*;

#[tokio::test]
async fn a_session_has_threads_and_threads_have_messages() {
    let server = Running::start(&[], false).await;
    let made = server.post("/api/sessions", json!({ "user": "Ada", "title": "plans" })).await;
    assert_eq!(made.head.status, StatusCode::CREATED);
    let session = made.json();
    let threads = format!("/api/sessions/{}/threads", session["id"]);
    let made = server.post(&threads, json!({ "title": "launch" })).await;
    assert_eq!(made.head.status, StatusCode::CREATED);
    let thread = made.json();
    assert_eq!(server.get(&threads).await.json(), json!([thread]));
    let messages = format!("/api/threads/{}/messages", thread["id"]);
    let said = server.post(&messages, json!({ "user": "Ben", "body": "<b>" })).await;
    assert_eq!(said.head.status, StatusCode::CREATED);
    assert_eq!(server.get(&messages).await.json(), json!([said.json()]));
    let sessions = server.get("/api/sessions?user=Ada").await.json();
    assert_eq!(sessions[0]["title"], "plans");
    assert_eq!(server.get("/api/sessions?user=Ben").await.json(), json!([]));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_said_over_http_is_heard_on_the_sockets() {
    let server = Running::start(&[], false).await;
    let mut ada = server.visitor("Ada").await;
    ada.hear("welcome").await;
    let said = json!({ "user": "Ben", "body": "by post" });
    let answer = server.post("/api/rooms/lobby/messages", said).await;
    assert_eq!(answer.head.status, StatusCode::CREATED);
    assert_eq!(ada.hear("message").await["body"], "by post");
    let participants = server.get("/api/rooms/lobby/participants").await.json();
    let names: Vec<_> = participants.as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names.len(), 2, "{participants}");
    drop(ada);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_change_nothing() {
    let server = Running::start(&[], false).await;
    let made = server.post("/api/sessions", json!({ "user": "Ada", "title": "s" })).await.json();
    let threads = format!("/api/sessions/{}/threads", made["id"]);
    let long = json!({ "user": "Ada", "body": "x".repeat(2001) }).to_string();
    let huge = json!({ "user": "Ada", "body": "x".repeat(40_000) }).to_string();
    for (path, body, status) in [
        ("/api/sessions", "{", 400),
        ("/api/sessions", "[]", 422),
        ("/api/sessions", r#"{"user":"","title":"x"}"#, 422),
        ("/api/sessions", r#"{"user":"Ada","title":"x","admin":true}"#, 422),
        ("/api/sessions/x/threads", r#"{"title":"x"}"#, 400),
        ("/api/sessions/99/threads", r#"{"title":"x"}"#, 404),
        (&threads, r##"{"title":"#lobby"}"##, 422),
        ("/api/threads/99/messages", r#"{"user":"Ada","body":"x"}"#, 404),
        ("/api/rooms/lobby/messages", &long, 422),
        ("/api/rooms/lobby/messages", &huge, 413),
        ("/api/rooms/%0A/messages", r#"{"user":"Ada","body":"x"}"#, 400),
    ] {
        let answer = server.send(Method::POST, path, body.to_owned()).await;
        assert_eq!(answer.head.status.as_u16(), status, "{path} {body:.60}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path} {body:.60}");
        assert_eq!(answer.json()["success"], false);
    }
    for path in ["/api/sessions", "/api/sessions/99999999999999999999/threads"] {
        assert_eq!(server.get(path).await.head.status, 400, "{path}");
    }
    assert_eq!(server.get(&threads).await.json(), json!([]));
    assert_eq!(server.get("/api/rooms/lobby/messages").await.json(), json!([]));
    server.stop().await.unwrap();
}
