//! `/api/monitoring/sockets`: who is connected, what they hold, and what happened to them.

use plimsoll_core::{Plimsoll, SocketEvent, SocketFigures, SocketsReport};
use serde::Serialize;

use crate::{
    problem::Problem,
    reply::{self, Reply},
};

/// Connections told, the largest.
const MOST_CONNECTIONS: usize = 50;
/// Events told, the newest.
const MOST_EVENTS: usize = 100;

#[derive(Serialize)]
struct Sockets {
    #[serde(flatten)]
    sums: SocketsReport,
    connections: Vec<SocketFigures>,
    recent: Vec<SocketEvent>,
}

pub(crate) fn show(plimsoll: &Plimsoll) -> Reply {
    let Some(source) = plimsoll.sockets() else {
        return Err(Problem::not_found(
            "no registry of connections is attached; ConnectionRegistry::builder().plimsoll(...) attaches one",
        ));
    };
    let sockets = Sockets {
        sums: source.report(),
        connections: source.connections(MOST_CONNECTIONS),
        recent: source.recent(MOST_EVENTS),
    };
    reply::data(plimsoll, &sockets)
}
