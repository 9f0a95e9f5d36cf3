use std::{
    future::Future,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use plimsoll_core::Reservation;

use crate::body::MemoryGuardBody;

/// Exact lengths of responses that are noted as held in memory. A shorter one is part of what
/// each request costs; a longer one is taken for a file or a proxied stream, which does not lie
/// in memory as a whole.
const BUFFERED_BODY: RangeInclusive<u64> = 4 << 10..=8 << 20;

pin_project! {
    /// Response future of [`MemoryGuard`](crate::MemoryGuard).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner future and then gives the reserved bytes back.
    #[derive(Debug)]
    pub struct MemoryGuardFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Admitted {
            #[pin]
            inner: F,
            // After `inner`: what it holds must be gone before its bytes are given back.
            reservation: Option<Reservation>,
        },
        Refused { answer: Option<Box<Response<Bytes>>> },
    }
}

impl<F> MemoryGuardFuture<F> {
    #[inline]
    pub(crate) fn admitted(inner: F, reservation: Reservation) -> Self {
        Self { state: State::Admitted { inner, reservation: Some(reservation) } }
    }

    /// Boxed, so that the rare answer does not make every future larger.
    #[cold]
    pub(crate) fn refused(answer: Response<Bytes>) -> Self {
        Self { state: State::Refused { answer: Some(Box::new(answer)) } }
    }
}

/// Bytes of a response that lie in memory when its head is sent.
#[inline]
fn buffered<B: Body>(body: &B) -> u64 {
    body.size_hint().exact().filter(|bytes| BUFFERED_BODY.contains(bytes)).unwrap_or(0)
}

/// Apart, so that the optimizer lays out the other branch for itself.
#[cold]
#[inline(never)]
fn refusal<B>(answer: &mut Option<Box<Response<Bytes>>>) -> Response<MemoryGuardBody<B>> {
    answer.take().expect("polled after completion").map(MemoryGuardBody::refused)
}

impl<F, B, E> Future for MemoryGuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<MemoryGuardBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Admitted { inner, reservation } => match inner.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(response)) => {
                    let mut reservation = reservation.take().expect("polled after completion");
                    Poll::Ready(Ok(response.map(|body| {
                        reservation.note_buffered(buffered(&body));
                        MemoryGuardBody::held(body, reservation)
                    })))
                }
                Poll::Ready(Err(error)) => {
                    // Now rather than with the future, which may lie about after its end.
                    drop(reservation.take());
                    Poll::Ready(Err(error))
                }
            },
            StateProjection::Refused { answer } => Poll::Ready(Ok(refusal(answer))),
        }
    }
}
