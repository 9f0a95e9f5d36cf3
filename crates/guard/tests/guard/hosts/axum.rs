//! axum: inside `Router::layer`, nested, and around the whole router.

use std::net::SocketAddr;

use axum::{
    Router, body::Body, extract::Request, http::StatusCode, response::Response, routing::get,
};
use http_body_util::BodyExt;
use plimsoll_guard::MemoryGuardLayer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Service, ServiceBuilder, ServiceExt, make::Shared};

use crate::support::{Ship, in_time};

fn router() -> Router {
    Router::new()
        .route("/", get(async || "home"))
        .route("/rooms/{id}", get(async || "room"))
        .route("/livez", get(async || "ok"))
}

fn ask(path: &str) -> Request {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

async fn status(app: &Router, path: &str) -> StatusCode {
    app.clone().oneshot(ask(path)).await.unwrap().status()
}

#[tokio::test]
async fn as_the_outermost_layer_of_a_router() {
    let ship = Ship::idle();
    let app = router().layer(MemoryGuardLayer::new(ship.config().exempt("/livez")));
    let answer = app.clone().oneshot(ask("/")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "home");
    assert_eq!(ship.held(), (0, 0));
    ship.use_bytes(crate::support::FULL).await;
    assert_eq!(status(&app, "/").await, 503);
    assert_eq!(status(&app, "/nowhere").await, 503);
    assert_eq!(status(&app, "/livez").await, 200);
}

#[tokio::test]
async fn a_fallback_added_before_the_layer_is_guarded_too() {
    let ship = Ship::full();
    let layer = MemoryGuardLayer::new(ship.config());
    let before = router().fallback(async || StatusCode::IM_A_TEAPOT).layer(layer);
    assert_eq!(status(&before, "/nowhere").await, 503);
}

#[tokio::test]
async fn inside_a_nested_router() {
    let ship = Ship::full();
    let layer = MemoryGuardLayer::new(ship.config());
    let app = Router::new().nest("/api", router().layer(layer)).route("/", get(async || "home"));
    assert_eq!(status(&app, "/api/rooms/1").await, 503);
    assert_eq!(status(&app, "/").await, 200, "outside the guarded part");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_nested_guard_sees_the_path_that_was_sent() {
    let ship = Ship::full();
    let layer = MemoryGuardLayer::new(ship.config().exempt("/api/livez"));
    let app = Router::new().nest("/api", router().layer(layer));
    assert_eq!(status(&app, "/api/livez").await, 200);
    let answer = app.oneshot(ask("/api/rooms/1")).await.unwrap();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(body["instance"], "/api/rooms/1");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn requests_are_counted_by_their_route() {
    let ship = Ship::idle();
    let layer = MemoryGuardLayer::new(ship.config());
    let app = router().nest("/api", router()).layer(layer);
    let held = app.clone().oneshot(ask("/rooms/1")).await.unwrap();
    for path in ["/rooms/2", "/api/rooms/3", "/nowhere"] {
        status(&app, path).await;
    }
    ship.use_bytes(crate::support::FULL).await;
    status(&app, "/rooms/4").await;
    let seen: Vec<_> = ship
        .plimsoll
        .routes()
        .into_iter()
        .map(|route| (route.name, route.admitted, route.in_flight, route.shed_memory))
        .collect();
    let expected =
        [("/api/rooms/{id}", 1, 0, 0), ("/rooms/{id}", 2, 1, 1), ("<unmatched>", 1, 0, 0)];
    assert_eq!(seen, expected.map(|(name, a, i, s)| (name.to_owned(), a, i, s)));
    drop(held);
}

/// Serves until dropped.
struct Server {
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve<S>(service: S) -> Server
where
    S: Service<Request, Response = Response, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        axum::serve(listener, Shared::new(service)).await.unwrap();
    });
    Server { address, serving }
}

/// Asks over a socket; returns the status line.
async fn ask_over_tcp(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn around_the_whole_router() {
    let ship = Ship::idle();
    let guarded = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(MemoryGuardLayer::new(ship.config().exempt("/livez")))
        .service(router());
    let server = serve(guarded).await;
    assert_eq!(ask_over_tcp(&server, "/").await, "HTTP/1.1 200 OK");
    ship.wait_until_empty().await;
    ship.use_bytes(crate::support::FULL).await;
    assert_eq!(ask_over_tcp(&server, "/").await, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(ask_over_tcp(&server, "/livez").await, "HTTP/1.1 200 OK");
}
