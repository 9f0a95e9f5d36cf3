use std::fmt;

use tower_layer::Layer;

use super::ChargingGuard;
use crate::{
    config::RequestHead, layer::MemoryGuardLayer, service::MemoryGuard, state::GuardState,
};

/// Applies [`ChargingGuard`]: made by [`MemoryGuardLayer::charging_bodies`].
#[derive(Clone, Copy)]
pub struct ChargingGuardLayer {
    state: &'static GuardState,
    passed_on: Option<&'static PassedOn>,
}

/// Whether the body of such a request is passed on chunk by chunk.
pub(super) type PassedOn = dyn Fn(&RequestHead<'_>) -> bool + Send + Sync;

impl MemoryGuardLayer {
    /// Charges request bodies as they arrive as well: those whose length is not declared, and
    /// what a body delivers beyond its declared length. A chunk is charged before the handler
    /// gets it, and stays charged until both the request's body and its response are gone, since
    /// a handler that collects a body holds the bytes after the body itself is gone. What has not
    /// arrived is not charged, so a slow upload holds no more than it has sent.
    ///
    /// A chunk that does not fit under the request's load line is not handed on: the body fails
    /// with [`ChargedBodyError::Refused`](crate::ChargedBodyError::Refused) and ends. If the
    /// response has not begun, the inner future is dropped and the client gets what a refused
    /// request gets, 503 or gRPC `UNAVAILABLE`, or 413 where what has arrived could never fit. It
    /// counts as admitted, and as shed once. Exempt paths and critical priority are never refused.
    ///
    /// A body with a known length costs no allocation, another one a small one. A request whose
    /// body has no known length is asked for its priority even while memory suffices.
    ///
    /// # What the inner service must take
    /// `Request<ChargedBody<B>>`. All of axum and services that are generic over the body do. Where
    /// the type is fixed, as inside tonic's `Server` and in handlers written for
    /// `hyper::body::Incoming`, box the body again:
    ///
    /// ```
    /// use plimsoll_guard::{ChargedBody, ChargingGuardLayer};
    /// use tower::ServiceBuilder;
    ///
    /// # fn stack(charging: ChargingGuardLayer) {
    /// let layer = ServiceBuilder::new().layer(charging).map_request(
    ///     |request: http::Request<ChargedBody<tonic::body::Body>>| request.map(tonic::body::Body::new),
    /// );
    /// let server = tonic::transport::Server::builder().layer(layer.into_inner());
    /// # drop(server);
    /// # }
    /// ```
    ///
    /// # Bodies that are not kept
    /// A handler that forgets each chunk once it has passed it on, such as a proxy or a gRPC stream
    /// without an end, is charged as though it kept them all, and refused when their sum does not
    /// fit. [`ChargingGuardLayer::passed_on`] tells them apart.
    pub fn charging_bodies(self) -> ChargingGuardLayer {
        ChargingGuardLayer { state: self.state, passed_on: None }
    }
}

impl ChargingGuardLayer {
    /// Says of which requests the handler is done with each chunk before it asks for the next: a
    /// proxy, a writer to disk, a gRPC stream. They are charged for the largest chunk that has
    /// arrived, and not for the sum. Default: none.
    ///
    /// What such a handler gathers nonetheless, as tonic does with the parts of one message, is
    /// for [`GuardConfig::cost`](crate::GuardConfig::cost) to declare. Asked once for each request
    /// whose body has no known length, so it should be quick. Kept for the life of the process.
    ///
    /// ```
    /// # use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
    /// # fn layer(config: GuardConfig) {
    /// let layer = MemoryGuardLayer::new(config)
    ///     .charging_bodies()
    ///     .passed_on(|head| head.uri.path().starts_with("/files/"));
    /// # }
    /// ```
    #[must_use]
    pub fn passed_on(
        mut self,
        passed_on: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.passed_on = Some(Box::leak(Box::new(passed_on)));
        self
    }
}

impl<S> Layer<S> for ChargingGuardLayer {
    type Service = ChargingGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ChargingGuard::new(MemoryGuard::new(inner, self.state), self.state, self.passed_on)
    }
}

impl fmt::Debug for ChargingGuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargingGuardLayer").finish_non_exhaustive()
    }
}
