//! Tower middleware that keeps a server afloat.
//!
//! Servers die of memory: sockets, caches, logs and request bodies pile up until the kernel
//! kills the process. Plimsoll measures memory, gives back what is not needed, refuses the work
//! that would sink the process, and shows it all.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use plimsoll::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = CleanupRegistry::new();
//! let _cache = registry.register_fn("cache", |_request: PruneRequest| async move {
//!     Ok(Pruned::entries(10).bytes(4096))
//! });
//!
//! let plimsoll = Plimsoll::builder().env()?.registry(registry).start()?;
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(MemoryGuardLayer::new(GuardConfig::new(&plimsoll).exempt("/livez")))
//!     .layer(MonitorRouteLayer::new(&plimsoll));
//! # drop(app);
//! plimsoll.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! **What it protects:** the process, from the memory of its requests, and its services from
//! what piles up between them.
//!
//! **What it cannot see:** what a handler allocates beyond its declared cost until the next
//! reading, unless [`alloc::Attributing`] is the program's allocator; and connections after an
//! upgrade, unless they are in a registry of the feature `sockets`.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `guard` | yes | `MemoryGuardLayer`, `AdmissionLayer`, `JournalLayer` |
//! | `monitor` | yes | `MonitorRouteLayer` |
//! | `axum` | yes | routes by axum's matched path, peers by axum's connection info |
//! | `prometheus` | yes | Prometheus text at `GET /metrics` |
//! | `alerts` | no | `WebhookSink` (Alertmanager's body) and `SlackSink`; `ALERT_WEBHOOK_URL` and `ALERT_SLACK_URL` |
//! | `alerts-tls` | no | `alerts` with `https://` URLs, which Slack needs |
//! | `jemalloc` | no | release and heap figures of jemalloc, where the program has installed it |
//! | `mimalloc` | no | release of mimalloc, where the program has installed it |
//! | `sockets` | no | `sockets`: a registry of connections with deadlines and bounded queues; with `axum` its WebSockets |
//! | `tracing` | no | `TracedErrors`: what is logged as an error, in the error log |
//! | `lru`, `moka`, `quick-cache` | no | `caches`: such caches as pruners, with byte targets |
//! | `retention-sqlite` | no | `retention`: database rules on SQLite, by sqlx; needs Rust 1.94 |
//! | `retention-postgres` | no | `retention`: database rules on PostgreSQL, by sqlx; needs Rust 1.94 |
//! | `socketioxide` | no | Socket.IO in that registry; needs Rust 1.94 |
//! | `tungstenite` | no | WebSockets of tokio-tungstenite in that registry |
//!
//! The minimum supported Rust version is the workspace's `rust-version`.
#![forbid(unsafe_code)]

// Its pages use what several features add.
#[cfg(all(
    doctest,
    feature = "alerts",
    feature = "axum",
    feature = "guard",
    feature = "lru",
    feature = "monitor",
    feature = "retention-sqlite",
    feature = "sockets"
))]
mod guide;
mod start;

#[cfg(feature = "alerts-tls")]
pub use plimsoll_alerts::PemError;
#[cfg(feature = "alerts")]
pub use plimsoll_alerts::{
    AlertUrl, AlertUrlError, EnvSinkError, EnvSinks, SIGNATURE_HEADER, SlackSink, WebhookSink,
    verify_signature,
};
pub use plimsoll_alloc as alloc;
#[cfg(any(feature = "lru", feature = "moka", feature = "quick-cache"))]
pub use plimsoll_caches as caches;
pub use plimsoll_core::*;
#[cfg(feature = "tracing")]
pub use plimsoll_guard::TracedErrors;
#[cfg(feature = "guard")]
pub use plimsoll_guard::{
    AdmissionError, AdmissionLayer, AdmissionService, ChargedBody, ChargedBodyError, ChargingGuard,
    ChargingGuardBody, ChargingGuardFuture, ChargingGuardLayer, GuardConfig, Journal,
    JournalFuture, JournalLayer, JournalService, MemoryGuard, MemoryGuardBody,
    MemoryGuardBodyError, MemoryGuardFuture, MemoryGuardLayer, RequestHead,
};
#[cfg(feature = "monitor")]
pub use plimsoll_monitor::{
    Access, Monitor, MonitorBody, MonitorFuture, MonitorRouteLayer, PeerAddr, Tokens,
};
#[cfg(any(feature = "retention-sqlite", feature = "retention-postgres"))]
pub use plimsoll_retention as retention;
#[cfg(feature = "sockets")]
pub use plimsoll_sockets as sockets;
pub use plimsoll_sources::SystemSource;

pub use self::start::Start;

/// Everything that a program with both layers needs.
pub mod prelude {
    #[cfg(feature = "sockets")]
    pub use crate::sockets::{
        Connection, ConnectionMeta, ConnectionRegistry, Message, SocketLimits, Transport,
        WeakConnection,
    };
    #[cfg(feature = "monitor")]
    pub use crate::{Access, MonitorRouteLayer};
    #[cfg(feature = "guard")]
    pub use crate::{
        AdmissionLayer, ChargingGuardLayer, GuardConfig, Journal, JournalLayer, MemoryGuard,
        MemoryGuardLayer,
    };
    pub use crate::{
        AlertSink, Attribute as _, BoundedRing, CleanupLevel, CleanupRegistry, ErrorLog,
        LatencyWindows, MB, MemoryMetric, MemoryReading, MemorySource, Plimsoll, PressureLevel,
        Priority, PruneError, PruneRequest, Pruned, Pruner, Registration, Start as _, Thresholds,
    };
}
