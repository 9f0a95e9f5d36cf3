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

    println!("report: http://127.0.0.1:3000/api/monitoring/memory");
    Server::builder()
        .accept_http1(true) // for curl and browsers
        .layer(monitor) // the first is the outermost
        .layer(MemoryGuardLayer::new(GuardConfig::new(&plimsoll)))
        .add_service(health)
        .serve("127.0.0.1:3000".parse()?)
        .await?;
    plimsoll.shutdown().await;
    Ok(())
}
