//! What happens, as it happens: for streams and for whoever comes back to one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::broadcast;

/// Events a slow listener may fall behind before it has to start over.
const QUEUE: usize = 32;
/// Events kept for listeners that come back: about two minutes of samples.
const KEPT: usize = 128;

/// The kinds of events on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// One second has passed.
    Sample,
    /// A cleanup has ended.
    Cleanup,
    /// An alert changed its state.
    Alert,
    /// The thresholds were changed.
    Thresholds,
}

impl EventKind {
    /// The event's name on the stream.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Cleanup => "cleanup",
            Self::Alert => "alert",
            Self::Thresholds => "thresholds",
        }
    }
}

/// One event, its JSON made once for all listeners.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Counts up by one from 1.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
    /// The event as JSON.
    pub json: Arc<str>,
}

/// Listens to events from the moment it was made; see [`Plimsoll::listen`](crate::Plimsoll::listen).
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<Event>,
}

/// What a listener got.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Heard {
    /// The next event.
    Event(Event),
    /// It was too slow: events were lost, so it should take a snapshot and go on.
    Missed,
    /// No more events will come.
    Ended,
}

impl Listener {
    /// Waits for the next event.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(event) => Heard::Event(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::Ended,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Events {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` once ended.
    sender: Option<broadcast::Sender<Event>>,
    kept: VecDeque<Event>,
    sequence: u64,
}

impl Events {
    pub(crate) fn new() -> Self {
        let sender = Some(broadcast::Sender::new(QUEUE));
        let kept = VecDeque::with_capacity(KEPT);
        Self { inner: Mutex::new(Inner { sender, kept, sequence: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(&self, kind: EventKind, body: &impl Serialize) {
        let json = match serde_json::to_string(body) {
            Ok(json) => Arc::from(json),
            Err(error) => {
                tracing::error!(%error, kind = kind.as_str(), "event could not be written as JSON");
                return;
            }
        };
        let mut inner = self.lock();
        inner.sequence += 1;
        let event = Event { sequence: inner.sequence, kind, json };
        if inner.kept.len() == KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(event.clone());
        if let Some(sender) = &inner.sender {
            // An error only says that nobody listens.
            let _ = sender.send(event);
        }
    }

    /// Listens from now on. `after` asks for what came since that event: `None` in return means
    /// it is too long ago (or never was), so a snapshot is needed.
    pub(crate) fn listen(&self, after: Option<u64>) -> (Option<Vec<Event>>, Listener) {
        let inner = self.lock();
        let receiver = match &inner.sender {
            Some(sender) => sender.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        };
        let missed = after.filter(|after| {
            let oldest = inner.sequence - inner.kept.len() as u64;
            (oldest..=inner.sequence).contains(after)
        });
        let missed =
            missed.map(|after| inner.kept.iter().filter(|e| e.sequence > after).cloned().collect());
        (missed, Listener { receiver })
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.lock().sequence
    }

    pub(crate) fn bytes(&self) -> u64 {
        let inner = self.lock();
        let text: usize = inner.kept.iter().map(|event| event.json.len()).sum();
        (text + (inner.kept.capacity() + QUEUE) * size_of::<Event>()) as u64
    }

    /// Ends every listener, so that open streams do not hold up a shutdown.
    pub(crate) fn end(&self) {
        self.lock().sender = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_back_gets_what_was_missed_or_is_told_to_start_over() {
        let events = Events::new();
        for value in 0..200 {
            events.publish(EventKind::Sample, &value);
        }
        let (missed, _) = events.listen(Some(198));
        let sequences: Vec<_> = missed.expect("kept").iter().map(|e| e.sequence).collect();
        assert_eq!(sequences, [199, 200]);
        assert!(events.listen(Some(3)).0.is_none(), "too long ago");
        assert!(events.listen(Some(999)).0.is_none(), "of another process");
        assert_eq!(events.listen(Some(200)).0.map(|missed| missed.len()), Some(0));
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_and_goes_on_and_an_end_ends_it() {
        let events = Events::new();
        let (_, mut listener) = events.listen(None);
        for value in 0..100 {
            events.publish(EventKind::Alert, &value);
        }
        assert!(matches!(listener.next().await, Heard::Missed));
        assert!(matches!(listener.next().await, Heard::Event(event) if event.sequence == 69));
        events.end();
        for _ in 0..31 {
            assert!(matches!(listener.next().await, Heard::Event(_)));
        }
        assert!(matches!(listener.next().await, Heard::Ended));
        assert!(matches!(events.listen(None).1.next().await, Heard::Ended));
    }
}
