use std::{borrow::Cow, fmt, sync::Arc};

use http::{Extensions, HeaderMap, Method, Request, Uri};
use plimsoll_core::{Plimsoll, Priority};

/// Charged for a request beyond its body when the application declares nothing: a connection's
/// buffers, a header map and a small answer.
pub const DEFAULT_REQUEST_COST_BYTES: u64 = 16 * 1024;

pub(crate) type CostFn = dyn Fn(&RequestHead<'_>) -> Option<u64> + Send + Sync;
pub(crate) type RouteFn = dyn for<'a> Fn(&RequestHead<'a>) -> Option<Cow<'a, str>> + Send + Sync;
pub(crate) type PriorityFn = dyn Fn(&RequestHead<'_>) -> Priority + Send + Sync;

/// Settings of a [`MemoryGuardLayer`](crate::MemoryGuardLayer). Cheap to clone.
///
/// ```
/// # use plimsoll_core::{MB, Plimsoll, Priority};
/// # use plimsoll_guard::GuardConfig;
/// # fn config(plimsoll: &Plimsoll) -> GuardConfig {
/// GuardConfig::new(plimsoll)
///     .exempt("/livez")
///     .exempt("/internal/*")
///     .cost(|head| (head.uri.path() == "/export").then_some(50 * MB))
///     .priority(|head| match head.uri.path() {
///         path if path.starts_with("/reports") => Priority::Low,
///         "/checkout" => Priority::High,
///         _ => Priority::Normal,
///     })
/// # }
/// ```
#[derive(Clone)]
pub struct GuardConfig {
    pub(crate) plimsoll: Plimsoll,
    pub(crate) exempt: Vec<Exempt>,
    pub(crate) default_cost: u64,
    pub(crate) cost: Option<Arc<CostFn>>,
    pub(crate) priority: Option<Arc<PriorityFn>>,
    pub(crate) observe_only: bool,
    pub(crate) cancel: Vec<Priority>,
    pub(crate) route: Option<Arc<RouteFn>>,
}

/// What a request says before its body.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What outer layers attached.
    pub extensions: &'a Extensions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exempt {
    Path(String),
    /// Everything below, and the path itself without its last slash.
    Below(String),
}

impl GuardConfig {
    /// Takes the defaults: normal priority, [`DEFAULT_REQUEST_COST_BYTES`] and the declared
    /// body for every request, nothing exempt.
    pub fn new(plimsoll: &Plimsoll) -> Self {
        Self {
            plimsoll: plimsoll.clone(),
            exempt: Vec::new(),
            default_cost: DEFAULT_REQUEST_COST_BYTES,
            cost: None,
            priority: None,
            observe_only: false,
            cancel: Vec::new(),
            route: None,
        }
    }

    /// Never sheds a path for want of room, and charges nothing for it then. `/livez` is that
    /// path alone, `/internal/*` is `/internal` and everything below it. Paths are compared as
    /// they were sent, also inside a nested axum router with the feature `axum`.
    ///
    /// An inner service that is busy while memory is critical takes nobody, exempt or not: keep
    /// concurrency limits away from probes.
    #[must_use]
    pub fn exempt(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.exempt.push(match path.strip_suffix("/*") {
            Some(above) => Exempt::Below(above.to_owned()),
            None => Exempt::Path(path),
        });
        self
    }

    /// Sets the bytes charged for a request beyond its body. Default:
    /// [`DEFAULT_REQUEST_COST_BYTES`]; at least 1 is charged.
    #[must_use]
    pub fn default_cost(mut self, bytes: u64) -> Self {
        self.default_cost = bytes;
        self
    }

