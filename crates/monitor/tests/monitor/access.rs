use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use plimsoll_core::{Plimsoll, env::EnvSettings};
use plimsoll_monitor::{Access, PeerAddr};

use crate::support::{AGGRESSIVE, Answer, MEMORY, STREAM, Server, empty, local};

const READ_ROUTES: [&str; 9] = [
    MEMORY,
    STREAM,
    "/api/monitoring/history",
    "/api/monitoring/alerts",
    "/api/monitoring/routes",
    "/api/monitoring/pruners",
    "/api/monitoring/openapi.json",
    "/metrics",
    "/monitoring/",
];
const OPERATE_ROUTES: [&str; 5] = [
    MEMORY,
    AGGRESSIVE,
    "/api/monitoring/alerts/a-1/resolve",
    "/api/monitoring/alerts/silence",
    "/api/monitoring/alerts/test",
];

fn remote() -> PeerAddr {
    PeerAddr(SocketAddr::from(([192, 0, 2, 7], 50_000)))
}

/// Asks as somebody else, and makes sure that nothing of the process is told.
async fn refused(server: &Server, request: http::request::Builder, slug: &str) -> Answer {
    let answer = Answer::of(server.ask(request.body(empty()).unwrap()).await).await;
    let status = if slug == "token-needed" { 401 } else { 403 };
    answer.problem(status, slug);
    assert!(!answer.text().contains("1400"), "a figure in {}", answer.text());
    answer
}

#[tokio::test]
async fn by_default_every_route_is_closed_to_all_but_this_machine() {
    let server = Server::start();
    for (method, path) in READ_ROUTES
        .map(|path| (Method::GET, path))
        .into_iter()
        .chain(OPERATE_ROUTES.map(|path| (Method::POST, path)))
    {
        let request = || local(method.clone(), path);
        refused(&server, request().extension(remote()), "not-allowed").await;
        refused(&server, request().header("x-forwarded-for", "127.0.0.1"), "not-allowed").await;
        refused(&server, request().header("forwarded", "for=127.0.0.1"), "not-allowed").await;
        let foreign = Request::builder().method(method.clone()).uri(path);
        let here = PeerAddr(SocketAddr::from(([127, 0, 0, 1], 1)));
        let foreign = foreign.header("host", "evil.example").extension(here);
        refused(&server, foreign, "not-allowed").await;
        let nobody =
            Request::builder().method(method.clone()).uri(path).header("host", "localhost");
        let answer = refused(&server, nobody, "not-allowed").await;
        assert!(answer.text().contains("MONITOR_TOKEN"), "{}", answer.text());
    }
    // The state is as it was.
    assert_eq!(server.plimsoll.cleanups(1).len(), 0);
}

#[tokio::test]
async fn probes_are_open_to_all_and_tell_only_words() {
    let server = Server::with(Plimsoll::builder(), |layer| layer.access(Access::bearer("op")));
    for path in ["/livez", "/readyz", "/readyz?verbose"] {
        let request = Request::get(path).header("x-forwarded-for", "1").extension(remote());
        let answer = Answer::of(server.ask(request.body(empty()).unwrap()).await).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.text().contains(|c: char| c.is_ascii_digit()), "{}", answer.text());
    }
}

#[tokio::test]
async fn tokens_are_asked_for_and_have_scopes() {
    let server = Server::with(Plimsoll::builder(), |layer| {
        layer.access(Access::bearer("operate-me").with_read("read-me"))
    });
    let answer = refused(&server, local(Method::GET, MEMORY), "token-needed").await;
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="plimsoll""#);
    let wrong = local(Method::GET, MEMORY).header("authorization", "Bearer read-you");
    let answer = refused(&server, wrong, "token-needed").await;
    assert!(answer.header("www-authenticate").contains("invalid_token"));

    for (token, method, path, expected) in [
        ("read-me", Method::GET, MEMORY, StatusCode::OK),
        ("read-me", Method::POST, AGGRESSIVE, StatusCode::FORBIDDEN),
        ("operate-me", Method::GET, MEMORY, StatusCode::OK),
        ("operate-me", Method::POST, AGGRESSIVE, StatusCode::OK),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .extension(remote());
        let answer = server.ask(request.body(empty()).unwrap()).await;
        assert_eq!(answer.status(), expected, "{token} {path}");
    }
    assert_eq!(server.plimsoll.cleanups(9).len(), 1);
}

#[tokio::test]
async fn a_token_in_the_environment_opens_the_way_from_elsewhere_beside_loopback() {
    let vars = [("MONITOR_TOKEN".into(), "from-env".into())];
    let settings = EnvSettings::from_vars(vars).unwrap();
    let server = Server::with(Plimsoll::builder().env_settings(settings), |layer| layer);
    server.get(MEMORY).await.data();
    refused(&server, local(Method::GET, MEMORY).extension(remote()), "not-allowed").await;
    let request =
        local(Method::GET, MEMORY).extension(remote()).header("authorization", "Bearer from-env");
    assert_eq!(server.ask(request.body(empty()).unwrap()).await.status(), StatusCode::OK);
    let wrong = local(Method::GET, MEMORY).header("authorization", "Bearer from-afar");
    refused(&server, wrong, "token-needed").await;
}

#[tokio::test]
async fn bearer_without_a_token_refuses_everybody_and_says_what_to_do() {
    let vars = [("MONITOR_ACCESS".into(), "bearer".into())];
    let settings = EnvSettings::from_vars(vars).unwrap();
    let server = Server::with(Plimsoll::builder().env_settings(settings), |layer| layer);
    let answer = refused(&server, local(Method::GET, MEMORY), "not-allowed").await;
    assert!(answer.text().contains("MONITOR_TOKEN"));
    assert_eq!(answer.header("www-authenticate"), "", "no token would do");
}

#[tokio::test]
async fn public_is_public_but_not_to_pages_of_other_sites() {
    let server = Server::with(Plimsoll::builder(), |layer| layer.access(Access::Public));
    let request = || Request::post(AGGRESSIVE).header("host", "a.example").extension(remote());
    let answer = server.ask(request().body(empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://b.example"),
    ] {
        refused(&server, request().header(name, value), "not-allowed").await;
    }
    assert_eq!(server.plimsoll.cleanups(9).len(), 1);
}

#[tokio::test]
async fn a_place_of_ones_own_for_the_address_is_the_only_one() {
    #[derive(Clone)]
    struct Connection(SocketAddr);
    let server = Server::with(Plimsoll::builder(), |layer| {
        layer.peer_from(|extensions| Some(extensions.get::<Connection>()?.0))
    });
    refused(&server, local(Method::GET, MEMORY), "not-allowed").await;
    let here = Connection(SocketAddr::from(([127, 0, 0, 1], 1)));
    let request = local(Method::GET, MEMORY).extension(here).body(Full::<bytes::Bytes>::default());
    assert_eq!(server.ask(request.unwrap()).await.status(), StatusCode::OK);
}
