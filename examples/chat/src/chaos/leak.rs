//! A collection that grows for ever.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plimsoll::{Holding, prelude::*};

use super::padded;

/// Entries that are left after the most thorough pruning.
const KEEP: usize = 20;
/// Entries that are freed before other tasks of the thread get a turn.
const BATCH: usize = 10_000;

/// A collection without a bound. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leak {
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    entries: VecDeque<String>,
    text_bytes: u64,
}

/// Entries and their bytes, held or removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Leak {
    pub(super) fn push(&self, text: &str) {
        let entry = padded(text);
        let mut content = self.lock();
        content.text_bytes += entry.capacity() as u64;
        content.entries.push_back(entry);
    }

    /// What is held now.
    pub(crate) fn held(&self) -> Amount {
        let content = self.lock();
        let slots = content.entries.capacity() * size_of::<String>();
        Amount { entries: content.entries.len() as u64, bytes: content.text_bytes + slots as u64 }
    }

    /// Removes the older half, or all but the newest few.
    pub(crate) async fn shrink(&self, thorough: bool) -> Amount {
        let len = self.lock().entries.len();
        let mut goal = if thorough { len.saturating_sub(KEEP) } else { len / 2 };
        let before = self.held();
        let mut removed = 0;
        while goal > 0 {
            // Taken out under the lock, freed outside of it: requests wait for the former only.
            let batch = self.lock().take_oldest(goal.min(BATCH));
            if batch.is_empty() {
                break;
            }
            goal -= batch.len();
            removed += batch.len() as u64;
            drop(batch);
            tokio::task::yield_now().await;
        }
        self.lock().entries.shrink_to_fit();
        Amount { entries: removed, bytes: before.bytes.saturating_sub(self.held().bytes) }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // Nothing here panics between two writes, so what a panic elsewhere left is whole.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn take_oldest(&mut self, count: usize) -> Vec<String> {
        let count = count.min(self.entries.len());
        let oldest: Vec<_> = self.entries.drain(..count).collect();
        let bytes: u64 = oldest.iter().map(|entry| entry.capacity() as u64).sum();
        self.text_bytes = self.text_bytes.saturating_sub(bytes);
        oldest
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

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(entries: usize) -> Leak {
        let leak = Leak::default();
        (0..entries).for_each(|n| leak.push(&n.to_string()));
        leak
    }

    #[tokio::test]
    async fn a_gentle_pruning_removes_the_older_half() {
        let leak = leak(41);
        let before = leak.held();
        let freed = leak.shrink(false).await;
        assert_eq!(freed.entries, 20);
        assert_eq!(freed.bytes, before.bytes - leak.held().bytes);
        assert_eq!(leak.lock().entries.front().map(|entry| entry.trim_end()), Some("20"));
    }

    #[tokio::test]
    async fn a_thorough_pruning_leaves_the_newest_twenty() {
        let leak = leak(3 * BATCH);
        let before = leak.held().bytes;
        let freed = leak.shrink(true).await;
        assert_eq!(freed.entries, (3 * BATCH - KEEP) as u64);
        assert!(freed.bytes > before * 9 / 10, "{freed:?} of {before}");
        assert_eq!(leak.held().entries, KEEP as u64);
        assert_eq!(leak.shrink(true).await, Amount::default());
    }
}
