//! Why a connection ends, and what the peer is told.

use std::{borrow::Cow, fmt};

/// Why a connection ended or is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The peer said goodbye.
    PeerClosed,
    /// The transport ended or failed without a goodbye.
    Lost,
    /// The peer sent nothing for the ping interval and the pong deadline.
    PingTimeout,
    /// The peer broke the protocol.
    Protocol,
    /// The peer sent a message or a frame over the limit.
    TooLarge,
    /// The handler has returned and the guard was dropped.
    Finished,
    /// The task that held the guard panicked.
    Panicked,
    /// The handler took nothing out of its full inbox for the ping interval and the pong deadline.
    Stalled,
    /// The program closed it, with a code of its own.
    Closed {
        /// The WebSocket close code.
        code: u16,
        /// A word for the peer, at most 123 bytes of it are sent.
        reason: Cow<'static, str>,
    },
    /// The peer does not read what is sent to it.
    SlowConsumer,
    /// It was idle while memory was short.
    Idle,
    /// It held much while memory was short.
    Pressure,
    /// The registry shuts down.
    Shutdown,
}

impl CloseCause {
    /// The word in events and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PeerClosed => "peer closed",
            Self::Lost => "lost",
            Self::PingTimeout => "ping timeout",
            Self::Protocol => "protocol error",
            Self::TooLarge => "message too large",
            Self::Finished => "finished",
            Self::Panicked => "panicked",
            Self::Stalled => "handler stalled",
            Self::Closed { .. } => "closed",
            Self::SlowConsumer => "slow consumer",
            Self::Idle => "idle",
            Self::Pressure => "memory pressure",
            Self::Shutdown => "shutdown",
        }
    }

    /// The WebSocket close code for the peer; `None` where there is nobody to tell.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::PeerClosed | Self::Lost | Self::PingTimeout => None,
            Self::Protocol => Some(1002),
            Self::TooLarge => Some(1009),
            Self::Finished => Some(1000),
            Self::Panicked | Self::Stalled => Some(1011),
            Self::Closed { code, .. } => Some(*code),
            Self::SlowConsumer | Self::Idle | Self::Pressure => Some(1013),
            Self::Shutdown => Some(1001),
        }
    }

    /// The word for the peer, short enough for a close frame.
    pub fn reason(&self) -> &str {
        match self {
            Self::Closed { reason, .. } => {
                let mut end = reason.len().min(LONGEST_REASON);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                &reason[..end]
            }
            Self::SlowConsumer | Self::Idle | Self::Pressure => "try again later",
            Self::Shutdown => "going away",
            Self::Protocol | Self::TooLarge => self.as_str(),
            _ => "",
        }
    }

    /// Whether the peer still gets what was queued for it.
    pub(crate) fn flushes(&self) -> bool {
        matches!(self, Self::Finished | Self::Closed { .. } | Self::Shutdown)
    }
}

/// A control frame carries 125 bytes, two of which are the code.
const LONGEST_REASON: usize = 123;

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let cause = CloseCause::Closed { code: 4000, reason: "ü".repeat(100).into() };
        assert_eq!(cause.reason().len(), 122);
        assert_eq!(cause.code(), Some(4000));
    }
}
