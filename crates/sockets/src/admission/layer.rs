use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use tower_layer::Layer;
use tower_service::Service;

use super::{AdmissionBody, AdmissionFuture, Handshake};
use crate::{
    meta::{ConnectionMeta, Transport},
    registry::ConnectionRegistry,
};

type PeerOf = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// Refuses handshakes of Socket.IO with 503 and `Retry-After` where the registry has no room,
/// before anything is allocated for them. Everything else passes: requests to other paths, and
/// those of sessions that exist, which carry a `sid`. A poll of a live session is never refused.
///
/// Put it outside of the Socket.IO layer:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use plimsoll_sockets::{ConnectionRegistry, SocketAdmissionLayer};
///
/// let sockets = ConnectionRegistry::builder().max_connections(50_000).build()?;
/// let admission = SocketAdmissionLayer::new(&sockets, "/socket.io").peer_by(|head| {
///     let user = head.headers.get("x-user")?;
///     user.to_str().ok().map(str::to_owned)
/// });
/// # drop(admission);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SocketAdmissionLayer {
    registry: ConnectionRegistry,
    path: Arc<str>,
    peer: PeerOf,
}

/// Applies [`SocketAdmissionLayer`] to a service.
#[derive(Clone)]
pub struct SocketAdmission<S> {
    inner: S,
    layer: SocketAdmissionLayer,
}

impl SocketAdmissionLayer {
    /// Admits handshakes below `path`, such as `/socket.io`. Peers have no name.
    pub fn new(registry: &ConnectionRegistry, path: impl AsRef<str>) -> Self {
        let path = format!("/{}", path.as_ref().trim_matches('/'));
        Self { registry: registry.clone(), path: path.into(), peer: Arc::new(|_| None) }
    }

    /// Names the peer of a request, for the cap per peer and for reports.
    #[must_use]
    pub fn peer_by(
        mut self,
        peer: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.peer = Arc::new(peer);
        self
    }

    fn is_handshake(&self, head: &Parts) -> bool {
        let below = head.uri.path().strip_prefix(&*self.path);
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return false;
        }
        let mut pairs = head.uri.query().unwrap_or_default().split('&');
        !pairs.any(|pair| pair.strip_prefix("sid=").is_some_and(|sid| !sid.is_empty()))
    }

    fn meta(&self, head: &Parts) -> ConnectionMeta {
        let query = head.uri.query().unwrap_or_default();
        let transport = match query.split('&').any(|pair| pair == "transport=websocket") {
            true => Transport::SocketIo,
            false => Transport::Polling,
        };
        let meta = ConnectionMeta::new(transport);
        match (self.peer)(head) {
            Some(peer) => meta.peer(peer),
            None => meta,
        }
    }
}

impl<S> Layer<S> for SocketAdmissionLayer {
    type Service = SocketAdmission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SocketAdmission { inner, layer: self.clone() }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SocketAdmission<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<AdmissionBody<ResBody>>;
    // A refusal is an answer, so it never widens the inner error type.
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        if self.layer.is_handshake(&head) {
            let meta = self.layer.meta(&head);
            match self.layer.registry.admit(&meta) {
                Ok(admitted) => {
                    head.extensions.insert(Handshake::new(admitted, meta));
                }
                Err(refused) => return AdmissionFuture::refused(refused.response()),
            }
        }
        AdmissionFuture::inner(self.inner.call(Request::from_parts(head, body)))
    }
}

impl fmt::Debug for SocketAdmissionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketAdmissionLayer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for SocketAdmission<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketAdmission").field("inner", &self.inner).finish_non_exhaustive()
    }
}
