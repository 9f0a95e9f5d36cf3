//! Connections as memory that can be given back when it is short.

use std::{
    cmp::Reverse,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use plimsoll_core::{CleanupLevel, Holding, PruneError, PruneRequest, Pruned, Pruner};
use tokio::time::{Instant, timeout};

use crate::{cause::CloseCause, entry::Entry, inner::Inner, registry::ConnectionRegistry};

/// Time left of a pass for what comes after the wait for closings.
const MARGIN: Duration = Duration::from_millis(200);

/// Closes connections that were idle for long, the longest idle first, with 1013 (try again
/// later). Runs in aggressive cleanups only. Register it:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::time::Duration;
/// # use plimsoll_core::CleanupRegistry;
/// use plimsoll_sockets::{CloseIdle, ConnectionRegistry};
///
/// # let cleanup = CleanupRegistry::new();
/// let sockets = ConnectionRegistry::builder().build()?;
/// let _idle = cleanup.register("sockets_idle", CloseIdle::new(&sockets, Duration::from_secs(600)));
/// # Ok(())
/// # }
/// ```
pub struct CloseIdle {
    registry: Weak<Inner>,
    older_than: Duration,
}

/// Closes the connections that hold most, with 1013 (try again later): at most so many in a
/// pass, and no more than it takes to free the bytes asked for. Runs in aggressive cleanups only.
pub struct CloseLargest {
    registry: Weak<Inner>,
    most: usize,
}

impl CloseIdle {
    /// Closes those that neither sent nor received anything for `older_than`.
    pub fn new(registry: &ConnectionRegistry, older_than: Duration) -> Self {
        Self { registry: Arc::downgrade(registry.inner()), older_than }
    }

    fn candidates(&self) -> Vec<(Arc<Entry>, u64)> {
        let now = Instant::now();
        let mut idle: Vec<_> = open(&self.registry)
            .into_iter()
            .map(|entry| (entry.idle(now), entry))
            // What is queued is about to be sent: that is not idle.
            .filter(|(idle, entry)| *idle >= self.older_than && entry.outbox.depth().0 == 0)
            .collect();
        idle.sort_by_key(|(idle, entry)| (Reverse(*idle), entry.id));
        idle.into_iter()
            .map(|(_, entry)| {
                let bytes = entry.bytes();
                (entry, bytes)
            })
            .collect()
    }
}

impl CloseLargest {
    /// Closes at most `most` connections in a pass.
    pub fn new(registry: &ConnectionRegistry, most: usize) -> Self {
        Self { registry: Arc::downgrade(registry.inner()), most }
    }

    fn candidates(&self) -> Vec<(Arc<Entry>, u64)> {
        let mut largest: Vec<_> = open(&self.registry)
            .into_iter()
            .map(|entry| {
                let bytes = entry.bytes();
                (entry, bytes)
            })
            .collect();
        largest.sort_by_key(|(entry, bytes)| (Reverse(*bytes), entry.id));
        largest.truncate(self.most);
        largest
    }
}

impl ConnectionRegistry {
    /// Begins to close the connections that were idle for `older_than`, the longest idle first;
    /// returns how many. A message that is being written is finished first.
    pub fn close_idle(&self, older_than: Duration) -> usize {
        let idle = CloseIdle::new(self, older_than).candidates();
        idle.iter().filter(|(entry, _)| entry.begin_close(CloseCause::Idle)).count()
    }

    /// Begins to close the `most` connections that hold most; returns how many.
    pub fn close_largest(&self, most: usize) -> usize {
        let largest = CloseLargest::new(self, most).candidates();
        largest.iter().filter(|(entry, _)| entry.begin_close(CloseCause::Pressure)).count()
    }

    /// The same until those closed held `bytes` together.
    pub fn close_largest_bytes(&self, bytes: u64) -> usize {
        let largest = CloseLargest::new(self, usize::MAX).candidates();
        let wanted = up_to(largest, Some(bytes));
        wanted.iter().filter(|(entry, _)| entry.begin_close(CloseCause::Pressure)).count()
    }
}

fn open(registry: &Weak<Inner>) -> Vec<Arc<Entry>> {
    let live = registry.upgrade().map(|inner| inner.live()).unwrap_or_default();
    live.into_iter().filter(|entry| entry.is_open()).collect()
}

/// The first of `entries` that hold `target` bytes together; all without a target.
fn up_to(entries: Vec<(Arc<Entry>, u64)>, target: Option<u64>) -> Vec<(Arc<Entry>, u64)> {
    let Some(target) = target else { return entries };
    let mut sum = 0_u64;
    let wanted = entries.into_iter().take_while(|(_, bytes)| {
        let more = sum < target;
        sum = sum.saturating_add(*bytes);
        more
    });
    wanted.collect()
}

/// Closes them and waits for their end, as far as the pass has time. Claimed is what those that
/// have ended held.
async fn close(
    registry: &Weak<Inner>,
    entries: Vec<(Arc<Entry>, u64)>,
    cause: CloseCause,
    deadline: Duration,
) -> Pruned {
    let closing: Vec<_> = entries
        .into_iter()
        .filter(|(entry, _)| entry.begin_close(cause.clone()))
        .map(|(entry, bytes)| (Arc::downgrade(&entry), bytes))
        .collect();
    let ended = async {
        while let Some(inner) = registry.upgrade() {
            let mut gone = std::pin::pin!(inner.gone.notified());
            gone.as_mut().enable();
            if closing.iter().all(|(entry, _)| entry.strong_count() == 0) {
                return;
            }
            // The last reference may go a moment after the removal that is rung for.
            let _ = timeout(Duration::from_millis(10), gone).await;
        }
    };
    let _ = timeout(deadline.saturating_sub(MARGIN), ended).await;
    let gone = closing.iter().filter(|(entry, _)| entry.strong_count() == 0);
    let bytes = gone.map(|(_, bytes)| *bytes).sum();
    Pruned::entries(closing.len() as u64).bytes(bytes)
}

fn holding(registry: &Weak<Inner>) -> Holding {
    let entries = open(registry);
    let bytes = entries.iter().map(|entry| entry.bytes()).sum();
    Holding::new(Some(entries.len() as u64), Some(bytes))
}

fn preview(entries: &[(Arc<Entry>, u64)]) -> Pruned {
    Pruned::entries(entries.len() as u64).bytes(entries.iter().map(|(_, bytes)| *bytes).sum())
}

impl Pruner for CloseIdle {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let idle = up_to(self.candidates(), request.target_bytes);
        Ok(close(&self.registry, idle, CloseCause::Idle, request.deadline).await)
    }

    fn least_level(&self) -> CleanupLevel {
        CleanupLevel::Aggressive
    }

    fn holding(&self) -> Holding {
        holding(&self.registry)
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        Some(preview(&up_to(self.candidates(), request.target_bytes)))
    }
}

impl Pruner for CloseLargest {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let largest = up_to(self.candidates(), request.target_bytes);
        Ok(close(&self.registry, largest, CloseCause::Pressure, request.deadline).await)
    }

    fn least_level(&self) -> CleanupLevel {
        CleanupLevel::Aggressive
    }

    fn holding(&self) -> Holding {
        holding(&self.registry)
    }

    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        Some(preview(&up_to(self.candidates(), request.target_bytes)))
    }
}

impl fmt::Debug for CloseIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseIdle").field("older_than", &self.older_than).finish_non_exhaustive()
    }
}

impl fmt::Debug for CloseLargest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseLargest").field("most", &self.most).finish_non_exhaustive()
    }
}
