//! What all clones of a monitor share.

use std::{net::SocketAddr, time::Duration};

use http::request::Parts;
use plimsoll_core::Plimsoll;

use crate::{
    access::{Access, Scope},
    layer::Settings,
    metrics::MetricsText,
    paths::Paths,
    peer::PeerSource,
    probes::Probes,
    problem::Problem,
    routes::StreamSlots,
};

/// A reading that is no older than this is fresh: however many ask, the source is not read more
/// often on their behalf.
const FRESH: Duration = Duration::from_millis(100);
/// An answer waits at most this long for a fresh reading; a stalled source must not hide the rest.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Kept for the life of the process, one for each layer used: services reach it without a
/// reference count, which is what would stop two threads from scaling.
#[derive(Debug)]
pub(crate) struct Monitoring {
    pub(crate) plimsoll: Plimsoll,
    pub(crate) paths: Paths,
    pub(crate) metrics: MetricsText,
    pub(crate) probes: Probes,
    pub(crate) streams: StreamSlots,
    access: Access,
    peer: PeerSource,
}

impl Monitoring {
    pub(crate) fn leak(settings: Settings) -> &'static Self {
        let Settings { plimsoll, access, paths, peer, metrics_text } = settings;
        access.announce();
        let metrics = MetricsText::new(metrics_text, &plimsoll);
        Box::leak(Box::new(Self {
            plimsoll,
            paths,
            metrics,
            probes: Probes::default(),
            streams: StreamSlots::default(),
            access,
            peer,
        }))
    }

    /// Judges whether a request may be answered.
    pub(crate) fn admit(&self, needed: Scope, head: &Parts) -> Result<(), Problem> {
        let peer: Option<SocketAddr> = self.peer.find(&head.extensions);
        self.access.allows(needed, head, peer).map_err(|denied| {
            tracing::debug!(path = head.uri.path(), ?denied, "monitoring request refused");
            denied.into_problem()
        })
    }

    /// What whoever asks may do, as words; for pages that show only buttons that work.
    pub(crate) fn scopes(&self, head: &Parts) -> Vec<&'static str> {
        let peer: Option<SocketAddr> = self.peer.find(&head.extensions);
        [(Scope::Read, "read"), (Scope::Operate, "operate")]
            .into_iter()
            .filter(|(scope, _)| self.access.allows(*scope, head, peer).is_ok())
            .map(|(_, word)| word)
            .collect()
    }

    /// Has the figures read anew unless they are fresh.
    pub(crate) async fn refresh(&self) {
        let is_fresh = self.plimsoll.reading_age().is_some_and(|age| age < FRESH);
        if !is_fresh {
            // Late or failed: the answer tells the figures there are, with their age.
            let _ = tokio::time::timeout(LONGEST_WAIT, self.plimsoll.check()).await;
        }
    }
}
