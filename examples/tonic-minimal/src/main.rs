//! The smallest tonic server under Plimsoll.

use std::error::Error;

use plimsoll::prelude::*;
use tonic::transport::server::{Server, TcpConnectInfo};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let plimsoll = Plimsoll::builder().env()?.start()?;
    // tonic tells who is asking in an extension of its own.
    let monitor = MonitorRouteLayer::new(&plimsoll)
        .peer_from(|extensions| extensions.get::<TcpConnectInfo>()?.remote_addr());
    let (_reporter, health) = tonic_health::server::health_reporter();

    let guard = MemoryGuardLayer::new(GuardConfig::new(&plimsoll));
    let stop = async move {
        let _ = tokio::signal::ctrl_c().await;
        plimsoll.shutdown().await; // ends event streams, which would keep the server waiting
    };

    println!("report: http://127.0.0.1:3000/api/monitoring/memory");
    Server::builder()
        .accept_http1(true) // for curl and browsers
        .layer(monitor) // the first is the outermost
        .layer(guard)
        .add_service(health)
        .serve_with_shutdown("127.0.0.1:3000".parse()?, stop)
        .await?;
    Ok(())
}
