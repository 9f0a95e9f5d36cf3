//! WebSockets of whatever library: one task for the socket, one for the handler.

mod driver;
mod liveness;
mod session;

use std::{future::Future, panic::Location, sync::Arc};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

pub use self::session::Session;
use crate::{cause::CloseCause, connection::Connection, entry::Closed, message::Message};

/// A frame as the driver sees it.
pub(crate) enum Incoming {
    Message(Message),
    /// Ping or pong, which the library answers.
    Control,
    Close,
}

/// A library's type of messages.
pub(crate) trait Frame: Sized + Send + 'static {
    fn decode(self) -> Incoming;
    fn encode(message: Message) -> Self;
    fn ping(payload: Bytes) -> Self;
    fn close(code: u16, reason: &str) -> Self;
}

/// A library's type of errors.
pub(crate) trait Failure: Send + 'static {
    fn cause(&self) -> CloseCause;
}

impl Failure for Error {
    fn cause(&self) -> CloseCause {
        match self {
            Self::Capacity(_) => CloseCause::TooLarge,
            Self::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseCause::Lost,
            Self::Protocol(_) | Self::Utf8(_) => CloseCause::Protocol,
            Self::ConnectionClosed => CloseCause::PeerClosed,
            _ => CloseCause::Lost,
        }
    }
}

/// Gives the connection its two tasks. The one that drives the socket reads also while the
/// handler hangs, so that a disconnect is noticed.
pub(crate) fn start<S, M, E, H, Fut>(
    connection: Connection,
    socket: S,
    at: &'static Location<'static>,
    handler: H,
) -> Result<(), Closed>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Send + 'static,
    M: Frame,
    E: Failure,
    H: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let entry = Arc::clone(connection.entry());
    let (inbox, messages) = mpsc::channel(entry.inner.limits.inbox_messages);
    let drive = driver::drive(Arc::clone(&entry), socket, inbox);
    // Also when the closing has begun: the peer is to be told.
    entry.spawn("transport", at, true, drive)?;
    let session = Session::new(connection, messages);
    // The call is in the task as well, so that a panic in it is the task's.
    entry.spawn("handler", at, false, async move { handler(session).await })
}
