//! The monitor under the servers that it is made for, over real sockets.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use plimsoll_core::{MB, Plimsoll, Thresholds};
use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
use plimsoll_monitor::{MonitorBody, MonitorRouteLayer, PeerAddr};
use plimsoll_testkit::ScriptedSource;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::MEMORY;

fn start() -> Plimsoll {
    let (source, _script) = ScriptedSource::with_rss(1_400 * MB);
    Plimsoll::builder().start_with(source).unwrap()
}

/// Sends text as it is and returns what comes back until the server closes.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// What another layer may ask of our types.
#[test]
fn the_types_fit_what_hosts_and_layers_ask() {
    fn body<B>()
    where
        B: http_body::Body<Data = Bytes> + Default + Send + 'static,
        // socketioxide asks for an error that is one by itself, not a boxed one.
        B::Error: std::error::Error + Send + Sync + 'static,
    {
    }
    fn layer<L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static>(_: &L)
    where
        L::Service: Clone + Send + Sync + 'static,
    {
    }
    body::<MonitorBody<Full<Bytes>>>();
    let check = |plimsoll: &Plimsoll| layer(&MonitorRouteLayer::new(plimsoll));
    let _ = check;
}

mod axum_router {
    use axum::{Router, routing::get};
    use axum::{body::Body, extract::Request as AxumRequest};

    use super::*;

    async fn status(app: &Router, path: &str) -> StatusCode {
        let request = AxumRequest::get(path)
            .header("host", "localhost")
            .extension(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 1))))
            .body(Body::empty())
            .unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn the_layer_works_wherever_the_docs_say_so() {
        let plimsoll = start();
        let monitor = MonitorRouteLayer::new(&plimsoll);
        let fallback = || async { StatusCode::IM_A_TEAPOT };
        let empty = Router::new().layer(monitor.clone());
        let before =
            Router::new().route("/", get(|| async {})).fallback(fallback).layer(monitor.clone());
        let wildcard = Router::new()
            .route("/{*all}", get(|| async { StatusCode::GONE }))
            .layer(monitor.clone());
        let merged = Router::new().merge(before.clone());
        for app in [&empty, &before, &wildcard, &merged] {
            assert_eq!(status(app, MEMORY).await, StatusCode::OK);
            assert_eq!(status(app, "/livez").await, StatusCode::OK);
        }
        assert_eq!(status(&before, "/nowhere").await, StatusCode::IM_A_TEAPOT);
        assert_eq!(status(&wildcard, "/x").await, StatusCode::GONE);
        // What comes after the layer is not layered: the docs warn of it.
        let after = Router::new().layer(monitor.clone()).fallback(fallback);
        assert_eq!(status(&after, MEMORY).await, StatusCode::IM_A_TEAPOT);
        let nested = Router::new().nest("/in", empty);
        assert_eq!(status(&nested, MEMORY).await, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn outside_the_guard_it_answers_while_everything_is_shed() {
        let plimsoll = start();
        plimsoll.set_thresholds(Thresholds::new(MB, 2 * MB).unwrap()).unwrap();
        let app = Router::new()
            .route("/", get(|| async {}))
            .layer(MemoryGuardLayer::new(GuardConfig::new(&plimsoll)))
            .layer(MonitorRouteLayer::new(&plimsoll));
        assert_eq!(status(&app, "/").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&app, MEMORY).await, StatusCode::OK);
        assert_eq!(status(&app, "/livez").await, StatusCode::OK);
    }
}

#[cfg(feature = "axum")]
mod axum_sockets {
    use std::time::Duration;

    use super::*;
    use crate::support::STREAM;

    async fn serve(plimsoll: &Plimsoll) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let app = axum::Router::new()
            .route("/", axum::routing::get(|| async { "home" }))
            .layer(MonitorRouteLayer::new(plimsoll));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        (address, tokio::spawn(async { axum::serve(listener, service).await.unwrap() }))
    }

    #[tokio::test]
    async fn the_address_comes_from_the_connection() {
        let plimsoll = start();
        let (address, server) = serve(&plimsoll).await;
        let answer = raw(address, &get(MEMORY)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(r#""rss":1400"#), "{answer}");
        assert!(raw(address, &get("/")).await.ends_with("home"));

        let foreign = get(MEMORY).replace("localhost", "evil.example");
        let forwarded = get(MEMORY).replace("connection", "x-forwarded-for: 1.2.3.4\r\nconnection");
        let old = get(MEMORY).replace("HTTP/1.1", "HTTP/1.0");
        for request in [foreign, forwarded, old] {
            let answer = raw(address, &request).await;
            assert!(answer.contains(" 403 "), "{request}{answer}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_large_body_is_refused_before_it_is_sent() {
        let plimsoll = start();
        let (address, server) = serve(&plimsoll).await;
        let request = format!(
            "POST {MEMORY} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 20000\r\n\r\n"
        );
        let answer = raw(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        server.abort();
    }

    #[tokio::test]
    async fn a_stream_crosses_the_wire_and_its_place_is_free_when_the_client_leaves() {
        let plimsoll = start();
        let (address, server) = serve(&plimsoll).await;
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(get(STREAM).as_bytes()).await.unwrap();
            let mut seen = String::new();
            while !seen.contains("event: snapshot") {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "{seen}");
                seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            streams.push(stream);
        }
        assert!(raw(address, &get(STREAM)).await.contains(" 503 "));
        drop(streams);
        // The server sees it when it next looks at the connection: at the next sample at the
        // latest, which is a second away.
        let mut stream = loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(get(STREAM).as_bytes()).await.unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.unwrap();
            if &status == b"HTTP/1.1 200" {
                break stream;
            }
            tokio::task::yield_now().await;
        };
        // Nor does an open stream keep a server from ending.
        plimsoll.shutdown().await;
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
        read.await.expect("the stream ends with Plimsoll").unwrap();
        server.abort();
    }
}

mod bare_hyper {
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto::Builder,
        service::TowerToHyperService,
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_of_hyper_is_served() {
        let plimsoll = start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let monitor = MonitorRouteLayer::new(&plimsoll);
        let server = tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let home = service_fn(async |_: Request<_>| {
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("home")))
                });
                let service = monitor.layer(home).map_request(move |mut request: Request<_>| {
                    request.extensions_mut().insert(PeerAddr(peer));
                    request
                });
                let service = TowerToHyperService::new(service);
                let builder = Builder::new(TokioExecutor::new());
                tokio::spawn(async move {
                    // A client that leaves is no fault.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let answer = raw(address, &get(MEMORY)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""rss":1400"#),
            "{answer}"
        );
        assert!(raw(address, &get("/")).await.ends_with("home"));
        server.abort();
    }
}

mod tonic_server {
    use tonic::transport::{Channel, Server, server::TcpConnectInfo};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;

    #[tokio::test]
    async fn grpc_and_monitoring_share_a_port() {
        let plimsoll = start();
        let (_reporter, health) = tonic_health::server::health_reporter();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let monitor = MonitorRouteLayer::new(&plimsoll)
            .peer_from(|extensions| extensions.get::<TcpConnectInfo>()?.remote_addr());
        let server = Server::builder().accept_http1(true).layer(monitor).add_service(health);
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tokio::spawn(server.serve_with_incoming(incoming));

        let channel =
            Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let request = HealthCheckRequest { service: String::new() };
        let answer = HealthClient::new(channel).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "serving");
        let answer = raw(address, &get(MEMORY)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        server.abort();
    }
}
