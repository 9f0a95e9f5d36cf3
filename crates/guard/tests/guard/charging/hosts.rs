//! Under hyper, axum and tonic, over real loopback sockets.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, body::Body, extract::Request, routing::post};
use bytes::Bytes;
use http::{Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, client::conn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use plimsoll_core::MB;
use plimsoll_guard::{
    ChargedBody, ChargedBodyError, DEFAULT_REQUEST_COST_BYTES as BASE, MemoryGuardLayer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Ship, in_time};

const CHUNK: usize = 10_000_000;

/// Serves until dropped.
struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers the length of the body; `/waits` and `/unread` do not read it, `/panics` not all.
async fn handle(
    request: http::Request<ChargedBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, ChargedBodyError> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    if path == "/waits" {
        std::future::pending::<()>().await;
    }
    if path == "/unread" {
        return Ok(Response::new(Full::default()));
    }
    if path == "/panics" {
        body.frame().await;
        panic!("boom");
    }
    let length = body.collect().await?.to_bytes().len();
    Ok(Response::new(Full::new(length.to_string().into())))
}

async fn serve(ship: &Ship) -> Server {
    let layer = MemoryGuardLayer::new(ship.config()).charging_bodies();
    let service = layer.layer(service_fn(handle));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        // Its connections end with it.
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Server { address, accepting: accepting.abort_handle() }
}

type Outgoing = BoxBody<Bytes, Infallible>;

/// Declares a body for `/waits`, and sends none of it.
async fn declare(server: &Server, length: u64) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /waits HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

enum Client {
    Http1(conn::http1::SendRequest<Outgoing>),
    Http2(conn::http2::SendRequest<Outgoing>),
}

impl Client {
    async fn connect(server: &Server, version: Version) -> Self {
        let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        if version == Version::HTTP_2 {
            let (client, connection) =
                conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(client)
        } else {
            let (client, connection) = conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(client)
        }
    }

    /// Starts an upload without a length, sent as the channel is filled; it ends with it.
    fn upload(
        &mut self,
        path: &str,
    ) -> (mpsc::Sender<Bytes>, impl Future<Output = hyper::Result<Response<Incoming>>> + use<>)
    {
        let (sender, receiver) = mpsc::channel(1);
        let frames = futures_util::StreamExt::map(ReceiverStream::new(receiver), |data| {
            Ok(Frame::data(data))
        });
        let body = StreamBody::new(frames).boxed();
        let request = http::Request::builder().method("POST").header("host", "localhost");
        let answer = match self {
            Self::Http1(client) => {
                let request = request.uri(path).body(body).unwrap();
                futures_util::future::Either::Left(client.send_request(request))
            }
            Self::Http2(client) => {
                let request = request.uri(format!("http://localhost{path}")).body(body).unwrap();
                futures_util::future::Either::Right(client.send_request(request))
            }
        };
        (sender, answer)
    }
}

fn chunk(bytes: usize) -> Bytes {
    Bytes::from_static(&super::ZEROES[..bytes])
}

const BOTH: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

#[tokio::test]
async fn an_upload_that_outgrows_the_line_gets_503_while_it_is_still_being_sent() {
    for version in BOTH {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let _occupying = declare(&server, 200_000_000).await;
        ship.wait_until_held((1, BASE + 200 * MB)).await;
        let mut client = Client::connect(&server, version).await;
        let (sender, answer) = client.upload("/");
        let sending = tokio::spawn(async move {
            let mut sent = 0_u64;
            while sender.send(chunk(CHUNK)).await.is_ok() {
                sent += 1;
            }
            sent
        });
        // The body never ends by itself, so an answer can only come while it is being sent.
        let answer = in_time(answer).await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::SERVICE_UNAVAILABLE, version));
        assert!(answer.headers().contains_key("retry-after"));
        ship.wait_until_held((1, BASE + 200 * MB)).await;
        drop((answer, client));
        assert!(in_time(sending).await.unwrap() >= 4);
        assert_eq!((ship.figures().admitted, ship.figures().shed), (2, 1), "{version:?}");
        drop(server);
        ship.wait_until_empty().await;
    }
}

