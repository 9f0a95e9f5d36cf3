//! What is sent and received.

use bytes::Bytes;

/// A message of text or of bytes; cheap to clone, clones share the payload.
///
/// A payload that was received is a slice of the socket's read buffer and keeps all of it in
/// memory; use [`Message::detached`] for what outlives the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    payload: Bytes,
    text: bool,
}

impl Message {
    /// A message of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { payload: Bytes::from(text.into()), text: true }
    }

    /// A message of bytes.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), text: false }
    }

    /// Text that a WebSocket library has checked to be UTF-8.
    #[cfg_attr(not(any(feature = "axum", feature = "tungstenite")), expect(dead_code))]
    pub(crate) fn checked_text(payload: Bytes) -> Self {
        Self { payload, text: true }
    }

    /// Whether it is text.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// The text; `None` for a message of bytes.
    pub fn as_text(&self) -> Option<&str> {
        self.text.then(|| std::str::from_utf8(&self.payload).ok()).flatten()
    }

    /// The payload of either kind.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Takes the payload out.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Length of the payload in bytes.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// Copies the payload, so that it keeps no larger buffer in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { payload: Bytes::copy_from_slice(&self.payload), text: self.text }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}
