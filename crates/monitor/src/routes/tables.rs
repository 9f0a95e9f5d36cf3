//! `/api/monitoring/routes` and `/pruners`: who holds what.

use plimsoll_core::{Plimsoll, PrunerFigures, RouteFigures};
use serde::Serialize;

use crate::reply::{self, Reply};

#[derive(Serialize)]
struct Routes {
    routes: Vec<RouteRow>,
}

/// One route since the start.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteRow {
    route: String,
    in_flight: u64,
    reserved_bytes: u64,
    admitted: u64,
    shed: u64,
    shed_by_reason: ShedByReason,
    cancelled: u64,
    /// Null where nothing is attributed.
    memory: Option<MemoryRow>,
    last_reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShedByReason {
    memory: u64,
    too_large: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryRow {
    allocated_bytes: u64,
    live_bytes: u64,
    peak_bytes: u64,
}

#[derive(Serialize)]
struct Pruners {
    pruners: Vec<PrunerFigures>,
}

pub(crate) fn routes(plimsoll: &Plimsoll) -> Reply {
    let routes = plimsoll.routes().into_iter().map(RouteRow::from).collect();
    reply::data(plimsoll, &Routes { routes })
}

pub(crate) fn pruners(plimsoll: &Plimsoll) -> Reply {
    reply::data(plimsoll, &Pruners { pruners: plimsoll.pruners() })
}

impl From<RouteFigures> for RouteRow {
    fn from(figures: RouteFigures) -> Self {
        Self {
            route: figures.name,
            in_flight: figures.in_flight,
            reserved_bytes: figures.reserved_bytes,
            admitted: figures.admitted,
            shed: figures.shed_memory.saturating_add(figures.shed_too_large),
            shed_by_reason: ShedByReason {
                memory: figures.shed_memory,
                too_large: figures.shed_too_large,
            },
            cancelled: figures.cancelled,
            memory: figures.memory.map(|memory| MemoryRow {
                allocated_bytes: memory.allocated_bytes,
                live_bytes: memory.live_bytes,
                peak_bytes: memory.peak_bytes,
            }),
            last_reason: figures.last_reason.map(|reason| reason.as_str()),
        }
    }
}
