//! tonic, by its health service: one unary method, one that streams.

use std::net::SocketAddr;

use plimsoll_guard::{DEFAULT_REQUEST_COST_BYTES, MemoryGuardLayer};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    transport::{Channel, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{FULL, Ship};

struct Health {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Health {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Health {
    async fn serve(ship: &Ship) -> Self {
        let layer = MemoryGuardLayer::new(ship.config());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (_reporter, health) = tonic_health::server::health_reporter();
            let server = Server::builder().layer(layer).add_service(health);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, serving }
    }

    async fn client(&self) -> HealthClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        HealthClient::new(channel.connect().await.unwrap())
    }
}

#[tokio::test]
async fn a_call_is_admitted_and_gives_its_bytes_back() {
    let ship = Ship::idle();
    let health = Health::serve(&ship).await;
    let answer = health.client().await.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status, 1, "serving");
    ship.wait_until_empty().await;
    assert_eq!(ship.figures().admitted, 1);
}

#[tokio::test]
async fn a_shed_call_is_unavailable_with_a_pushback() {
    let ship = Ship::full();
    let health = Health::serve(&ship).await;
    let mut client = health.client().await;
    let unary = client.check(HealthCheckRequest::default()).await.unwrap_err();
    let streaming = client.watch(HealthCheckRequest::default()).await.unwrap_err();
    for status in [unary, streaming] {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "memory pressure"));
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
        let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
        assert!((1_000..=10_000).contains(&pushback), "{pushback}");
    }
    assert_eq!(ship.figures().admitted, 0);
}

#[tokio::test]
async fn a_stream_holds_its_bytes_until_the_client_lets_go_even_under_pressure() {
    let ship = Ship::idle();
    let health = Health::serve(&ship).await;
    let mut client = health.client().await;
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().status, 1);
    ship.use_bytes(FULL).await;
    assert_eq!(ship.held(), (1, DEFAULT_REQUEST_COST_BYTES));
    assert_eq!(
        client.check(HealthCheckRequest::default()).await.unwrap_err().code(),
        Code::Unavailable
    );
    drop(stream);
    ship.wait_until_empty().await;
}
