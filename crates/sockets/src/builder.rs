//! From settings to a registry.

use std::{ops::RangeInclusive, time::Duration};

use plimsoll_core::{Clock, Plimsoll, Priority, env::DEFAULT_SOCKET_CLEANUP_TIMEOUT};
use tokio::runtime::Handle;

use crate::{
    inner::{Inner, Parts},
    limits::SocketLimits,
    registry::ConnectionRegistry,
    slots::Slots,
};

/// Cleanup deadlines accepted: as of the environment, 1 ms to a week.
const CLEANUP_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(7 * 24 * 3_600);

/// Settings of a [`ConnectionRegistry`]; see [`ConnectionRegistry::builder`].
#[derive(Debug)]
#[must_use = "there is no registry until it is built"]
pub struct ConnectionRegistryBuilder {
    limits: SocketLimits,
    cleanup_timeout: Option<Duration>,
    most: Option<usize>,
    most_per_peer: Option<usize>,
    priority: Option<Priority>,
    plimsoll: Option<Plimsoll>,
}

/// Why there is no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Connections' tasks run on a Tokio runtime, and there is none here.
    #[error(
        "no tokio runtime here; build the registry inside #[tokio::main] or after Runtime::enter"
    )]
    NoRuntime,
    /// The cleanup deadline is out of range.
    #[error("the cleanup timeout is {given:?}; accepted are {least:?} to {most:?}")]
    CleanupTimeout {
        /// The value given.
        given: Duration,
        /// The shortest accepted.
        least: Duration,
        /// The longest accepted.
        most: Duration,
    },
    /// A field of the limits cannot be used.
    #[error("the socket limit {field} is {given}; accepted is {accepted}")]
    Limit {
        /// The field.
        field: &'static str,
        /// The value given.
        given: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A cap of no connection at all.
    #[error("the cap {name} is 0; accepted is 1 and more, or no cap")]
    ZeroCap {
        /// Which cap.
        name: &'static str,
    },
}

impl ConnectionRegistryBuilder {
    pub(crate) fn new() -> Self {
        Self {
            limits: SocketLimits::chat(),
            cleanup_timeout: None,
            most: None,
            most_per_peer: None,
            priority: Some(Priority::Normal),
            plimsoll: None,
        }
    }

    /// Counts the connections in this Plimsoll's ledger, shows them in its report and metrics,
    /// registers the pruner `socket_events`, and refuses connections that memory has no room
    /// for. Its `SOCKET_CLEANUP_TIMEOUT` applies unless one is set here. The registry keeps a
    /// handle, so Plimsoll runs until it is shut down or both are dropped.
    pub fn plimsoll(mut self, plimsoll: &Plimsoll) -> Self {
        self.plimsoll = Some(plimsoll.clone());
        self
    }

    /// Sets buffers, queues and pings. Default: [`SocketLimits::chat`].
    pub fn limits(mut self, limits: SocketLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the time from a detected disconnect to forced removal, 1 ms to a week. Default: the
    /// environment that Plimsoll was told to read, else 15 s.
    pub fn cleanup_timeout(mut self, timeout: Duration) -> Self {
        self.cleanup_timeout = Some(timeout);
        self
    }

    /// Caps the connections, closing and lingering ones included. Default: no cap.
    pub fn max_connections(mut self, most: usize) -> Self {
        self.most = Some(most);
        self
    }

    /// Caps the connections of each peer that has a name. Default: no cap.
    pub fn max_per_peer(mut self, most: usize) -> Self {
        self.most_per_peer = Some(most);
        self
    }

    /// Sets under which load line new connections stay; `None` never refuses one for memory.
    /// Default: [`Priority::Normal`].
    pub fn priority(mut self, priority: Option<Priority>) -> Self {
        self.priority = priority;
        self
    }

    /// Makes the registry, on the Tokio runtime that is current.
    ///
    /// # Errors
    /// Without a runtime, and for settings out of range.
    pub fn build(self) -> Result<ConnectionRegistry, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        if let Some((field, given, accepted)) = self.limits.fault() {
            return Err(BuildError::Limit { field, given, accepted });
        }
        for (name, cap) in [("max_connections", self.most), ("max_per_peer", self.most_per_peer)] {
            if cap == Some(0) {
                return Err(BuildError::ZeroCap { name });
            }
        }
        let settings = self.plimsoll.as_ref().map(Plimsoll::settings);
        let cleanup_timeout = self
            .cleanup_timeout
            .or(settings.and_then(|settings| settings.socket_cleanup_timeout))
            .unwrap_or(DEFAULT_SOCKET_CLEANUP_TIMEOUT);
        if !CLEANUP_TIMEOUTS.contains(&cleanup_timeout) {
            let (least, most) = (*CLEANUP_TIMEOUTS.start(), *CLEANUP_TIMEOUTS.end());
            return Err(BuildError::CleanupTimeout { given: cleanup_timeout, least, most });
        }
        let clock = self.plimsoll.as_ref().map_or_else(Clock::system, |p| p.clock().clone());
        let inner = Inner::new(Parts {
            runtime,
            limits: self.limits,
            cleanup_timeout,
            slots: Slots::new(self.most, self.most_per_peer),
            priority: self.priority,
            plimsoll: self.plimsoll,
            clock,
        });
        Ok(ConnectionRegistry::attached(inner))
    }
}
