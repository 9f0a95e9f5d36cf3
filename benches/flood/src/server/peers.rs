//! The guards that are not Plimsoll: small ones written for this, and those of other crates.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use axum::{
    BoxError, Router,
    error_handling::HandleErrorLayer,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer};
use tower_memlim::{
    layer::MemoryLimitLayer,
    memory::{AvailableMemory, Threshold},
};

use super::{
    hold,
    usage::{GroupUsage, ResidentSet},
};

/// Sheds while the resident set is above `line`, read once a `period`.
pub(super) fn poll(router: Router, period: Duration, line: u64) -> std::io::Result<Router> {
    let resident = ResidentSet::open()?;
    let above = Arc::new(AtomicBool::new(false));
    let published = Arc::clone(&above);
    thread::spawn(move || {
        loop {
            published.store(resident.bytes().is_some_and(|bytes| bytes > line), Relaxed);
            thread::park_timeout(period);
        }
    });
    Ok(router.layer(middleware::from_fn_with_state(
        above,
        async |State(above): State<Arc<AtomicBool>>, request: Request, next: Next| {
            if above.load(Relaxed) { refusal() } else { next.run(request).await }
        },
    )))
}

/// Reserves what requests declare on one counter, and gives it back when they are answered.
pub(super) fn reserve(router: Router, line: u64) -> Router {
    let reserved = Arc::new(AtomicU64::new(0));
    router.layer(middleware::from_fn_with_state(
        reserved,
        move |State(reserved): State<Arc<AtomicU64>>, request: Request, next: Next| async move {
            let cost = hold::cost(request.method(), request.uri()).unwrap_or(0);
            match Reserved::take(reserved, cost, line) {
                Some(_reserved) => next.run(request).await,
                None => refusal(),
            }
        },
    ))
}

struct Reserved {
    sum: Arc<AtomicU64>,
    cost: u64,
}

impl Reserved {
    fn take(sum: Arc<AtomicU64>, cost: u64, line: u64) -> Option<Self> {
        let fits = |now: u64| (now + cost <= line).then_some(now + cost);
        sum.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Self { sum, cost })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.cost, Relaxed);
    }
}

/// The crate `tower-memlim`: sheds while less than the room above `line` is left.
pub(super) fn memlim(
    router: Router,
    usage_file: &Path,
    line: u64,
    limit: u64,
) -> std::io::Result<Router> {
    let room = GroupRoom { usage: Arc::new(GroupUsage::open(usage_file)?), limit };
    Ok(router.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_: BoxError| StatusCode::SERVICE_UNAVAILABLE))
            .layer(LoadShedLayer::new())
            .layer(MemoryLimitLayer::new(Threshold::MinAvailableBytes(limit - line), room)),
    ))
}

/// The reader that comes with the crate knows cgroup version 2 at the root only, and prints
/// what it reads; this one gives it its best case, a kept descriptor of the right file.
#[derive(Clone, Debug)]
struct GroupRoom {
    usage: Arc<GroupUsage>,
    limit: u64,
}

impl AvailableMemory for GroupRoom {
    fn available_memory(&self) -> Result<usize, tower_memlim::error::BoxError> {
        let usage = self.usage.bytes().ok_or("the usage cannot be read")?;
        Ok(usize::try_from(self.limit.saturating_sub(usage))?)
    }
}

/// Tower's own pair: so many requests at once, and no queue.
pub(super) fn concurrency(router: Router, most: usize) -> Router {
    router.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_: BoxError| StatusCode::SERVICE_UNAVAILABLE))
            .layer(LoadShedLayer::new())
            .layer(GlobalConcurrencyLimitLayer::new(most)),
    )
}

fn refusal() -> Response {
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}
