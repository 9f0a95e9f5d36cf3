//! What one pass may still take, and what it took.

use std::{future::poll_fn, task::Poll};

use plimsoll_core::{PruneRequest, Pruned};

use crate::share::Share;

/// Entries taken between two looks at whether others want the thread, or the lock of the cache.
pub(crate) const BATCH: u64 = 256;

/// Counts entries against the share of the level, and bytes against the target.
#[derive(Debug)]
pub(crate) struct Pass {
    entries_left: u64,
    target_bytes: Option<u64>,
    entries: u64,
    bytes: u64,
}

impl Pass {
    pub(crate) fn new(share: Share, request: PruneRequest, held: u64) -> Self {
        Self {
            entries_left: share.of(request.level, held),
            target_bytes: request.target_bytes,
            entries: 0,
            bytes: 0,
        }
    }

    /// Whether nothing more may be taken.
    pub(crate) fn is_over(&self) -> bool {
        self.entries_left == 0 || self.target_bytes.is_some_and(|target| self.bytes >= target)
    }

    /// Notes an entry that was taken.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.entries_left = self.entries_left.saturating_sub(1);
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether it is time to let others on.
    #[cfg(feature = "lru")]
    pub(crate) fn is_batch_full(&self) -> bool {
        self.entries.is_multiple_of(BATCH)
    }

    pub(crate) fn told(&self) -> Pruned {
        Pruned::entries(self.entries).bytes(self.bytes)
    }
}

/// Lets the other tasks of this thread on, on any runtime.
pub(crate) async fn give_way() {
    let mut gave_way = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
