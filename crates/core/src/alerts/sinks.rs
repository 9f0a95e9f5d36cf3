//! All sinks of a process: the log, and the queues of the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{runtime::Handle, task::JoinSet, time::Instant};

use super::{
    queue::{SinkQueue, SinkStats, attempt},
    sink::{AlertSink, LogSink},
    state::AlertNotification,
};

/// Hands notifications to the log at once and to every other sink through a queue of its own.
#[derive(Debug, Default)]
pub struct AlertSinks {
    queues: Vec<SinkQueue>,
    logged: AtomicU64,
}

/// What one sink made of a test notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SinkTest {
    /// The sink's name.
    pub sink: String,
    /// Whether it was delivered.
    pub delivered: bool,
    /// Why not.
    pub error: Option<String>,
}

impl AlertSinks {
    /// Only the log.
    pub fn log_only() -> Self {
        Self::default()
    }

    /// The log and `sinks`, whose tasks run on `runtime`.
    pub fn spawn(sinks: impl IntoIterator<Item = Arc<dyn AlertSink>>, runtime: &Handle) -> Self {
        let queues = sinks.into_iter().map(|sink| SinkQueue::spawn(sink, runtime)).collect();
        Self { queues, logged: AtomicU64::new(0) }
    }

    /// Passes a notification on; never waits for a sink.
    pub fn send(&self, notification: &AlertNotification) {
        LogSink.log(notification);
        self.logged.fetch_add(1, Relaxed);
        for queue in &self.queues {
            queue.push(notification.clone());
        }
    }

    /// Tries every sink once and tells how each fared; takes at most 5 s.
    pub async fn test(&self, notification: &AlertNotification) -> Vec<SinkTest> {
        LogSink.log(notification);
        let log = SinkTest { sink: LogSink::NAME.to_owned(), delivered: true, error: None };
        let mut tries = JoinSet::new();
        for (place, queue) in self.queues.iter().enumerate() {
            let attempt = attempt(queue.sink(), notification.clone());
            tries.spawn(async move { (place, attempt.await.err()) });
        }
        // Side by side, and listed in the order of the sinks.
        let mut ends = tries.join_all().await;
        ends.sort_unstable_by_key(|(place, _)| *place);
        let tests = ends.into_iter().map(|(place, error)| SinkTest {
            sink: self.queues[place].name().to_owned(),
            delivered: error.is_none(),
            error: error.map(|error| error.to_string()),
        });
        std::iter::once(log).chain(tests).collect()
    }

    /// Waits until every queue is empty, at most for `deadline`, and returns how many
    /// notifications are left then.
    pub async fn flush(&self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        let mut left = 0;
        // One after the other: they empty side by side meanwhile.
        for queue in &self.queues {
            left += queue.flush(until.saturating_duration_since(Instant::now())).await;
        }
        left
    }

    /// Notifications written to the log.
    pub fn logged(&self) -> u64 {
        self.logged.load(Relaxed)
    }

    /// Bytes held by notifications that wait.
    pub(crate) fn bytes(&self) -> u64 {
        let waiting: usize = self.queues.iter().map(|queue| queue.stats().waiting).sum();
        (waiting * size_of::<AlertNotification>()) as u64
    }

    /// What became of the notifications, by sink; the log is not counted here.
    pub fn stats(&self) -> Vec<(&str, SinkStats)> {
        self.queues.iter().map(|queue| (queue.name(), queue.stats())).collect()
    }
}
