//! How much one connection may hold.

use std::time::Duration;

/// Messages that an outgoing queue holds by default: a burst of chat, not a backlog.
const DEFAULT_QUEUE_MESSAGES: usize = 128;
/// Bytes that it holds by default.
const DEFAULT_QUEUE_BYTES: usize = 256 * 1024;
/// Messages that wait for a handler; what is not read stays in the kernel and slows the sender.
const DEFAULT_INBOX_MESSAGES: usize = 16;
/// Silence after which the peer is asked whether it is there.
const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const DEFAULT_PONG_DEADLINE: Duration = Duration::from_secs(20);
/// How long the peer may take to answer a close frame, and a last message to be written.
const DEFAULT_CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Buffers, queues and deadlines of one connection.
///
/// Plain data; change the fields that differ from a profile:
///
/// ```
/// use plimsoll_sockets::SocketLimits;
///
/// let mut limits = SocketLimits::chat();
/// limits.max_message_bytes = 1024 * 1024;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketLimits {
    /// Read buffer, in bytes; allocated with the socket.
    pub read_buffer_bytes: usize,
    /// Bytes gathered before they are written to the system.
    pub write_buffer_bytes: usize,
    /// The most that may wait in the write buffer, in bytes; more than `write_buffer_bytes`.
    pub max_write_buffer_bytes: usize,
    /// The largest message accepted, in bytes. A larger one ends the connection with 1009.
    pub max_message_bytes: usize,
    /// The largest frame accepted, in bytes.
    pub max_frame_bytes: usize,
    /// Messages that wait to be sent, at least 1.
    pub queue_messages: usize,
    /// Bytes of those messages, at least 1.
    pub queue_bytes: usize,
    /// What happens when the queue is full.
    pub queue_policy: QueuePolicy,
    /// Received messages that wait for the handler, at least 1.
    pub inbox_messages: usize,
    /// Silence after which a ping is sent.
    pub ping_interval: Duration,
    /// Time that the peer then has to send anything at all.
    pub pong_deadline: Duration,
    /// Time that the peer has to answer a close frame; never past the cleanup deadline.
    pub close_grace: Duration,
}

/// What happens to a message for which an outgoing queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// The oldest messages make room: for states, of which only the newest counts.
    DropOldest,
    /// The message is dropped: for hints that nobody misses.
    DropNewest,
    /// The connection is closed with 1013 (try again later): for messages that must not be lost
    /// without the peer noticing.
    #[default]
    Disconnect,
}

impl SocketLimits {
    /// For many small messages: read 4 KiB, write 8 KiB and at most 256 KiB, messages and frames
    /// of at most 64 KiB, 128 messages or 256 KiB queued, ping after 20 s, pong within 20 s.
    pub fn chat() -> Self {
        Self {
            read_buffer_bytes: 4 * 1024,
            write_buffer_bytes: 8 * 1024,
            max_write_buffer_bytes: 256 * 1024,
            max_message_bytes: 64 * 1024,
            max_frame_bytes: 64 * 1024,
            queue_messages: DEFAULT_QUEUE_MESSAGES,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            queue_policy: QueuePolicy::default(),
            inbox_messages: DEFAULT_INBOX_MESSAGES,
            ping_interval: DEFAULT_PING_INTERVAL,
            pong_deadline: DEFAULT_PONG_DEADLINE,
            close_grace: DEFAULT_CLOSE_GRACE,
        }
    }

    /// What a connection is charged for its buffers while nothing is queued, in bytes.
    pub fn resting_bytes(&self) -> u64 {
        (self.read_buffer_bytes as u64).saturating_add(self.write_buffer_bytes as u64)
    }

    /// The first field that cannot be used, with what would be accepted.
    pub(crate) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let zero =
            |name, value: usize| (value == 0).then(|| (name, value.to_string(), "1 and more"));
        let idle = |name, value: Duration| {
            value.is_zero().then(|| (name, format!("{value:?}"), "more than 0"))
        };
        zero("queue_messages", self.queue_messages)
            .or_else(|| zero("queue_bytes", self.queue_bytes))
            .or_else(|| zero("inbox_messages", self.inbox_messages))
            .or_else(|| zero("read_buffer_bytes", self.read_buffer_bytes))
            .or_else(|| zero("max_message_bytes", self.max_message_bytes))
            .or_else(|| zero("max_frame_bytes", self.max_frame_bytes))
            .or_else(|| idle("ping_interval", self.ping_interval))
            .or_else(|| idle("pong_deadline", self.pong_deadline))
            .or_else(|| {
                (self.max_write_buffer_bytes <= self.write_buffer_bytes).then(|| {
                    let value = self.max_write_buffer_bytes.to_string();
                    ("max_write_buffer_bytes", value, "more than write_buffer_bytes")
                })
            })
    }
}

impl Default for SocketLimits {
    /// [`SocketLimits::chat`].
    fn default() -> Self {
        Self::chat()
    }
}
