//! The bounded queue of what is to be sent.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use plimsoll_core::{Admission, Surcharge};
use tokio::sync::Notify;

use crate::{limits::QueuePolicy, message::Message};

/// Storage of an emptied queue above this many slots is given back.
const KEPT_SLOTS: usize = 8;
/// What a message costs beside its payload, in bytes: its slot, and the payload's own header.
const SLOT_BYTES: u64 = 128;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// It waits to be sent.
    Queued,
    /// It waits to be sent, and so many older ones were dropped for it.
    Displaced(usize),
    /// It was dropped: the queue is full, and its policy is [`QueuePolicy::DropNewest`].
    Dropped,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or closed.
    #[error("the connection is closed")]
    Closed,
    /// The message alone is over the limit of the queue; the connection goes on.
    #[error("a message of {bytes} bytes never fits into a queue of {limit} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What the queue holds at most.
        limit: usize,
    },
    /// The queue is full, so the connection is closed with 1013.
    #[error("the queue is full: {messages} messages, {bytes} bytes; the connection is closed")]
    SlowConsumer {
        /// Messages that waited.
        messages: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// A message with what it was charged: dropped with it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    _charge: Charge,
    tally: Option<Tally>,
}

/// Who gives the bytes back.
#[derive(Clone, Debug)]
pub(crate) enum Charge {
    /// Nobody counts them.
    None,
    /// A payload that is in several queues is in memory once.
    Shared { _surcharge: Arc<Surcharge> },
}

impl Charge {
    pub(crate) fn of(admission: Option<Admission>, message: &Message) -> Self {
        let Some(admission) = admission else { return Self::None };
        let surcharge = admission.surcharge(None).apart();
        surcharge.grow_unasked(message.len() as u64 + SLOT_BYTES);
        Self::Shared { _surcharge: Arc::new(surcharge) }
    }
}

/// Sums over all queues of a registry.
#[derive(Debug, Default)]
pub(crate) struct QueueTotals {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl QueueTotals {
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// One message among the totals, from the moment it is queued until it is written or dropped.
#[derive(Debug)]
struct Tally {
    totals: Arc<QueueTotals>,
    bytes: u64,
}

impl Tally {
    fn new(totals: &Arc<QueueTotals>, bytes: u64) -> Self {
        totals.messages.fetch_add(1, Relaxed);
        totals.bytes.fetch_add(bytes, Relaxed);
        Self { totals: Arc::clone(totals), bytes }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.totals.messages.fetch_sub(1, Relaxed);
        self.totals.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) policy: QueuePolicy,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Rung for the one that takes messages out.
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Queued>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), ready: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message in, or says why not. On [`SendError::SlowConsumer`] the caller closes.
    pub(crate) fn push(
        &self,
        message: Message,
        charge: Charge,
        limits: OutboxLimits,
        totals: &Arc<QueueTotals>,
    ) -> Result<Sent, SendError> {
        let bytes = message.len();
        if bytes > limits.bytes {
            return Err(SendError::TooLarge { bytes, limit: limits.bytes });
        }
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::Closed);
        }
        let full = |state: &State| {
            state.items.len() >= limits.messages || state.bytes.saturating_add(bytes) > limits.bytes
        };
        let mut displaced = Vec::new();
        if full(&state) {
            match limits.policy {
                QueuePolicy::DropNewest => return Ok(Sent::Dropped),
                QueuePolicy::Disconnect => {
                    return Err(SendError::SlowConsumer {
                        messages: state.items.len(),
                        bytes: state.bytes,
                    });
                }
                QueuePolicy::DropOldest => {
                    while full(&state) {
                        let Some(oldest) = state.items.pop_front() else { break };
                        state.bytes -= oldest.message.len();
                        displaced.push(oldest);
                    }
                }
            }
        }
        state.bytes += bytes;
        let tally = Some(Tally::new(totals, bytes as u64));
        state.items.push_back(Queued { message, _charge: charge, tally });
        drop(state);
        self.ready.notify_one();
        Ok(match displaced.len() {
            0 => Sent::Queued,
            count => Sent::Displaced(count),
        })
    }

    /// Takes nothing more in; what waits is dropped, unless it is to be sent before the end.
    pub(crate) fn close(&self, keep: bool) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = if keep { VecDeque::new() } else { mem::take(&mut state.items) };
        if !keep {
            state.bytes = 0;
        }
        drop(state);
        drop(dropped);
        self.ready.notify_one();
    }

    /// Takes the oldest message out.
    pub(crate) fn try_pop(&self) -> Option<Queued> {
        let mut state = self.lock();
        let oldest = state.items.pop_front();
        if let Some(oldest) = &oldest {
            state.bytes -= oldest.message.len();
        }
        if state.items.is_empty() && state.items.capacity() > KEPT_SLOTS {
            state.items = VecDeque::new();
        }
        oldest
    }

    /// Waits for a message; for one caller at a time. Never ends while the queue stays empty.
    ///
    /// Cancel safe: a message is taken only when it is returned.
    pub(crate) async fn pop(&self) -> Queued {
        loop {
            // The bell keeps one ring, so that one between the look and the wait is not missed.
            if let Some(queued) = self.try_pop() {
                return queued;
            }
            self.ready.notified().await;
        }
    }

    /// Messages that wait, and their bytes.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.bytes)
    }
}

