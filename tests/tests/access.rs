//! Who reaches the monitoring routes: this machine, or a token of the right scope.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Method, Request},
};
use plimsoll::{Plimsoll, prelude::*};
use plimsoll_testkit::ScriptedSource;
use plimsoll_tests::{
    Answer, Chat, Http, Ran, assert_no_figures, assert_refusal, plimsoll_command,
};
use serde_json::json;
use tower::ServiceExt as _;

const OPERATE: &str = "operate-4f1c";
const READ: &str = "read-9d2e";
/// Method, path and body.
type Route = (&'static str, &'static str, &'static str);

/// The routes that show or change something.
const ROUTES: [Route; 9] = [
    ("GET", "/api/monitoring/memory", ""),
    ("POST", "/api/monitoring/memory", r#"{"action":"cleanup"}"#),
    ("POST", "/api/cleanup/aggressive", ""),
    ("GET", "/api/monitoring/history?minutes=60", ""),
    ("GET", "/api/monitoring/alerts", ""),
    ("GET", "/api/monitoring/routes", ""),
    ("GET", "/api/monitoring/pruners", ""),
    ("GET", "/api/monitoring/stream", ""),
    ("GET", "/metrics", ""),
];

/// Asks one route with these headers.
async fn ask(http: &Http, route: Route, headers: &[(&str, &str)]) -> Answer {
    let (method, path, body) = route;
    let mut request = http.request(method.parse().unwrap(), path);
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    http.send(request, body).await
}

#[tokio::test]
async fn a_request_that_went_through_a_proxy_or_names_another_host_is_refused() {
    let chat = Chat::start(&[]).await;
    for header in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=127.0.0.1"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
    ] {
        for route in ROUTES {
            let answer = ask(&chat, route, &[header]).await;
            assert_refusal(&answer, 403);
            assert_no_figures(&answer);
        }
    }
    let report = chat.report().await;
    assert_eq!(report["cleanupHistory"], json!([]), "no refused request cleaned up");
    for host in ["localhost", "localhost:3000", "127.0.0.1", "[::1]:3000"] {
        assert_eq!(ask(&chat, ROUTES[0], &[("host", host)]).await.status, 200, "{host}");
    }
}

/// One request as a server hands it on that was reached from `peer`.
async fn from_peer(app: &Router, peer: Option<IpAddr>, route: Route) -> Answer {
    let (method, path, body) = route;
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3000");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    if let Some(peer) = peer {
        request = request.extension(ConnectInfo(SocketAddr::new(peer, 40_000)));
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response: Result<_, Infallible> = app.clone().oneshot(request).await;
    let (head, body) = response.unwrap().into_parts();
    let (status, headers) = (head.status.as_u16(), head.headers);
    Answer { status, headers, body: to_bytes(body, 1 << 20).await.unwrap() }
}

#[tokio::test]
async fn a_peer_that_is_not_this_machine_or_not_known_is_refused() {
    let (source, script) = ScriptedSource::new();
    script.set_rss(900 * MB);
    let plimsoll = Plimsoll::builder().start_with(source).unwrap();
    let app = Router::new().layer(MonitorRouteLayer::new(&plimsoll));
    let foreign = ["203.0.113.9", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "0.0.0.0"];
    for route in ROUTES {
        for peer in foreign {
            let answer = from_peer(&app, Some(peer.parse().unwrap()), route).await;
            assert_refusal(&answer, 403);
            assert_no_figures(&answer);
        }
        let unknown = from_peer(&app, None, route).await;
        assert_refusal(&unknown, 403);
        assert_no_figures(&unknown);
        assert!(unknown.text().contains("MONITOR_TOKEN"), "it says how to: {}", unknown.text());
    }
    assert!(plimsoll.cleanups(1).is_empty());
    for peer in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
        let answer = from_peer(&app, Some(peer.parse().unwrap()), ROUTES[0]).await;
        assert_eq!(answer.status, 200, "{peer}");
    }
    // The probes are open to all, and say only words.
    for probe in ["/livez", "/readyz"] {
        let answer = from_peer(&app, Some(foreign[0].parse().unwrap()), ("GET", probe, "")).await;
        assert_eq!(answer.status, 200, "{probe}");
        assert!(!answer.text().contains(|c: char| c.is_ascii_digit()), "{}", answer.text());
    }
    plimsoll.shutdown().await;
}

