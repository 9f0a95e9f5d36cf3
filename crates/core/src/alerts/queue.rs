//! One sink's bounded queue and the task that empties it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};

use super::{
    rules::AlertName,
    sink::{AlertSink, SinkError},
    state::{AlertNotification, NotificationKind},
};

/// Notifications that wait for one sink.
const CAPACITY: usize = 64;
/// Tries of one notification.
const TRIES: u32 = 3;
/// Time for one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait before the second try; it doubles before the third.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait that the other side can ask for: alerts grow stale.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Delivers notifications to one sink, in order, on a task of its own.
///
/// The queue knows what it has delivered, so "resolved" reaches the sink if, and only if,
/// "firing" did: a firing that waits or is being retried when its alert resolves is withdrawn,
/// and its resolved with it. When the queue is full the oldest firing makes room, and counts as
/// dropped. Dropping the queue ends its task.
pub struct SinkQueue {
    sink: Arc<dyn AlertSink>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What became of the notifications of one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkStats {
    /// Delivered.
    pub delivered: u64,
    /// Given up after the last try.
    pub failed: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Withdrawn because the alert resolved before its firing was delivered.
    pub withdrawn: u64,
    /// Waiting, or being delivered now.
    pub waiting: usize,
}

struct Shared {
    state: Mutex<State>,
    /// Something was queued.
    queued: Notify,
    /// What is being delivered has been withdrawn.
    withdrawn: Notify,
    /// Nothing waits any more.
    idle: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<AlertNotification>,
    current: Option<Current>,
    /// The alert of each rule that the sink knows to be firing.
    known: BTreeMap<AlertName, String>,
    stats: SinkStats,
}

struct Current {
    id: String,
    withdrawn: bool,
}

/// How the tries of one notification ended.
enum Ending {
    Delivered,
    Failed,
    Withdrawn,
}

impl SinkQueue {
    /// Starts the task of a queue on `runtime`.
    pub fn spawn(sink: Arc<dyn AlertSink>, runtime: &Handle) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            queued: Notify::new(),
            withdrawn: Notify::new(),
            idle: Notify::new(),
        });
        let task = runtime.spawn(work(Arc::clone(&sink), Arc::clone(&shared)));
        Self { sink, shared, task }
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        self.sink.name()
    }

    pub(super) fn sink(&self) -> Arc<dyn AlertSink> {
        Arc::clone(&self.sink)
    }

    /// Queues a notification; never waits.
    pub fn push(&self, notification: AlertNotification) {
        let mut state = self.shared.lock();
        let dropped_before = state.stats.dropped;
        if state.accept(notification) {
            self.shared.queued.notify_one();
        }
        if state.current.as_ref().is_some_and(|current| current.withdrawn) {
            self.shared.withdrawn.notify_one();
        }
        let dropped = state.stats.dropped - dropped_before;
        drop(state);
        if dropped > 0 {
            tracing::warn!(sink = self.name(), "alert queue is full, the oldest was dropped");
        }
    }

    /// Tries the sink once with a notification that skips the queue.
    ///
    /// # Errors
    /// Says why the delivery failed, panicked or took longer than 5 s.
    pub async fn test(&self, notification: AlertNotification) -> Result<(), SinkError> {
        attempt(Arc::clone(&self.sink), notification).await
    }

    /// Waits until nothing is left to deliver, at most for `deadline`, and returns how many
    /// notifications are left then.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn flush(&self, deadline: Duration) -> usize {
        let idle = async {
            loop {
                // Listening begins before the look, so that no end goes unnoticed between them.
                let idle = self.shared.idle.notified();
                if self.stats().waiting == 0 {
                    return;
                }
                idle.await;
            }
        };
        let _ = timeout(deadline, idle).await;
        self.stats().waiting
    }

    /// What became of the notifications so far.
    pub fn stats(&self) -> SinkStats {
        let state = self.shared.lock();
        let waiting = state.waiting.len() + usize::from(state.current.is_some());
        SinkStats { waiting, ..state.stats }
    }
}