impl Queued {
    /// Leaves the sums of what is queued; the charge stays until the message is dropped.
    #[cfg_attr(not(any(feature = "axum", feature = "tungstenite")), expect(dead_code))]
    pub(crate) fn no_longer_queued(&mut self) {
        self.tally = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(policy: QueuePolicy) -> OutboxLimits {
        OutboxLimits { messages: 3, bytes: 10, policy }
    }

    fn push(
        outbox: &Outbox,
        text: &str,
        policy: QueuePolicy,
        totals: &Arc<QueueTotals>,
    ) -> Result<Sent, SendError> {
        outbox.push(Message::text(text), Charge::None, limits(policy), totals)
    }

    fn texts(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.try_pop())
            .map(|queued| queued.message.as_text().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_oldest_make_room_by_count_and_by_bytes() {
        let (outbox, totals) = (Outbox::new(), Arc::default());
        for text in ["a", "b", "c"] {
            assert_eq!(push(&outbox, text, QueuePolicy::DropOldest, &totals), Ok(Sent::Queued));
        }
        assert_eq!(push(&outbox, "d", QueuePolicy::DropOldest, &totals), Ok(Sent::Displaced(1)));
        let whole = "0123456789";
        assert_eq!(push(&outbox, whole, QueuePolicy::DropOldest, &totals), Ok(Sent::Displaced(3)));
        assert_eq!((totals.messages(), totals.bytes()), (1, 10));
        assert_eq!(texts(&outbox), [whole]);
        assert_eq!((totals.messages(), totals.bytes()), (0, 0));
    }

    #[test]
    fn the_newest_is_dropped_or_the_connection_closed() {
        let (outbox, totals) = (Outbox::new(), Arc::default());
        for text in ["a", "b", "c"] {
            assert_eq!(push(&outbox, text, QueuePolicy::DropNewest, &totals), Ok(Sent::Queued));
        }
        assert_eq!(push(&outbox, "d", QueuePolicy::DropNewest, &totals), Ok(Sent::Dropped));
        assert_eq!(
            push(&outbox, "d", QueuePolicy::Disconnect, &totals),
            Err(SendError::SlowConsumer { messages: 3, bytes: 3 })
        );
        assert_eq!(texts(&outbox), ["a", "b", "c"]);
    }

    #[test]
    fn what_could_never_fit_is_told_so_under_every_policy() {
        let (outbox, totals) = (Outbox::new(), Arc::default());
        for policy in [QueuePolicy::DropOldest, QueuePolicy::DropNewest, QueuePolicy::Disconnect] {
            assert_eq!(
                push(&outbox, "0123456789a", policy, &totals),
                Err(SendError::TooLarge { bytes: 11, limit: 10 })
            );
        }
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_keeps_what_is_to_be_flushed() {
        let (outbox, totals) = (Outbox::new(), Arc::default());
        push(&outbox, "a", QueuePolicy::Disconnect, &totals).unwrap();
        outbox.close(true);
        assert_eq!(push(&outbox, "b", QueuePolicy::Disconnect, &totals), Err(SendError::Closed));
        assert_eq!(outbox.depth(), (1, 1));
        outbox.close(false);
        assert_eq!((outbox.depth(), totals.messages()), ((0, 0), 0));
    }
}
