//! What a handler of a WebSocket gets.

use std::fmt;

use tokio::sync::mpsc;

use crate::{
    connection::Connection,
    message::Message,
    outbox::{Charge, SendError, Sent},
};

/// An open WebSocket in the hands of its handler: messages come out of [`Session::recv`], and
/// go through the bounded queue of the connection. Dropping it closes the socket with 1000, after
/// what was queued has been sent.
#[must_use = "dropping the session closes the socket"]
pub struct Session {
    connection: Connection,
    inbox: mpsc::Receiver<Received>,
}

/// A message that waits for the handler, charged until it is taken.
pub(super) struct Received {
    pub(super) message: Message,
    pub(super) _charge: Charge,
}

impl Session {
    pub(super) fn new(connection: Connection, inbox: mpsc::Receiver<Received>) -> Self {
        Self { connection, inbox }
    }

    /// Waits for the next message; `None` when the connection has ended and all that it had
    /// sent before was taken. Pings, pongs and close frames are answered and not told.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Message> {
        self.inbox.recv().await.map(|received| received.message)
    }

    /// Queues a message; see [`Connection::send`].
    ///
    /// # Errors
    /// [`SendError`]; after [`SendError::SlowConsumer`] the connection closes.
    pub fn send(&self, message: impl Into<Message>) -> Result<Sent, SendError> {
        self.connection.send(message)
    }

    /// The connection: rooms, tasks, hooks.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes with a code and a word for the peer, after what is queued.
    pub fn close(self, code: u16, reason: impl Into<std::borrow::Cow<'static, str>>) {
        self.connection.close(code, reason);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("connection", &self.connection).finish_non_exhaustive()
    }
}
