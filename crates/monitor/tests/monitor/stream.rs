use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use plimsoll_core::{MB, Plimsoll, Thresholds};
use plimsoll_monitor::{Access, MonitorBody};
use serde_json::{Value, json};

use crate::support::{Answer, STREAM, Server, empty, local};

type Body = MonitorBody<Full<Bytes>>;

/// One event, its lines taken apart.
#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

async fn open(server: &Server, after: Option<&str>) -> Response<Body> {
    let mut request = local(Method::GET, STREAM);
    if let Some(id) = after {
        request = request.header("last-event-id", id);
    }
    server.ask(request.body(empty()).unwrap()).await
}

async fn frame(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.expect("infallible").into_data().expect("data");
    Some(String::from_utf8(frame.to_vec()).unwrap())
}

fn parsed(text: &str) -> Event {
    assert!(text.ends_with("\n\n"), "{text}");
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    Event {
        id: line("id").to_owned(),
        name: line("event").to_owned(),
        data: serde_json::from_str(line("data")).unwrap(),
    }
}

/// The next event of this name.
async fn event(body: &mut Body, name: &str) -> Event {
    loop {
        let text = frame(body).await.expect("goes on");
        if text.contains("event: ") {
            let event = parsed(&text);
            if event.name == name {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_what_happens() {
    let server = Server::start();
    server.plimsoll.cleanup(plimsoll_core::CleanupLevel::Moderate).await.unwrap();
    let response = open(&server, None).await;
    assert_eq!(response.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let mut body = response.into_body();
    let text = frame(&mut body).await.unwrap();
    assert!(text.starts_with("retry: 3000\n"), "{text}");
    let snapshot = parsed(&text);
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(snapshot.data["report"]["current"]["rss"], 1_400);
    assert!(snapshot.data["samples"].is_array());
    assert_eq!(snapshot.data["cleanups"].as_array().unwrap().len(), 1);

    server.plimsoll.set_thresholds(Thresholds::new(1_600 * MB, 2_600 * MB).unwrap()).unwrap();
    let changed = event(&mut body, "thresholds").await;
    assert_eq!(changed.data["thresholds"]["warning"], 1_600);
    assert_eq!(changed.data["previous"]["warning"], 2_000);
    server.plimsoll.cleanup(plimsoll_core::CleanupLevel::Moderate).await.unwrap();
    let cleanup = event(&mut body, "cleanup").await;
    assert_eq!(cleanup.data["trigger"], "program");
    let sample = event(&mut body, "sample").await;
    assert_eq!(sample.data["level"], "healthy");
    let instance = server.plimsoll.instance();
    assert!(sample.id.starts_with(&format!("{instance}-")), "{}", sample.id);
}

#[tokio::test]
async fn who_comes_back_is_told_what_was_missed() {
    let server = Server::start();
    let mut body = open(&server, None).await.into_body();
    let change = |mb: u64| {
        server.plimsoll.set_thresholds(Thresholds::new(mb * MB, 3_000 * MB).unwrap()).unwrap();
    };
    change(1_501);
    let last = event(&mut body, "thresholds").await;
    drop(body);
    change(1_502);
    change(1_503);

    let mut body = open(&server, Some(&last.id)).await.into_body();
    assert_eq!(frame(&mut body).await.unwrap(), "retry: 3000\n\n");
    for mb in [1_502, 1_503] {
        let missed = event(&mut body, "thresholds").await;
        assert_eq!(missed.data["thresholds"]["warning"], mb);
    }
    change(1_504);
    assert_eq!(event(&mut body, "thresholds").await.data["thresholds"]["warning"], 1_504);

    // What is not known any more, or never was, starts over.
    for id in ["other-1", "999", "", "\u{e4}-1", &format!("{}-999999", server.plimsoll.instance())]
    {
        let mut body = open(&server, Some(id)).await.into_body();
        assert_eq!(parsed(&frame(&mut body).await.unwrap()).name, "snapshot", "{id}");
    }
}

#[tokio::test]
async fn who_is_too_slow_starts_over_and_goes_on() {
    let server = Server::start();
    let mut body = open(&server, None).await.into_body();
    assert_eq!(parsed(&frame(&mut body).await.unwrap()).name, "snapshot");
    for mb in 1_000..1_100 {
        server.plimsoll.set_thresholds(Thresholds::new(mb * MB, 3_000 * MB).unwrap()).unwrap();
    }
    let next = parsed(&frame(&mut body).await.unwrap());
    assert_eq!(next.name, "snapshot");
    assert_eq!(next.data["report"]["thresholds"]["warning"], 1_099);
    server.plimsoll.set_thresholds(Thresholds::new(1_100 * MB, 3_000 * MB).unwrap()).unwrap();
    // Nothing of what was missed comes in between.
    let changed = event(&mut body, "thresholds").await;
    assert_eq!(changed.data["thresholds"]["warning"], 1_100);
}

#[tokio::test]
async fn the_ninth_stream_is_refused_until_one_is_closed() {
    let server = Server::start();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let response = open(&server, None).await;
        assert_eq!(response.status(), StatusCode::OK);
        streams.push(response.into_body());
    }
    let refused = Answer::of(open(&server, None).await).await;
    refused.problem(503, "too-many-streams");
    assert_eq!(refused.header("retry-after"), "10");
    streams.pop();
    assert_eq!(open(&server, None).await.status(), StatusCode::OK);
    // A request for the head alone takes no place.
    streams.push(open(&server, None).await.into_body());
    let head = local(Method::HEAD, STREAM).body(empty()).unwrap();
    assert_eq!(server.ask(head).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stream_ends_with_plimsoll() {
    let server = Server::start();
    let mut body = open(&server, None).await.into_body();
    assert!(frame(&mut body).await.is_some());
    let (rest, ()) = tokio::join!(
        async {
            while let Some(text) = frame(&mut body).await {
                assert!(text.starts_with("id: "), "{text}");
            }
        },
        server.plimsoll.shutdown()
    );
    rest
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive() {
    let server = Server::start();
    let mut body = open(&server, None).await.into_body();
    let opened = tokio::time::Instant::now();
    loop {
        // Time stands still but for what is waited for; samples come from a thread of their own.
        if frame(&mut body).await.unwrap() == ": ping\n\n" {
            break;
        }
    }
    assert_eq!(opened.elapsed().as_secs(), Duration::from_secs(15).as_secs());
}

#[tokio::test]
async fn a_line_break_in_the_instance_breaks_no_event() {
    let builder = Plimsoll::builder().instance("shop\nevent: evil\r\n\u{1}-x");
    let server = Server::with(builder, |layer| layer);
    let mut body = open(&server, None).await.into_body();
    let snapshot = parsed(&frame(&mut body).await.unwrap());
    assert_eq!(snapshot.name, "snapshot");
    let mut again = open(&server, Some(&snapshot.id)).await.into_body();
    assert_eq!(frame(&mut again).await.unwrap(), "retry: 3000\n\n", "{}", snapshot.id);
}

#[tokio::test]
async fn a_snapshot_says_what_its_listener_may_do() {
    let server = Server::with(Plimsoll::builder(), |layer| {
        layer.access(Access::loopback_or_bearer("operate-me").with_read("read-me"))
    });
    for (token, expected) in [
        (None, json!(["read", "operate"])),
        (Some("Bearer read-me"), json!(["read"])),
        (Some("Bearer operate-me"), json!(["read", "operate"])),
    ] {
        let mut request = local(Method::GET, STREAM);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let mut body = server.ask(request.body(empty()).unwrap()).await.into_body();
        assert_eq!(event(&mut body, "snapshot").await.data["scopes"], expected, "{token:?}");
    }
}
