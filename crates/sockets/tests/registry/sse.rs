//! Bodies that are connections.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use plimsoll_sockets::{CloseCause, ConnectionBody, ConnectionMeta, Transport};

use crate::{registry, settle};

/// So many events, then silence or the end.
struct Events {
    left: usize,
    ends: bool,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return if self.ends { Poll::Ready(None) } else { Poll::Pending };
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(9)
    }
}

async fn frame(body: &mut ConnectionBody<Events>) -> Option<Bytes> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    frame.expect("infallible").into_data().ok()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_or_is_dropped_closes_its_connection() {
    let sockets = registry();
    let open = || sockets.connect(ConnectionMeta::new(Transport::Sse)).unwrap();
    let mut ends = ConnectionBody::new(open(), Events { left: 1, ends: true });
    let dropped = ConnectionBody::new(open(), Events { left: 1, ends: false });
    assert_eq!(ends.size_hint().exact(), Some(9));
    assert!(frame(&mut ends).await.is_some());
    assert_eq!(sockets.report().transports.sse, 2);
    assert!(frame(&mut ends).await.is_none());
    assert!(ends.is_end_stream() && frame(&mut ends).await.is_none());
    drop(dropped);
    sockets.empty().await;
    assert_eq!((sockets.report().closed, sockets.report().forced), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_stream_hears_of_the_close() {
    let sockets = registry();
    let connection = sockets.connect(ConnectionMeta::new(Transport::Sse)).unwrap();
    let mut body = ConnectionBody::new(connection, Events { left: 0, ends: false });
    let weak = body.connection().unwrap();
    let reader = tokio::spawn(async move { frame(&mut body).await });
    settle().await;
    assert!(!reader.is_finished());
    assert!(weak.close(CloseCause::Shutdown));
    assert_eq!(reader.await.unwrap(), None);
    sockets.empty().await;
    assert_eq!(sockets.report().forced, 0);
}
