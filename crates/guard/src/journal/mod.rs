//! What a server remembers of its requests, for people, and gives up when memory is short: how
//! long they took by route, and what went wrong.

mod future;
mod layer;
mod service;
#[cfg(feature = "tracing")]
mod traced;

use http::Request;
use plimsoll_core::{CleanupRegistry, ErrorLog, LatencyWindows, Registration, UNMATCHED_ROUTE};

use crate::config::{RequestHead, RouteFn};

#[cfg(feature = "tracing")]
pub use self::traced::TracedErrors;
pub use self::{future::JournalFuture, layer::JournalLayer, service::JournalService};

/// The two collections that a [`JournalLayer`] fills: the built-in pruners `performance_metrics` and
/// `error_logs`. Cheap to clone; clones share them.
///
/// The application may note errors of its own, and reads both whenever it likes.
///
/// ```
/// # use plimsoll_core::CleanupRegistry;
/// # use plimsoll_guard::Journal;
/// let journal = Journal::new();
/// let registry = CleanupRegistry::new();
/// let _registrations = journal.register(&registry);
/// journal.errors.record("mail", "the server does not answer");
/// assert_eq!(registry.names(), ["error_logs", "performance_metrics"]);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Journal {
    /// How long requests took, by route.
    pub latencies: LatencyWindows,
    /// What went wrong.
    pub errors: ErrorLog,
}

impl Journal {
    /// Makes an empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers both for cleanup, for as long as the registrations live.
    pub fn register(&self, registry: &CleanupRegistry) -> [Registration; 2] {
        [self.errors.register(registry), self.latencies.register(registry)]
    }
}

/// A route's name, kept for as long as its request runs.
#[derive(Clone, Debug)]
enum Name {
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
    Given(Box<str>),
    Unmatched,
}

impl Name {
    /// The route as a router has matched it, else as the application names it. Never the path: there
    /// are as many as clients like.
    fn of<B>(request: &Request<B>, route: Option<&RouteFn>) -> Self {
        #[cfg(feature = "axum")]
        if let Some(matched) = request.extensions().get::<axum::extract::MatchedPath>() {
            return Self::Matched(matched.clone());
        }
        let name = route.and_then(|route| route(&RequestHead::of(request)));
        name.map_or(Self::Unmatched, |name| Self::Given(name.into()))
    }

    fn as_str(&self) -> &str {
        match self {
            #[cfg(feature = "axum")]
            Self::Matched(matched) => matched.as_str(),
            Self::Given(name) => name,
            Self::Unmatched => UNMATCHED_ROUTE,
        }
    }
}
