use std::{borrow::Cow, fmt, sync::Arc};

use plimsoll_core::Clock;
use tower_layer::Layer;

use super::{Journal, service::JournalService};
use crate::config::{RequestHead, RouteFn};

/// Notes in a [`Journal`] how long each request took, and which failed.
///
/// A request takes from the call to the head of its answer. Failed are answers from 500 on, errors of
/// the service, and panics; a request that is dropped before its answer is not noted, nor is a body
/// that fails after its head. Routes are named by axum's matched path (feature `axum`), or by
/// [`route`](Self::route).
///
/// Put it inside the guard, so that what was shed is not taken for a failure. It costs a reading of
/// the clock at each end and a short lock.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use plimsoll_guard::{Journal, JournalLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let journal = Journal::new();
/// let broken = service_fn(async |_: Request<()>| {
///     let mut response = Response::new(());
///     *response.status_mut() = StatusCode::BAD_GATEWAY;
///     Ok::<_, std::convert::Infallible>(response)
/// });
/// let layer = JournalLayer::new(&journal)
///     .route(|head| head.uri.path().starts_with("/pay/").then(|| "/pay/{id}".into()));
/// layer.layer(broken).oneshot(Request::get("/pay/7").body(()).expect("valid")).await?;
/// assert_eq!(journal.latencies.snapshot()[0].route, "/pay/{id}");
/// assert_eq!(journal.errors.newest(1)[0].message, "502 Bad Gateway");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JournalLayer {
    pub(super) settings: Arc<Settings>,
}

/// What all services of a layer share.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) route: Option<Arc<RouteFn>>,
}

impl JournalLayer {
    /// Notes in `journal`.
    pub fn new(journal: &Journal) -> Self {
        let journal = journal.clone();
        Self { settings: Arc::new(Settings { journal, clock: Clock::system(), route: None }) }
    }

    /// Names routes where no router has matched one. The name must come from a fixed set: past 200
    /// names latencies share one. Requests without a name are `<unmatched>`.
    #[must_use]
    pub fn route(
        self,
        route: impl for<'a> Fn(&RequestHead<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        self.changed(|settings| settings.route = Some(Arc::new(route)))
    }

    /// Sets the clock that requests are timed by.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.changed(|settings| settings.clock = clock)
    }

    fn changed(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        // A service that was made before keeps its settings.
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for JournalLayer {
    type Service = JournalService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        JournalService::new(inner, Arc::clone(&self.settings))
    }
}

impl fmt::Debug for JournalLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalLayer")
            .field("journal", &self.settings.journal)
            .finish_non_exhaustive()
    }
}