    /// Declares what requests cost beyond their body, in bytes; `None` leaves the default.
    /// Runs once per request, so it should be quick.
    #[must_use]
    pub fn cost(
        mut self,
        cost: impl Fn(&RequestHead<'_>) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        self.cost = Some(Arc::new(cost));
        self
    }

    /// Sets the priority of requests. Asked only when memory is short, and by
    /// [`charging_bodies`](crate::MemoryGuardLayer::charging_bodies) for every body of unknown
    /// length, since the head is gone when its chunks arrive. [`Priority::Critical`] is
    /// charged in full and has no line, so it is for requests whose declared length is trusted.
    #[must_use]
    pub fn priority(
        mut self,
        priority: impl Fn(&RequestHead<'_>) -> Priority + Send + Sync + 'static,
    ) -> Self {
        self.priority = Some(Arc::new(priority));
        self
    }

    /// With `true`, sheds nothing and counts what it would have shed. Default: `false`.
    #[must_use]
    pub fn observe_only(mut self, observe_only: bool) -> Self {
        self.observe_only = observe_only;
        self
    }

    /// Names the route of a request, for counters and learned costs, where no router has matched it:
    /// `None` is `<unmatched>`. Default: axum's matched path with the feature `axum`, which is there
    /// inside `Router::layer` and not around a router. A name is one of a fixed set, never a part of the
    /// path that a client chooses: 200 are told apart, and made-up ones would push yours into
    /// `<other>`. Runs once per request, so it should be quick. To be written in the call: a closure
    /// that is named first gets a type that is not general enough.
    ///
    /// ```
    /// # use plimsoll_core::Plimsoll;
    /// # use plimsoll_guard::GuardConfig;
    /// # fn config(plimsoll: &Plimsoll) -> GuardConfig {
    /// // Names that are the program's own: a client can make up any path, or send none (`CONNECT`).
    /// GuardConfig::new(plimsoll).route(|head| {
    ///     let path = head.uri.path();
    ///     let ours = |known: &&str| {
    ///         path.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    ///     };
    ///     ["/users", "/files"].into_iter().find(ours).map(Into::into)
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn route(
        mut self,
        route: impl for<'a> Fn(&RequestHead<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        self.route = Some(Arc::new(route));
        self
    }

    /// Lets requests of this priority be cancelled as the last resort: when memory stays critical
    /// for half a second in spite of cleanup and refusals, the largest of the lowest priority is
    /// ended, at most ten a second; above the line of high priority (half way to the limit, 10 %
    /// above critical without one) at once, and as many as it takes. Each priority is named by its
    /// own call, and requests are [`Priority::Normal`] unless [`GuardConfig::priority`] says otherwise. Its future is dropped, which frees
    /// its memory at once, and 503 is sent; a response that has begun ends with
    /// [`MemoryGuardBodyError::Cancelled`](crate::MemoryGuardBodyError::Cancelled). Default: none.
    /// [`Priority::Critical`] and exempt paths are never cancelled, and with
    /// [`GuardConfig::observe_only`] nothing is.
    ///
    /// A server polls no body while its client does not read, so such a response cannot be ended, and
    /// goes on if memory recovers before its client does; large data that a body has handed over as
    /// its last is never chosen.
    ///
    /// For requests that may be dropped at any await: see "cancel safety" in Tokio's documentation.
    #[must_use]
    pub fn cancel(mut self, priority: Priority) -> Self {
        self.cancel.push(priority);
        self
    }

    pub(crate) fn is_exempt(&self, path: &str) -> bool {
        self.exempt.iter().any(|exempt| exempt.matches(path))
    }
}

impl fmt::Debug for GuardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardConfig")
            .field("exempt", &self.exempt)
            .field("default_cost", &self.default_cost)
            .field("observe_only", &self.observe_only)
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

impl<'a> RequestHead<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The path as it was sent.
    pub(crate) fn path(&self) -> &'a str {
        self.sent_uri().path()
    }

    /// The target as it was sent: a nested axum router cuts its prefix off it.
    #[cfg(feature = "axum")]
    pub(crate) fn sent_uri(&self) -> &'a Uri {
        let original = self.extensions.get::<axum::extract::OriginalUri>();
        original.map_or(self.uri, |original| &original.0)
    }

    /// The target as it was sent.
    #[cfg(not(feature = "axum"))]
    pub(crate) fn sent_uri(&self) -> &'a Uri {
        self.uri
    }
}

impl Exempt {
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Path(exact) => exact == path,
            Self::Below(above) => path
                .strip_prefix(above.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_covers_its_path_or_what_is_below_and_nothing_else() {
        let below = Exempt::Below("/internal".to_owned());
        for (path, expected) in
            [("/internal", true), ("/internal/a/b", true), ("/internals", false), ("/", false)]
        {
            assert_eq!(below.matches(path), expected, "{path}");
        }
        assert!(!Exempt::Path("/livez".to_owned()).matches("/livez/"));
    }
}
