//! Monitoring routes of Plimsoll: dashboard, JSON, event stream, OpenAPI, probes and Prometheus.
//!
//! [`MonitorRouteLayer`] answers a handful of paths itself and passes everything else on. It works
//! under axum, tonic, bare hyper and whatever else speaks `tower::Service<http::Request<_>>`.
//!
//! **What it protects:** the view of a server in trouble. The routes answer while the service
//! behind is busy or sheds its load, and they tell no stranger how much memory there is.
//!
//! **What it cannot see:** a proxy on the same machine that says nothing about its clients. Behind
//! a proxy, set `MONITOR_ACCESS=bearer` and a `MONITOR_TOKEN`.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Empty, Full};
//! use plimsoll_core::{MB, Plimsoll};
//! use plimsoll_monitor::{MonitorRouteLayer, PeerAddr};
//! use plimsoll_testkit::ScriptedSource;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (source, script) = ScriptedSource::new();
//! script.set_rss(1_400 * MB);
//! let plimsoll = Plimsoll::builder().start_with(source)?;
//! let home = service_fn(async |_: Request<Empty<Bytes>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::from("hello")))
//! });
//! let app = MonitorRouteLayer::new(&plimsoll).layer(home);
//!
//! let request = Request::get("/api/monitoring/memory")
//!     .header("host", "localhost:3000")
//!     .extension(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 50_000)))) // the server's task
//!     .body(Empty::new())?;
//! let answer = app.oneshot(request).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! let report = answer.into_body().collect().await?.to_bytes();
//! assert!(String::from_utf8_lossy(&report).contains(r#""current":{"#));
//! plimsoll.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to put it
//! Outside everything that can refuse or delay a request, the guard above all: last in axum's
//! `.layer` calls, first in tonic's and `ServiceBuilder`'s. On axum, add it to the outermost router
//! after every route and every `.fallback()`: what is added to a router later is not layered, and a
//! router that is nested under a path is asked for that path only.
//!
//! # Routes
//! | route | answer |
//! |---|---|
//! | `GET /api/monitoring/memory` | the report |
//! | `POST /api/monitoring/memory` | `{"action":"cleanup"}`, `{"action":"release"}`, `{"action":"updateThresholds","thresholds":{…}}` |
//! | `POST /api/cleanup/aggressive` | database rules, then the aggressive cleanup; `?dryRun=true` |
//! | `GET /api/monitoring/history?minutes=60`, `/routes`, `/pruners`, `/sockets`, `/alerts` | JSON |
//! | `POST /api/monitoring/alerts/{id}/resolve`, `/alerts/silence`, `/alerts/test` | JSON |
//! | `GET /api/monitoring/stream` | Server-Sent Events |
//! | `GET /api/monitoring/openapi.json` | the description of all this |
//! | `GET /metrics` | Prometheus text, or OpenMetrics by `Accept` |
//! | `GET /livez`, `GET /readyz` | the probes, open to all, in words |
//! | `GET /monitoring/` | the dashboard |
//!
//! [`MonitorRouteLayer`] tells how to move them; [`Access`] who may ask.
//!
//! # The dashboard
//! Its files are part of the crate, 45 kB compressed, and it asks for nothing elsewhere. All its
//! addresses are relative, so it works below any prefix and behind a proxy that adds one. With
//! [`Access::Loopback`] it opens on this machine only; where tokens are taken its shell, which
//! holds no figure, opens for everyone and asks for one. What a browser may do with it is told by
//! a strict `Content-Security-Policy`.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `prometheus` | yes | a recorder of the monitor's own behind `GET /metrics` |
//! | `axum` | no | the client's address from axum's `ConnectInfo<SocketAddr>` |
//!
//! The minimum supported Rust version is the workspace's `rust-version`.
#![forbid(unsafe_code)]

mod access;
mod answer;
mod body;
mod dashboard;
mod future;
mod layer;
mod metrics;
mod monitoring;
mod paths;
mod peer;
mod post;
mod probes;
mod problem;
mod query;
mod reply;
mod routes;
mod service;

pub use self::{
    access::{Access, Tokens},
    body::MonitorBody,
    future::MonitorFuture,
    layer::MonitorRouteLayer,
    peer::PeerAddr,
    service::Monitor,
};
