//! Tower layers that admit work by the memory it takes, and refuse what would sink the process.
//!
//! [`MemoryGuardLayer`] is for HTTP and gRPC: a refused request is answered at once, never
//! reaches the inner service, and its body is not read. With
//! [`charging_bodies`](MemoryGuardLayer::charging_bodies) it also charges bodies of unknown length
//! as they arrive. [`AdmissionLayer`] is for any other service: there a refusal is an error. And [`JournalLayer`] remembers how
//! long requests took and what went wrong, in collections that a cleanup takes from.
//!
//! **What it protects:** the process, from the memory of requests. Bytes are reserved before a
//! request reaches the inner service and held until its response body is dropped, so slow
//! downloads count for as long as they occupy memory. Lower priorities are shed first.
//!
//! **What it cannot see:** what a handler allocates beyond its declared cost, until the next
//! reading; a body whose length is not declared, unless bodies are charged as they arrive; tasks
//! that outlive their request; and connections after an upgrade, whose request ends with the `101`.
//!
//! ```
//! use http::{Request, Response};
//! use plimsoll_core::{MB, Plimsoll};
//! use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
//! use plimsoll_testkit::ScriptedSource;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (source, script) = ScriptedSource::new();
//! script.set_rss(3_500 * MB); // over critical
//! let plimsoll = Plimsoll::builder().start_with(source)?;
//! let home = service_fn(|_: Request<String>| async { Ok::<_, std::io::Error>(Response::new(String::new())) });
//! let service = MemoryGuardLayer::new(GuardConfig::new(&plimsoll)).layer(home);
//! let answer = service.oneshot(Request::new(String::new())).await?;
//! assert_eq!(answer.status(), 503);
//! assert!(answer.headers().contains_key("retry-after"));
//! # Ok(())
//! # }
//! ```
//!
//! # Where to put it
//! With an allocator that counts (`plimsoll_alloc::Attributing`), inside axum's `Router::layer`, or
//! with [`GuardConfig::route`]: costs are learned for each route, and around a router all requests
//! are one route, charged as the heaviest. Without one:
//!
//! Around the whole router where that can be done: `Router::layer` itself costs about 8 % of a
//! hello-world before any middleware runs, wrapping the router 1 %. Inside axum's
//! `Router::layer` the guard sees the matched route, with the feature `axum`, and counts by it.
//! Monitoring routes go outside the guard: last in axum's `.layer` calls, first in tonic's and
//! `ServiceBuilder`'s. Concurrency limits inside the guard refuse everybody while they are
//! exhausted and memory is critical, exempt paths and priorities included: nobody queues then.
//!
//! # Features
//! | feature | what it adds |
//! |---|---|
//! | `axum` | requests are counted by axum's matched path template |
//! | `tracing` | `TracedErrors`: errors that are logged go into the error log as well |
//!
//! The minimum supported Rust version is the workspace's `rust-version`.
#![forbid(unsafe_code)]

mod answer;
mod body;
mod charging;
mod config;
mod error;
mod future;
mod generic;
mod journal;
mod layer;
mod service;
mod state;

#[cfg(feature = "tracing")]
pub use self::journal::TracedErrors;
pub use self::{
    body::{MemoryGuardBody, MemoryGuardBodyError},
    charging::{
        ChargedBody, ChargedBodyError, ChargingGuard, ChargingGuardBody, ChargingGuardFuture,
        ChargingGuardLayer,
    },
    config::{DEFAULT_REQUEST_COST_BYTES, GuardConfig, RequestHead},
    error::AdmissionError,
    future::MemoryGuardFuture,
    generic::{AdmissionFuture, AdmissionLayer, AdmissionService},
    journal::{Journal, JournalFuture, JournalLayer, JournalService},
    layer::MemoryGuardLayer,
    service::MemoryGuard,
};
