use tower_layer::Layer;

use crate::{config::GuardConfig, service::MemoryGuard, state::GuardState};

/// Applies [`MemoryGuard`]; see the [crate docs](crate) for an example and where to put it.
///
/// Each `new` keeps its settings for the life of the process, so make one layer and clone it.
#[derive(Clone, Copy)]
pub struct MemoryGuardLayer {
    pub(crate) state: &'static GuardState,
}

impl MemoryGuardLayer {
    /// Guards with these settings.
    pub fn new(config: GuardConfig) -> Self {
        Self { state: GuardState::leak(config) }
    }
}

impl<S> Layer<S> for MemoryGuardLayer {
    type Service = MemoryGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MemoryGuard::new(inner, self.state)
    }
}

impl std::fmt::Debug for MemoryGuardLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryGuardLayer").finish_non_exhaustive()
    }
}
