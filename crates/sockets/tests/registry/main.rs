//! The registry, on paused time.

mod closing;
mod limits;
mod memory;
mod races;
mod sse;

use std::{future::Future, time::Duration};

use plimsoll_sockets::{Connection, ConnectionMeta, ConnectionRegistry, Transport};

const SECOND: Duration = Duration::from_secs(1);

fn registry() -> ConnectionRegistry {
    ConnectionRegistry::builder().build().expect("the defaults are fine")
}

fn open(registry: &ConnectionRegistry) -> Connection {
    registry.connect(ConnectionMeta::new(Transport::WebSocket)).expect("there is room")
}

fn kinds(registry: &ConnectionRegistry) -> Vec<&'static str> {
    registry.events(1_000).iter().rev().map(|event| event.kind).collect()
}

/// Lets every task run that can; time passes only when none can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Time from now to the end of `future`, on the paused clock.
async fn time_of(future: impl Future<Output = ()>) -> Duration {
    let start = tokio::time::Instant::now();
    future.await;
    start.elapsed()
}
