//! Bare hyper: HTTP/1 and HTTP/2 on one port.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use plimsoll_core::MB;
use plimsoll_guard::{DEFAULT_REQUEST_COST_BYTES, MemoryGuardLayer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tower::{Layer, service_fn};

use crate::support::{Ship, in_time};

type Outgoing = BoxBody<Bytes, Infallible>;

/// More than sockets and hyper buffer for a client that does not read.
const LARGE: usize = 20 << 20;

struct Server {
    address: std::net::SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers the length of the body; `/waits` never.
async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() == "/waits" {
        std::future::pending::<()>().await;
    }
    assert_ne!(request.uri().path(), "/panics");
    if request.uri().path() == "/large" {
        return Ok(Response::new(Full::new(vec![7; LARGE].into())));
    }
    let length = request.into_body().collect().await?.to_bytes().len();
    Ok(Response::new(Full::new(length.to_string().into())))
}

async fn serve(ship: &Ship) -> Server {
    let service = MemoryGuardLayer::new(ship.config()).layer(service_fn(handle));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        // Its connections end with it.
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    Server { address, accepting: accepting.abort_handle() }
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

    async fn ask(
        &mut self,
        path: &str,
        body: Option<&'static [u8]>,
    ) -> hyper::Result<Response<Incoming>> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = match body {
            Some(bytes) => Full::from(bytes).boxed(),
            None => Empty::new().boxed(),
        };
        let request = Request::builder().method(method).header("host", "localhost");
        match self {
            Self::Http1(client) => client.send_request(request.uri(path).body(body).unwrap()).await,
            Self::Http2(client) => {
                let uri = format!("http://localhost{path}");
                client.send_request(request.uri(uri).body(body).unwrap()).await
            }
        }
    }
}

#[tokio::test]
async fn both_versions_are_admitted_and_shed() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let mut client = Client::connect(&server, version).await;
        let answer = client.ask("/", Some(&[7; 1_000])).await.unwrap();
        assert_eq!((answer.version(), answer.status()), (version, StatusCode::OK));
        assert_eq!(answer.headers()["content-length"], "4");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "1000");
        ship.wait_until_empty().await;

        ship.use_bytes(400 * MB).await;
        for body in [None, Some(&b"unread"[..])] {
            let answer = client.ask("/", body).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{version:?}");
            assert!(answer.headers().contains_key("retry-after"));
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(text.starts_with(b"{\"success\":false"));
        }
        assert_eq!(ship.held(), (0, 0));
    }
}

#[tokio::test]
async fn a_client_that_disconnects_gives_its_bytes_back() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let mut client = Client::connect(&server, version).await;
        let asking = tokio::spawn(async move { client.ask("/waits", None).await.map(drop) });
        ship.wait_until_held((1, DEFAULT_REQUEST_COST_BYTES)).await;
        asking.abort();
        ship.wait_until_empty().await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_gives_its_bytes_back() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let ship = Ship::idle();
        let server = serve(&ship).await;
        let mut client = Client::connect(&server, version).await;
        client.ask("/panics", Some(b"body")).await.unwrap_err();
        ship.wait_until_empty().await;
        assert_eq!(ship.figures().admitted, 1);
    }
}

#[tokio::test]
async fn an_upload_that_does_not_fit_is_answered_before_it_is_sent() {
    let ship = Ship::idle();
    let server = serve(&ship).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head =
        b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 999999999\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = String::new();
    // It ends, since nobody will read the body.
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn what_a_slow_reader_has_not_taken_stays_charged() {
    let ship = Ship::idle();
    let server = serve(&ship).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 1_000];
    in_time(stream.read_exact(&mut start)).await.unwrap();
    // hyper has taken all of the body by now, and dropped it; the client has most to come.
    ship.wait_until_held((1, LARGE as u64)).await;
    in_time(tokio::io::copy(&mut (&mut stream).take(LARGE as u64 - 1_000), &mut tokio::io::sink()))
        .await
        .unwrap();
    ship.wait_until_empty().await;
}
