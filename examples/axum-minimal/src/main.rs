//! The smallest axum server under Plimsoll.

use std::{error::Error, net::SocketAddr};

use axum::{Router, routing::get};
use plimsoll::prelude::*;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let events = BoundedRing::<String>::socket_events(); // a log that can be pruned
    let registry = CleanupRegistry::new();
    let _events = registry.register("socket_events", events.clone());

    let plimsoll = Plimsoll::builder().env()?.registry(registry).start()?;
    let home = async move || {
        events.push("somebody was here".to_owned());
        "hello\n"
    };
    let app = Router::new()
        .route("/", get(home))
        .layer(MemoryGuardLayer::new(GuardConfig::new(&plimsoll)))
        .layer(MonitorRouteLayer::new(&plimsoll));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("report: http://127.0.0.1:3000/api/monitoring/memory");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async move {
        let _ = tokio::signal::ctrl_c().await;
        plimsoll.shutdown().await; // ends event streams, which would keep the server waiting
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}
