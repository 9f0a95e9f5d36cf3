//! Faults that can be switched on: collections that grow for ever, as careless code has them.
//!
//! They are what Plimsoll is for: each is registered as a pruner, so that the memory comes
//! back when it is needed.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::request;

use crate::options::Fault;

/// Bytes that every leaked entry drags along, as a backtrace or a copy of a buffer would.
const LUGGAGE_BYTES: usize = 4096;
/// Entries that are left after the most thorough pruning.
const KEEP: usize = 20;
/// Entries that are freed before other tasks of the thread get a turn.
const BATCH: usize = 10_000;

/// The faults that are switched on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chaos {
    /// Whether memory is held on request.
    pub(crate) hold: bool,
    /// An entry for every request, with its whole head.
    pub(crate) errors: Option<Leak>,
    /// An entry for every frame of every socket.
    pub(crate) events: Option<Leak>,
    /// Every answer that was ever rendered.
    pub(crate) cache: Option<Leak>,
}

impl Chaos {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let leak = |fault| faults.contains(&fault).then(Leak::default);
        Self {
            hold: faults.contains(&Fault::Hold),
            errors: leak(Fault::LeakErrors),
            events: leak(Fault::LeakEvents),
            cache: leak(Fault::LeakCache),
        }
    }

    /// The leaks that are switched on, by the name of their pruner.
    pub(crate) fn leaks(&self) -> impl Iterator<Item = (&'static str, Leak)> {
        [
            ("leaked_errors", self.errors.clone()),
            ("leaked_events", self.events.clone()),
            ("leaked_cache", self.cache.clone()),
        ]
        .into_iter()
        .filter_map(|(name, leak)| Some((name, leak?)))
    }

    pub(crate) fn request(&self, head: &request::Parts) {
        if let Some(leak) = &self.errors {
            let mut entry = format!("{} {}\n", head.method, head.uri);
            for (name, value) in &head.headers {
                let _ = writeln!(entry, "{name}: {value:?}");
            }
            leak.push(&entry);
        }
    }

    pub(crate) fn frame(&self, name: &str, frame: &str) {
        if let Some(leak) = &self.events {
            leak.push(&format!("{name}: {frame}"));
        }
    }

    pub(crate) fn rendered(&self, text: &str) {
        if let Some(leak) = &self.cache {
            leak.push(text);
        }
    }
}

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
    fn push(&self, text: &str) {
        let mut entry = String::with_capacity(text.len() + LUGGAGE_BYTES);
        entry.push_str(text);
        // Written and not only reserved: untouched memory is not resident.
        entry.extend(std::iter::repeat_n(' ', LUGGAGE_BYTES));
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

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn leak(entries: usize) -> Leak {
        let leak = Leak::default();
        (0..entries).for_each(|n| leak.push(&n.to_string()));
        leak
    }

    #[test]
    fn only_what_is_switched_on_leaks() {
        let (head, ()) = Request::get("/x").body(()).unwrap().into_parts();
        let calm = Chaos::new(&[]);
        let leaky = Chaos::new(&[Fault::LeakErrors, Fault::LeakCache]);
        for chaos in [&calm, &leaky] {
            for _ in 0..3 {
                chaos.request(&head);
                chaos.frame("Ada", "hi");
                chaos.rendered("<p>");
            }
        }
        assert_eq!(calm.leaks().count(), 0);
        let leaks: Vec<_> = leaky.leaks().map(|(name, leak)| (name, leak.held().entries)).collect();
        assert_eq!(leaks, [("leaked_errors", 3), ("leaked_cache", 3)]);
        assert!(!leaky.hold && Chaos::new(&[Fault::Hold]).hold);
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