#[tokio::test]
async fn a_slow_upload_holds_what_has_arrived_and_others_are_refused_for_no_more() {
    for version in BOTH {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let mut client = Client::connect(&server, version).await;
        let (sender, answer) = client.upload("/");
        let answer = tokio::spawn(answer);
        let mut arrived = 0;
        for _ in 0..2 {
            in_time(sender.send(chunk(CHUNK))).await.unwrap();
            arrived += CHUNK as u64;
            ship.wait_until_held((1, BASE + arrived)).await;
        }
        let mut refused = declare(&server, 240_000_000).await;
        let mut status = [0; 12];
        in_time(refused.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 503");
        let _admitted = declare(&server, 210_000_000).await;
        ship.wait_until_held((2, 2 * BASE + arrived + 210 * MB)).await;
        drop(sender);
        let answer = in_time(answer).await.unwrap().unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "20000000");
        ship.wait_until_held((1, BASE + 210 * MB)).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_half_way_gives_its_bytes_back() {
    for version in BOTH {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let mut client = Client::connect(&server, version).await;
        let (sender, answer) = client.upload("/");
        let asking = tokio::spawn(async move { answer.await.map(drop) });
        in_time(sender.send(chunk(CHUNK))).await.unwrap();
        ship.wait_until_held((1, BASE + CHUNK as u64)).await;
        asking.abort();
        drop(client);
        ship.wait_until_empty().await;
        drop(sender);
    }
}

#[tokio::test]
async fn a_handler_that_panics_half_way_gives_its_bytes_back() {
    for version in BOTH {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let mut client = Client::connect(&server, version).await;
        let (sender, answer) = client.upload("/panics");
        let answer = tokio::spawn(answer);
        in_time(sender.send(chunk(1_000))).await.unwrap();
        in_time(answer).await.unwrap().unwrap_err();
        ship.wait_until_empty().await;
        assert_eq!(ship.figures().admitted, 1);
    }
}

#[tokio::test]
async fn the_guard_does_not_ask_for_a_body_that_its_handler_has_not_asked_for() {
    let ship = Ship::idle();
    let server = serve(&ship).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n";
    let unread = format!("POST /unread HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}");
    stream.write_all(unread.as_bytes()).await.unwrap();
    let mut text = String::new();
    in_time(stream.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");

    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let reads = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}");
    stream.write_all(reads.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    in_time(stream.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"3\r\nabc\r\n0\r\n\r\n").await.unwrap();
    text.clear();
    in_time(stream.read_to_string(&mut text)).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with('3'), "{text}");
    ship.wait_until_empty().await;
}

async fn length(body: Bytes) -> String {
    body.len().to_string()
}

fn router() -> Router {
    let unlimited = axum::extract::DefaultBodyLimit::disable();
    Router::new().route("/upload/{id}", post(length)).layer(unlimited)
}

fn upload(chunks: usize) -> Request {
    let frames = (0..chunks).map(|_| Ok::<_, Infallible>(Frame::data(chunk(CHUNK))));
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    Request::builder().method("POST").uri("/upload/1").body(body).unwrap()
}

async fn axum_answers<S, B>(service: S, ship: &Ship)
where
    S: Service<Request, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let answer = service.clone().oneshot(upload(2)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "20000000");
    assert_eq!(ship.held(), (0, 0));
    // Bytes that cannot be read are 400 by axum's own account.
    let answer = service.oneshot(upload(30)).await.unwrap();
    assert_eq!(answer.status(), 413);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let told: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(told["instance"], "/upload/1");
    assert_eq!((ship.held(), ship.figures().shed), ((0, 0), 1));
}

#[tokio::test]
async fn inside_and_around_axums_router() {
    let ship = Ship::idle();
    let layer = MemoryGuardLayer::new(ship.config().default_cost(1)).charging_bodies();
    axum_answers(router().layer(layer), &ship).await;
    #[cfg(feature = "axum")]
    assert_eq!(
        ship.plimsoll.routes().iter().map(|it| (&*it.name, it.shed_too_large)).collect::<Vec<_>>(),
        [("/upload/{id}", 1)]
    );
    let ship = Ship::idle();
    let layer = MemoryGuardLayer::new(ship.config().default_cost(1)).charging_bodies();
    axum_answers(layer.layer(router()), &ship).await;
}

#[tokio::test]
async fn inside_tonics_server_the_body_is_boxed_again() {
    use tonic::{Code, transport::Channel};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let ship = Ship::idle();
    // Almost all of the room, so that one message more does not fit.
    let config = ship.config().default_cost(1).cost(|head| {
        let named = head.headers.contains_key("large");
        named.then_some(247_500_000)
    });
    let boxed = |request: http::Request<ChargedBody<tonic::body::Body>>| {
        request.map(tonic::body::Body::new)
    };
    let layer = ServiceBuilder::new()
        .layer(MemoryGuardLayer::new(config).charging_bodies())
        .map_request(boxed)
        .into_inner();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (_reporter, health) = tonic_health::server::health_reporter();
        let server = tonic::transport::Server::builder().layer(layer).add_service(health);
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());

    // A gRPC request has no declared length: its five bytes are charged as they arrive.
    let stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    ship.wait_until_held((1, 1 + 5)).await;
    drop(stream);
    ship.wait_until_empty().await;

    let service = "x".repeat(3_000_000);
    let mut request = tonic::Request::new(HealthCheckRequest { service });
    request.metadata_mut().insert("large", "yes".parse().unwrap());
    let status = client.check(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "memory pressure"));
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    ship.wait_until_empty().await;
    assert_eq!((ship.figures().admitted, ship.figures().shed), (2, 1));
    serving.abort();
}
