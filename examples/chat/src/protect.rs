//! All that the server does for Plimsoll, and Plimsoll for the server.

use axum::Router;
use plimsoll::{Holding, StartError, env::EnvError, prelude::*};

use crate::{
    chaos::{Chaos, Leak},
    hold,
    journal::Journal,
};

/// Plimsoll at work in this process.
#[derive(Debug)]
pub(crate) struct Protection {
    plimsoll: Plimsoll,
    guard: bool,
    hold: bool,
    // Dropping a registration unregisters its pruner.
    _registrations: Vec<Registration>,
}

/// Why Plimsoll could not start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum ProtectionError {
    Settings(#[from] EnvError),
    Start(#[from] StartError),
}

impl Protection {
    /// Registers what can be pruned and starts watching the memory. Without `guard` it only
    /// watches.
    pub(crate) fn start(
        journal: &Journal,
        chaos: &Chaos,
        guard: bool,
    ) -> Result<Self, ProtectionError> {
        let registry = CleanupRegistry::new();
        let mut registrations = vec![
            registry.register("socket_events", journal.socket_events.clone()),
            registry.register("error_logs", journal.errors.clone()),
            registry.register("performance_metrics", journal.latencies.clone()),
        ];
        registrations.extend(chaos.leaks().map(|(name, leak)| registry.register(name, leak)));
        let plimsoll =
            Plimsoll::builder().env()?.registry(registry).automatic_cleanup(guard).start()?;
        Ok(Self { plimsoll, guard, hold: chaos.hold, _registrations: registrations })
    }

    /// Puts the layers around all routes; nothing may be added to the router afterwards.
    pub(crate) fn wrap(&self, mut router: Router) -> Router {
        if self.guard {
            let hold = self.hold;
            let config = GuardConfig::new(&self.plimsoll)
                .exempt("/livez")
                .cost(move |head| hold.then(|| hold::cost(head.method, head.uri)).flatten());
            router = router.layer(MemoryGuardLayer::new(config));
        }
        // The last layer is the outermost: the monitoring routes are never shed.
        router.layer(MonitorRouteLayer::new(&self.plimsoll))
    }

    /// Stops watching and ends the monitor's event streams.
    pub(crate) async fn shutdown(&self) {
        self.plimsoll.shutdown().await;
    }
}

impl Pruner for Leak {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let freed = self.shrink(request.level == CleanupLevel::Aggressive).await;
        Ok(Pruned::entries(freed.entries).bytes(freed.bytes))
    }

    fn holding(&self) -> Holding {
        let held = self.held();
        Holding::new(Some(held.entries), Some(held.bytes))
    }
}
