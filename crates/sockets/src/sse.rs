//! Event streams: a response body that holds a connection.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::connection::{Connection, WeakConnection};

type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// A response body, such as one of Server-Sent Events, that is a connection of the registry
    /// for as long as it is sent: it ends when the connection closes, and the connection closes
    /// when it ends or is dropped by a client that has left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use plimsoll_sockets::{ConnectionBody, ConnectionMeta, ConnectionRegistry, Transport};
    ///
    /// let sockets = ConnectionRegistry::builder().build()?;
    /// let connection = sockets.connect(ConnectionMeta::new(Transport::Sse))?;
    /// # let events = String::new();
    /// let response = http::Response::new(ConnectionBody::new(connection, events));
    /// assert_eq!(sockets.report().transports.sse, 1);
    /// # drop(response);
    /// # Ok(())
    /// # }
    /// ```
    pub struct ConnectionBody<B> {
        #[pin]
        inner: Option<B>,
        closing: Closing,
        // Declared after the body: what it holds is gone before the connection is.
        connection: Option<Connection>,
    }
}

impl<B> ConnectionBody<B> {
    /// Wraps `inner`.
    pub fn new(connection: Connection, inner: B) -> Self {
        let entry = std::sync::Arc::clone(connection.entry());
        let closing = Box::pin(async move { entry.closing().await });
        Self { inner: Some(inner), closing, connection: Some(connection) }
    }

    /// The connection, for rooms, tasks and hooks.
    pub fn connection(&self) -> Option<WeakConnection> {
        self.connection.as_ref().map(Connection::downgrade)
    }
}

impl<B: Body> Body for ConnectionBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(connection) = this.connection else { return Poll::Ready(None) };
        // Also registers the task, so that a body that waits for its next event hears of the end.
        let closed = this.closing.as_mut().poll(cx).is_ready();
        let polled = match (closed, this.inner.as_mut().as_pin_mut()) {
            (false, Some(inner)) => inner.poll_frame(cx),
            _ => Poll::Ready(None),
        };
        match &polled {
            Poll::Ready(Some(Ok(_))) => connection.touch(),
            Poll::Ready(Some(Err(_)) | None) => {
                this.inner.set(None);
                *this.closing = Box::pin(std::future::ready(()));
                drop(this.connection.take());
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B> std::fmt::Debug for ConnectionBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionBody")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