impl Drop for SinkQueue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for SinkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkQueue")
            .field("sink", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and the state is whole after each step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a notification in; returns whether there is something to do.
    fn accept(&mut self, notification: AlertNotification) -> bool {
        let id = &notification.id;
        if notification.kind == NotificationKind::Resolved {
            let before = self.waiting.len();
            self.waiting.retain(|waiting| waiting.id != *id);
            self.stats.withdrawn += (before - self.waiting.len()) as u64;
            let known = self.known.get(&notification.name) == Some(id);
            let underway = self.current.as_mut().filter(|current| current.id == *id);
            if !known && underway.is_none() {
                return false;
            }
            if let Some(current) = underway {
                current.withdrawn = true;
            }
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == *id) {
            // The newer words about the same alert; it still begins for the sink.
            let kind = waiting.kind;
            *waiting = AlertNotification { kind, ..notification };
            return true;
        }
        if self.waiting.len() >= CAPACITY {
            // A lost firing is told again by the reminder; a lost resolved never is.
            let oldest = self
                .waiting
                .iter()
                .position(|waiting| waiting.kind != NotificationKind::Resolved)
                .unwrap_or(0);
            self.waiting.remove(oldest);
            self.stats.dropped += 1;
        }
        self.waiting.push_back(notification);
        true
    }

    /// Takes the next notification that the sink should hear.
    fn begin(&mut self) -> Option<AlertNotification> {
        while let Some(next) = self.waiting.pop_front() {
            let known = self.known.get(&next.name) == Some(&next.id);
            if next.kind == NotificationKind::Resolved && !known {
                continue;
            }
            self.current = Some(Current { id: next.id.clone(), withdrawn: false });
            return Some(next);
        }
        None
    }

    fn end(&mut self, notification: &AlertNotification, ending: &Ending) {
        self.current = None;
        match ending {
            Ending::Delivered => self.stats.delivered += 1,
            Ending::Failed => self.stats.failed += 1,
            Ending::Withdrawn => self.stats.withdrawn += 1,
        }
        match (notification.kind, ending) {
            // Whether it was heard or not, nothing more can be said about this alert.
            (NotificationKind::Resolved, _) => {
                self.known.remove(&notification.name);
            }
            (NotificationKind::Firing | NotificationKind::Repeat, Ending::Delivered) => {
                self.known.insert(notification.name, notification.id.clone());
            }
            _ => {}
        }
    }

    fn is_withdrawn(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.withdrawn)
    }
}

async fn work(sink: Arc<dyn AlertSink>, shared: Arc<Shared>) {
    loop {
        let next = shared.lock().begin();
        let Some(notification) = next else {
            shared.idle.notify_waiters();
            shared.queued.notified().await;
            continue;
        };
        let ending = deliver(&sink, &shared, &notification).await;
        shared.lock().end(&notification, &ending);
    }
}

async fn deliver(
    sink: &Arc<dyn AlertSink>,
    shared: &Shared,
    notification: &AlertNotification,
) -> Ending {
    let mut backoff = FIRST_BACKOFF;
    for tried in 1..=TRIES {
        let error = match attempt(Arc::clone(sink), notification.clone()).await {
            Ok(()) => return Ending::Delivered,
            Err(error) => error,
        };
        if error.is_permanent() || tried == TRIES {
            let alert = notification.name.as_str();
            tracing::warn!(sink = sink.name(), alert, tried, %error, "alert was not delivered");
            return Ending::Failed;
        }
        let wait = error.retry_after().unwrap_or(backoff).min(LONGEST_BACKOFF);
        backoff *= 2;
        if wait_or_withdrawn(shared, wait).await {
            return Ending::Withdrawn;
        }
    }
    Ending::Failed
}

/// Waits before the next try; returns `true` as soon as the notification is withdrawn.
async fn wait_or_withdrawn(shared: &Shared, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        // A wake may be left over from an earlier notification, so the state decides.
        if shared.lock().is_withdrawn() {
            return true;
        }
        if timeout_at(until, shared.withdrawn.notified()).await.is_err() {
            return false;
        }
    }
}

/// One try on a task of its own, so that a panic of the sink ends that task and not the queue.
pub(super) async fn attempt(
    sink: Arc<dyn AlertSink>,
    notification: AlertNotification,
) -> Result<(), SinkError> {
    // The set aborts the task when it is dropped, also when the caller is.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { sink.deliver(notification).await });
    match timeout(TRY_TIMEOUT, tasks.join_next()).await {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err(error))) if error.is_panic() => Err(SinkError::new("the sink panicked")),
        Ok(_) => Err(SinkError::new("the delivery was cancelled")),
        Err(_) => Err(SinkError::new(format!("no answer within {} s", TRY_TIMEOUT.as_secs()))),
    }
}

#[cfg(test)]
mod tests;
