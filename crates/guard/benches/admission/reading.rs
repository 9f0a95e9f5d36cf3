//! A service that reads its body, bare and under the guard that charges for what it reads.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::Service;

/// Reads the body and answers at once; not inlined, as no handler is.
#[derive(Clone)]
pub(crate) struct Reader;

pub(crate) struct ReaderFuture<Q>(Option<Request<Q>>);

impl<Q: Body + Unpin> Service<Request<Q>> for Reader {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = ReaderFuture<Q>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: Request<Q>) -> ReaderFuture<Q> {
        ReaderFuture(Some(request))
    }
}

impl<Q: Body + Unpin> Future for ReaderFuture<Q> {
    type Output = Result<Response<Answer>, Infallible>;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.0.as_mut().expect("polled once");
        let mut body = Pin::new(request.body_mut());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(cx) {
            drop(black_box(frame));
        }
        drop(black_box(self.0.take()));
        Poll::Ready(Ok(Response::new(Answer(Full::new(Bytes::from_static(b"hello"))))))
    }
}

/// A type of its own: code shared with the other services would be inlined in fewer places, and
/// they would be charged for it.
pub(crate) struct Answer(Full<Bytes>);

/// Says nothing of its length, as a chunked upload.
pub(crate) struct Untold(pub(crate) Full<Bytes>);

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Body for Untold {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}
