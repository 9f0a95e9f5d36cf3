//! The description against what is really answered.

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use plimsoll_core::{
    CleanupLevel, MB, Plimsoll, Pruned, RetentionOutcome, Thresholds, alerts::FnSink,
};
use plimsoll_testkit::{Answer as Does, RecordingPruner};
use serde_json::Value;

use crate::{
    schema::check,
    sockets::Crowd,
    support::{Answer, MEMORY, STREAM, Server, local, rules},
};

async fn document(server: &Server) -> Value {
    let document = server.get("/api/monitoring/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    document
}

/// Follows a response that is written down elsewhere.
fn resolved<'d>(value: &'d Value, document: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(name) => document.pointer(&name[1..]).unwrap_or_else(|| panic!("{name}")),
        None => value,
    }
}

/// Holds an answer against what the document says of it.
fn assert_described(answer: &Answer, method: &str, path: &str, document: &Value) {
    let operation = &document["paths"][path][method];
    assert!(operation.is_object(), "{method} {path} is not described");
    let status = answer.status().as_u16().to_string();
    let response = resolved(&operation["responses"][&status], document);
    assert!(response.is_object(), "{method} {path} {status} is not described");
    let Some(content) = response["content"].as_object() else { return };
    let kind = answer.header("content-type").split(';').next().unwrap_or_default();
    let described = content.get(kind).unwrap_or_else(|| panic!("{method} {path}: {kind}"));
    if kind.ends_with("json") {
        check(&answer.json(), &described["schema"], document)
            .unwrap_or_else(|error| panic!("{method} {path} {status}: {error}\n{}", answer.text()));
    }
}

/// A server with something in every list.
async fn eventful() -> (Server, String) {
    let (told, mut notifications) = tokio::sync::mpsc::unbounded_channel();
    let sink = FnSink::new("pager", move |notification| {
        let _ = told.send(notification);
        std::future::ready(Ok(()))
    });
    let builder = Plimsoll::builder()
        .automatic_cleanup(false)
        .alert_sink(sink)
        .thresholds(Thresholds::new(MB, 2 * MB).unwrap());
    let server = Server::with(builder, |layer| layer);
    for (name, does) in
        [("cache", Does::Claim(Pruned::entries(1))), ("bad", Does::Fail("no".to_owned()))]
    {
        let registration = server.plimsoll.registry().register(name, RecordingPruner::new(does));
        std::mem::forget(registration);
    }
    let rules = rules(&[RetentionOutcome::Ok, RetentionOutcome::Elsewhere]);
    server.plimsoll.attach_retention(rules).unwrap();
    std::mem::forget(Crowd::attach(&server.plimsoll));
    server.plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
    server.script.set_rss(1_500 * MB);
    server.plimsoll.check().await.unwrap();
    server.plimsoll.cleanup(CleanupLevel::Aggressive).await.unwrap();
    let alert = notifications.recv().await.unwrap().id;
    (server, alert)
}

#[tokio::test]
async fn every_path_that_is_described_answers_as_described() {
    let (server, alert) = eventful().await;
    let document = document(&server).await;
    server.script.fail(true);
    server.plimsoll.check().await;
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let real = path.replace("{id}", &alert);
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            let body = if example.is_null() { String::new() } else { example.to_string() };
            let request = local(method.to_uppercase().parse().unwrap(), &real)
                .header("content-type", "application/json");
            let response =
                server.ask(request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await;
            if path == STREAM {
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                let content = &operation["responses"]["200"]["content"];
                assert!(content["text/event-stream"].is_object());
                continue;
            }
            let answer = Answer::of(response).await;
            let is_fine = answer.status().is_success() || answer.status().is_redirection();
            let no_recorder = path == "/metrics" && !cfg!(feature = "prometheus");
            assert!(is_fine || no_recorder, "{method} {path}: {}", answer.text());
            assert_described(&answer, method, path, &document);
        }
    }
    assert!(operations >= 17, "{operations} operations");
}

#[tokio::test]
async fn refusals_are_as_described() {
    let server = Server::start();
    let document = document(&server).await;
    for (path, body) in [
        (MEMORY, r#"{"action":"gc"}"#),
        (MEMORY, r#"{"action":"updateThresholds","thresholds":{"warning":9999}}"#),
        ("/api/monitoring/alerts/silence", "{}"),
    ] {
        assert_described(&server.post(path, body).await, "post", path, &document);
    }
    let answer = server.post("/api/monitoring/alerts/a-1/resolve", "").await;
    assert_described(&answer, "post", "/api/monitoring/alerts/{id}/resolve", &document);
    let answer = server.get("/api/monitoring/history?minutes=0").await;
    assert_described(&answer, "get", "/api/monitoring/history", &document);
    let request = local(Method::GET, MEMORY).header("via", "p").body(crate::support::empty());
    let answer = Answer::of(server.ask(request.unwrap()).await).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_described(&answer, "get", MEMORY, &document);
    let answer =
        server.post(MEMORY, r#"{"action":"updateThresholds","thresholds":{"warning":1}}"#).await;
    assert_described(&answer, "post", MEMORY, &document);
}

#[tokio::test]
async fn the_events_are_as_described() {
    let (server, _) = eventful().await;
    let document = document(&server).await;
    let request = local(Method::GET, STREAM).body(crate::support::empty()).unwrap();
    let mut body = server.ask(request).await.into_body();
    server.plimsoll.set_thresholds(Thresholds::new(1_600 * MB, 2_600 * MB).unwrap()).unwrap();
    server.plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
    // An alert resolves by it, and a sample comes within a second.
    let mut wanted = vec!["snapshot", "thresholds", "cleanup", "alert", "sample"];
    while !wanted.is_empty() {
        let frame = body.frame().await.expect("goes on").unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let Some(name) = line("event: ") else { continue };
        let schema = match name {
            "snapshot" => "Snapshot",
            "sample" => "Sample",
            "cleanup" => "Cleanup",
            "alert" => "Alert",
            "thresholds" => "ThresholdChange",
            other => panic!("{other} is not described"),
        };
        let data: Value = serde_json::from_str(line("data: ").unwrap()).unwrap();
        let schema = &document["components"]["schemas"][schema];
        check(&data, schema, &document).unwrap_or_else(|error| panic!("{name}: {error}\n{data}"));
        wanted.retain(|wanted| *wanted != name);
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": ["integer", "null"], "minimum": 0}, "b": {"type": "array", "items": {"enum": ["x"]}}},
    });
    let ok =
        |value: &str| check(&serde_json::from_str(value).unwrap(), &schema, &Value::Null).is_ok();
    assert!(ok(r#"{"a":1}"#) && ok(r#"{"a":null,"b":["x"]}"#));
    for bad in
        [r#"{}"#, r#"{"a":"1"}"#, r#"{"a":-1}"#, r#"{"a":1,"c":2}"#, r#"{"a":1,"b":["y"]}"#, "[]"]
    {
        assert!(!ok(bad), "{bad}");
    }
}
