//! All that the server does for Plimsoll, and Plimsoll for the server.

use std::time::Duration;

use axum::Router;
use plimsoll::{
    StartError,
    env::EnvError,
    prelude::*,
    retention::RetentionError,
    sockets::{BuildError, SocketAdmissionLayer},
};

use crate::{app::App, chaos::Chaos, db::Database, hold, retention, socket_io};

/// Connections that can be open at the same time.
const MAX_SOCKETS: usize = 10_000;
/// The longest welcome, 50 messages of 2000 characters, has to fit into a queue and into what may
/// wait for the system. Both are limits: nothing is allocated before it is needed.
const LONGEST_BURST_BYTES: usize = 1024 * 1024;

/// Plimsoll at work in this process.
#[derive(Debug)]
pub(crate) struct Protection {
    plimsoll: Plimsoll,
    guard: bool,
    // Dropping a registration unregisters its pruner.
    _registrations: Vec<Registration>,
}

/// Why Plimsoll could not start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum ProtectionError {
    Settings(#[from] EnvError),
    Start(#[from] StartError),
    Sockets(#[from] BuildError),
    Retention(#[from] RetentionError),
}

impl Protection {
    /// Starts watching the memory, registers what can be pruned, and makes the chat with it.
    /// Without `guard` it only watches: nothing is shed, and nothing is cleaned up or deleted
    /// unless somebody asks.
    pub(crate) async fn start(
        db: Database,
        journal: &Journal,
        chaos: Chaos,
        guard: bool,
    ) -> Result<(Self, App), ProtectionError> {
        let plimsoll = Plimsoll::builder().env()?.automatic_cleanup(guard).start()?;
        let mut registrations = Vec::from(journal.register(plimsoll.registry()));
        let mut limits = SocketLimits::chat();
        limits.queue_bytes = LONGEST_BURST_BYTES;
        limits.max_write_buffer_bytes = LONGEST_BURST_BYTES;
        // It registers `socket_events` by itself.
        let sockets = ConnectionRegistry::builder()
            .plimsoll(&plimsoll)
            .limits(limits)
            .max_connections(MAX_SOCKETS)
            .priority(guard.then_some(Priority::Normal))
            .build()?;
        registrations.push(retention::start(db.link(), &plimsoll, guard).await?);
        registrations.extend(chaos.register(plimsoll.registry(), &sockets));
        let app = App::new(db, sockets, journal.clone(), chaos);
        Ok((Self { plimsoll, guard, _registrations: registrations }, app))
    }

    /// Puts the layers around all routes; nothing may be added to the router afterwards.
    pub(crate) fn wrap(&self, app: &App, router: Router) -> Router {
        // Handshakes of Socket.IO are refused where there is no room for another connection.
        let mut router = router.layer(SocketAdmissionLayer::new(&app.sockets, socket_io::PATH));
        // What was shed is no failure of ours, so this goes inside of the guard.
        router = router.layer(JournalLayer::new(&app.journal).route(|head| {
            let below = head.uri.path().starts_with(socket_io::PATH);
            below.then(|| socket_io::PATH.into())
        }));
        if self.guard {
            let hold = app.chaos.hold;
            let config = GuardConfig::new(&self.plimsoll)
                .exempt("/livez")
                // A poll of a session that is let in already must not be refused, and whether
                // another is let in the layer above decides.
                .exempt(format!("{}/*", socket_io::PATH))
                .cost(move |head| hold.then(|| hold::cost(head.method, head.uri)).flatten());
            router = router.layer(MemoryGuardLayer::new(config));
        }
        // The last layer is the outermost: the monitoring routes are never shed.
        router.layer(MonitorRouteLayer::new(&self.plimsoll))
    }

    /// Says at `/readyz` that the server goes away, stops the rules between two batches, sends
    /// what alerts are due, ends the monitor's event streams and joins the threads.
    pub(crate) async fn shutdown(&self) {
        self.plimsoll.shutdown().await;
    }
}

/// Closes all connections with 1001 and waits for their end; says what did not end by itself.
pub(crate) async fn close_sockets(sockets: &ConnectionRegistry, deadline: Duration) {
    let closed = sockets.shutdown(deadline).await;
    tracing::info!(connections = closed.connections, forced = closed.forced, "sockets closed");
    if let Some(one) = closed.lingering.first() {
        let lingering = closed.lingering.len();
        tracing::warn!(lingering, one, "some of what connections owned did not end");
    }
}
