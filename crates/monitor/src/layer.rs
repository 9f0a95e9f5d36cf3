use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::Extensions;
use plimsoll_core::Plimsoll;
use tower_layer::Layer;

use crate::{
    access::Access, metrics::CustomText, monitoring::Monitoring, paths::Paths, peer::PeerSource,
    service::Monitor,
};

/// Applies [`Monitor`]; see the [crate docs](crate) for an example and where to put it.
///
/// Cheap to clone. The first use keeps the settings, and a handle to Plimsoll, for the life of the
/// process, so make one layer and clone it.
///
/// Every route can be moved. `prefix` moves them all, the others one group each:
///
/// ```
/// # use plimsoll_core::Plimsoll;
/// # use plimsoll_monitor::{Access, MonitorRouteLayer};
/// # fn layer(plimsoll: &Plimsoll) -> MonitorRouteLayer {
/// MonitorRouteLayer::new(plimsoll)
///     .prefix("/internal") // /internal/api/monitoring/memory, /internal/livez, ...
///     .probe_prefix("") // but /livez and /readyz
///     .access(Access::bearer("a long random text").with_read("another"))
/// # }
/// ```
#[derive(Clone)]
pub struct MonitorRouteLayer {
    settings: Settings,
    /// Made by the first of all clones that is used; axum uses one for each route.
    monitoring: Arc<OnceLock<&'static Monitoring>>,
}

/// What the layer is told.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) plimsoll: Plimsoll,
    pub(crate) access: Access,
    pub(crate) paths: Paths,
    pub(crate) peer: PeerSource,
    pub(crate) metrics_text: Option<Arc<CustomText>>,
}

impl MonitorRouteLayer {
    /// Takes the default paths, and access as the environment says where the builder read it, else
    /// [`Access::Loopback`].
    pub fn new(plimsoll: &Plimsoll) -> Self {
        Self::of(Settings {
            plimsoll: plimsoll.clone(),
            access: Access::from_settings(plimsoll.settings()),
            paths: Paths::default(),
            peer: PeerSource::default(),
            metrics_text: None,
        })
    }

    fn of(settings: Settings) -> Self {
        Self { settings, monitoring: Arc::default() }
    }

    /// Says who may ask; wins over the environment.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self::of(Settings { access, ..self.settings })
    }

    /// Puts every route below `prefix`, such as `/internal`. Default: none.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self::of(Settings { paths: Paths::below(prefix), ..self.settings })
    }

    /// Puts `monitoring/...` and `cleanup/aggressive` below `prefix`. Default: `/api`.
    #[must_use]
    pub fn api_prefix(self, prefix: &str) -> Self {
        self.with_paths(|paths| paths.set_api(prefix))
    }

    /// Puts the page at `path`. Default: `/monitoring`.
    #[must_use]
    pub fn dashboard_path(self, path: &str) -> Self {
        self.with_paths(|paths| paths.set_dashboard(path))
    }

    /// Puts the metrics at `path`. Default: `/metrics`.
    #[must_use]
    pub fn metrics_path(self, path: &str) -> Self {
        self.with_paths(|paths| paths.set_metrics(path))
    }

    /// Puts `livez` and `readyz` below `prefix`. Default: the root.
    #[must_use]
    pub fn probe_prefix(self, prefix: &str) -> Self {
        self.with_paths(|paths| paths.set_probes(prefix))
    }

    fn with_paths(mut self, change: impl FnOnce(&mut Paths)) -> Self {
        change(&mut self.settings.paths);
        Self::of(self.settings)
    }

    /// Serves this text at `GET /metrics`, for a program that has installed a recorder of its own:
    /// Plimsoll tells the global recorder everything once a second. Default: the figures of
    /// Plimsoll alone.
    ///
    /// The text is Prometheus' format 0.0.4; who asks for OpenMetrics gets it rewritten.
    #[must_use]
    pub fn metrics_text(self, text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self::of(Settings { metrics_text: Some(Arc::new(text)), ..self.settings })
    }

    /// Says where the client's address is found, and that it is nowhere else. Default:
    /// [`PeerAddr`](crate::PeerAddr), axum's `ConnectInfo<SocketAddr>` (feature `axum`), and a bare
    /// `SocketAddr` in the request's extensions.
    ///
    /// For tonic: `|extensions| extensions.get::<TcpConnectInfo>()?.remote_addr()`.
    #[must_use]
    pub fn peer_from(
        self,
        peer: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Settings { peer: PeerSource::of(peer), ..self.settings })
    }
}

impl<S> Layer<S> for MonitorRouteLayer {
    type Service = Monitor<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let make = || Monitoring::leak(self.settings.clone());
        Monitor::new(inner, self.monitoring.get_or_init(make))
    }
}

impl fmt::Debug for MonitorRouteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorRouteLayer")
            .field("access", &self.settings.access)
            .field("paths", &self.settings.paths)
            .finish_non_exhaustive()
    }
}
