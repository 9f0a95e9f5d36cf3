//! Admission before the handshake: a layer that answers 503 where there is no room.

mod body;
mod future;
mod layer;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

pub use self::{
    body::AdmissionBody,
    future::AdmissionFuture,
    layer::{SocketAdmission, SocketAdmissionLayer},
};
use crate::{meta::ConnectionMeta, registry::Admitted};

/// The place that was kept for a handshake. It travels in the request's extensions, so it is
/// given back with the session when no connection is made of it.
#[derive(Clone)]
pub struct Handshake {
    admitted: Arc<Mutex<Option<Admitted>>>,
    meta: ConnectionMeta,
}

impl Handshake {
    pub(crate) fn new(admitted: Admitted, meta: ConnectionMeta) -> Self {
        Self { admitted: Arc::new(Mutex::new(Some(admitted))), meta }
    }

    /// Takes the place, once; a session that opens several connections asks anew for the others.
    pub fn take(&self) -> Option<Admitted> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Who was let in.
    pub fn meta(&self) -> &ConnectionMeta {
        &self.meta
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("meta", &self.meta).finish_non_exhaustive()
    }
}
