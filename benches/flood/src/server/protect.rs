//! Puts the chosen guard in front of the routes.

use std::error::Error;

use axum::{Router, routing::get};
use plimsoll::prelude::*;

use super::{Options, hold, peers, pressure::Background};
use crate::Guard;

/// What has to live for as long as the server does.
#[derive(Debug, Default)]
pub(super) struct Protection {
    _plimsoll: Option<Plimsoll>,
    _background: Option<Registration>,
}

pub(super) fn wrap(
    work: Router,
    options: &Options,
    background: &Background,
) -> Result<(Router, Protection), Box<dyn Error>> {
    let limit = options.limit_bytes;
    let line = options.guard.line_bytes(limit);
    let guarded = match options.guard {
        Guard::None => work,
        Guard::Poll(period) => peers::poll(work, period, line)?,
        Guard::Reserve => peers::reserve(work, line),
        Guard::Memlim => peers::memlim(work, &options.usage_file, line, limit)?,
        Guard::Conc => peers::concurrency(work, usize::try_from(line / options.request_bytes)?),
        Guard::Plimsoll { declared_percent } => {
            return plimsoll(work, Some(declared_percent), options, background);
        }
        Guard::PlimsollTuned => return plimsoll(work, Some(100), options, background),
        Guard::PlimsollLearned => return plimsoll(work, None, options, background),
        Guard::PlimsollHalfWatched => return plimsoll(work, Some(50), options, background),
    };
    // Probes are not shed by any of them.
    let probes = Router::new().route("/livez", get(async || "live\n"));
    Ok((guarded.merge(probes), Protection::default()))
}

/// Plimsoll as an application has it: defaults, both layers, bodies charged as they arrive, and a
/// cost where it is known.
fn plimsoll(
    work: Router,
    declared_percent: Option<u64>,
    options: &Options,
    background: &Background,
) -> Result<(Router, Protection), Box<dyn Error>> {
    let registry = CleanupRegistry::new();
    let registration =
        options.prune_background.then(|| registry.register("background", background.clone()));
    let plimsoll = Plimsoll::builder().registry(registry).start()?;
    // `start` takes the counting allocator for what it finds, so a row would not tell of a server
    // that was built with the wrong one.
    if plimsoll.allocation_meter().is_some() != options.guard.is_attributed() {
        return Err(format!("this program does not serve {}", options.guard).into());
    }
    let mut config = GuardConfig::new(&plimsoll);
    if options.guard == Guard::PlimsollHalfWatched {
        config = config.cancel(Priority::Normal);
    }
    if let Some(percent) = declared_percent {
        config = config
            .cost(move |head| hold::cost(head.method, head.uri).map(|bytes| bytes / 100 * percent));
    }
    let app = work
        .layer(MemoryGuardLayer::new(config).charging_bodies())
        .layer(MonitorRouteLayer::new(&plimsoll));
    Ok((app, Protection { _plimsoll: Some(plimsoll), _background: registration }))
}
