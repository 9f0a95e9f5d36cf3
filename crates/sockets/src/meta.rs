//! Who is at the other end and how.

use std::sync::Arc;

/// How a connection is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A plain WebSocket.
    WebSocket,
    /// Socket.IO over a WebSocket.
    SocketIo,
    /// Socket.IO over long polling.
    Polling,
    /// Server-Sent Events.
    Sse,
    /// None of these.
    #[default]
    Other,
}

impl Transport {
    pub(crate) const COUNT: usize = 5;

    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::SocketIo => "socketio",
            Self::Polling => "polling",
            Self::Sse => "sse",
            Self::Other => "other",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn of_number(number: u8) -> Self {
        let all = [Self::WebSocket, Self::SocketIo, Self::Polling, Self::Sse];
        all.into_iter().find(|transport| transport.number() == number).unwrap_or(Self::Other)
    }
}

/// What is known of a connection when it is made. Little on purpose: it lives as long as the
/// connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMeta {
    pub(crate) peer: Option<Arc<str>>,
    pub(crate) transport: Transport,
}

impl ConnectionMeta {
    /// A connection over `transport` with an unknown peer.
    pub fn new(transport: Transport) -> Self {
        Self { peer: None, transport }
    }

    /// Names the peer: an address or a user, whatever the cap per peer is to count. At most 64
    /// bytes are kept.
    #[must_use]
    pub fn peer(mut self, peer: impl AsRef<str>) -> Self {
        let peer = peer.as_ref();
        let mut end = peer.len().min(LONGEST_PEER);
        while !peer.is_char_boundary(end) {
            end -= 1;
        }
        self.peer = Some(Arc::from(&peer[..end]));
        self
    }
}

/// An IPv6 address with its zone fits; a made-up name of a megabyte does not.
const LONGEST_PEER: usize = 64;
