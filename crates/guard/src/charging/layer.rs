use std::fmt;

use tower_layer::Layer;

use super::ChargingGuard;
use crate::{layer::MemoryGuardLayer, service::MemoryGuard, state::GuardState};

/// Applies [`ChargingGuard`]: made by [`MemoryGuardLayer::charging_bodies`].
#[derive(Clone, Copy)]
pub struct ChargingGuardLayer {
    state: &'static GuardState,
}

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
    /// A body with a known length costs no allocation, another one two small ones. A request whose
    /// body has no known length is asked for its priority even while memory suffices.
    ///
    /// # What the inner service must take
    /// `Request<ChargedBody<B>>`. All of axum and services that are generic over the body do. Where
    /// the type is fixed, as inside tonic's `Server` and in handlers written for
    /// `hyper::body::Incoming`, box the body again:
    ///
    /// ```
    /// use plimsoll_guard::{ChargedBody, ChargingGuardLayer};
    /// use tower::{Layer, layer::util::Stack, ServiceBuilder};
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
    /// # What it is not for
    /// A handler that passes each chunk on and forgets it, such as a proxy, a writer to disk or a
    /// gRPC stream that never ends, is charged as though it kept them all, and refused when their
    /// sum does not fit, as it is by a declared length. Leave such routes to the plain layer.
    pub fn charging_bodies(self) -> ChargingGuardLayer {
        ChargingGuardLayer { state: self.state }
    }
}

impl<S> Layer<S> for ChargingGuardLayer {
    type Service = ChargingGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ChargingGuard::new(MemoryGuard::new(inner, self.state), self.state)
    }
}

impl fmt::Debug for ChargingGuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargingGuardLayer").finish_non_exhaustive()
    }
}