async fn bearer_chat() -> Chat {
    let variables =
        [("MONITOR_ACCESS", "bearer"), ("MONITOR_TOKEN", OPERATE), ("MONITOR_READ_TOKEN", READ)];
    Chat::start_with(&[], &variables).await
}

#[tokio::test]
async fn with_tokens_each_scope_does_what_it_may_and_no_more() {
    let chat = bearer_chat().await;
    for route in ROUTES {
        // A stream has no end to read to.
        if route.1.ends_with("/stream") {
            continue;
        }
        let none = ask(&chat, route, &[]).await;
        assert_refusal(&none, 401);
        assert_no_figures(&none);
        assert!(none.header("www-authenticate").starts_with("Bearer"), "{:?}", none.headers);

        let read = ask(&chat, route, &[("authorization", &format!("Bearer {READ}"))]).await;
        if route.0 == "GET" {
            assert_eq!(read.status, 200, "{route:?}");
        } else {
            assert_refusal(&read, 403);
            assert_no_figures(&read);
        }
        let operate = ask(&chat, route, &[("authorization", &format!("Bearer {OPERATE}"))]).await;
        assert_eq!(operate.status, 200, "{route:?}: {}", operate.text());
    }
    let change = r#"{"action":"updateThresholds","thresholds":{"warning":1,"critical":2}}"#;
    let route = ("POST", "/api/monitoring/memory", change);
    assert_refusal(&ask(&chat, route, &[("authorization", &format!("Bearer {READ}"))]).await, 403);
    let report = ask(&chat, ROUTES[0], &[("authorization", &format!("Bearer {READ}"))]).await;
    assert_eq!(report.json()["data"]["status"], "healthy");
}

#[tokio::test]
async fn a_malformed_or_wrong_token_is_refused_and_never_repeated() {
    let chat = bearer_chat().await;
    let almost = &OPERATE[..OPERATE.len() - 1];
    let long = format!("Bearer {}", "x".repeat(7_000));
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cret",
        &format!("Bearer {almost}"),
        &format!("Bearer {OPERATE}x"),
        &format!("Bearer {OPERATE} {OPERATE}"),
        &format!("Basic {OPERATE}"),
        OPERATE,
        &long,
    ] {
        let answer = ask(&chat, ROUTES[0], &[("authorization", value)]).await;
        assert_refusal(&answer, 401);
        assert_no_figures(&answer);
        assert!(!answer.text().contains("s3cret") && !answer.text().contains(almost), "{value}");
    }
    let mut twice = chat.request(Method::GET, ROUTES[0].1);
    for token in [OPERATE, "other"] {
        twice = twice.header("authorization", format!("Bearer {token}"));
    }
    assert_refusal(&chat.send(twice, "").await, 401);
    for probe in ["/livez", "/readyz"] {
        assert_eq!(chat.get(probe).await.status, 200, "{probe} needs no token");
    }
}

#[tokio::test]
async fn the_tool_takes_its_token_from_the_environment_or_a_file() {
    let chat = bearer_chat().await;
    let run = async |token: Option<&str>, arguments: &[&str]| {
        let mut command = plimsoll_command();
        command.args(["--url", &chat.url()]).args(arguments);
        if let Some(token) = token {
            command.env("PLIMSOLL_TOKEN", token);
        }
        Ran::of(command).await
    };
    let refused = run(None, &["report"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (4, ""));
    assert!(refused.stderr.contains("PLIMSOLL_TOKEN"), "{}", refused.stderr);
    assert_eq!(run(Some("wrong"), &["report"]).await.code, 4);
    assert_eq!(run(Some(READ), &["report"]).await.code, 0);
    assert_eq!(run(Some(READ), &["cleanup"]).await.code, 4);
    assert_eq!(run(Some(OPERATE), &["cleanup"]).await.code, 0);

    let file = format!("{}/token-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&file, format!("{READ}\n")).unwrap();
    let from_file = run(None, &["report", "--token-file", &file]).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(from_file.code, 0, "{}", from_file.stderr);
}

#[tokio::test]
async fn public_access_is_written_out_and_warned_about() {
    let chat = Chat::start_with(&[], &[("MONITOR_ACCESS", "public")]).await;
    let forwarded = [("x-forwarded-for", "203.0.113.9"), ("host", "chat.example")];
    assert_eq!(ask(&chat, ROUTES[0], &forwarded).await.status, 200);
    chat.says("WARN").await;
    chat.says("public").await;
}
