use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use plimsoll_core::Reservation;

use crate::{answer, body::MemoryGuardBody, state::GRPC_NOTE};

pin_project! {
    /// Response future of [`MemoryGuard`](crate::MemoryGuard).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner future and then gives the reserved bytes back.
    #[derive(Debug)]
    pub struct MemoryGuardFuture<F> {
        #[pin]
        inner: Inner<F>,
        // After `inner`: what it holds must be gone before its bytes are given back.
        reservation: Option<Reservation>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = InnerProjection]
    enum Inner<F> {
        Admitted { #[pin] future: F },
        Refused { answer: Option<Response<Bytes>> },
    }
}

impl<F> MemoryGuardFuture<F> {
    #[inline(always)]
    pub(crate) fn admitted(future: F, reservation: Reservation) -> Self {
        Self { inner: Inner::Admitted { future }, reservation: Some(reservation) }
    }

    /// In place: most inner futures are larger than an answer, and a box costs more than the answer
    /// does besides its headers.
    #[cold]
    pub(crate) fn refused(answer: Response<Bytes>) -> Self {
        Self { inner: Inner::Refused { answer: Some(answer) }, reservation: None }
    }

    /// What the request was admitted for; `None` once it was refused or answered.
    pub(crate) fn reserved_bytes(&self) -> Option<u64> {
        self.reservation.as_ref().map(Reservation::bytes)
    }
}

/// Apart, so that the optimizer lays out the other branch for itself.
#[cold]
#[inline(never)]
fn refusal<F, B>(inner: Pin<&mut Inner<F>>) -> Response<MemoryGuardBody<B>> {
    let answer = match inner.project() {
        InnerProjection::Refused { answer } => answer.take(),
        InnerProjection::Admitted { .. } => None,
    };
    answer.expect("polled after completion").map(MemoryGuardBody::refused)
}

/// Drops the inner future where its frees are counted.
#[cold]
#[inline(never)]
fn end_watched<F>(mut inner: Pin<&mut Inner<F>>, reservation: &Reservation) {
    reservation.run(|| inner.set(Inner::Refused { answer: None }));
}

/// Polls a request that is watched: what it takes is charged as it is seen, and it may be ended.
#[cold]
#[inline(never)]
fn poll_watched<F, B, E>(
    mut inner: Pin<&mut Inner<F>>,
    held: &mut Option<Reservation>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<MemoryGuardBody<B>>, E>>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    let reservation = held.as_mut().expect("polled after completion");
    if reservation.is_cancelled(cx.waker()) {
        end_watched(inner, reservation);
        let answer = answer::end(reservation.cancelled(), reservation.watch_note() == GRPC_NOTE);
        *held = None;
        return Poll::Ready(Ok(answer.map(MemoryGuardBody::refused)));
    }
    let polled = reservation.run(|| match inner.as_mut().project() {
        InnerProjection::Admitted { future } => future.poll(cx),
        InnerProjection::Refused { .. } => unreachable!("a refused request holds no reservation"),
    });
    if polled.is_ready() {
        end_watched(inner, reservation);
    }
    reservation.follow_peak();
    polled.map(|answer| {
        let reservation = held.take().expect("present above");
        reservation.answered();
        answer.map(|response| response.map(|body| MemoryGuardBody::held(body, reservation)))
    })
}

impl<F, B, E> Future for MemoryGuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<MemoryGuardBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Asked first, and once: whoever holds a reservation has been admitted.
        let Some(reservation) = this.reservation else {
            return Poll::Ready(Ok(refusal(this.inner)));
        };
        if reservation.is_watched() {
            return poll_watched(this.inner, this.reservation, cx);
        }
        match this.inner.project() {
            InnerProjection::Admitted { future } => {
                // Matched in place: what is moved out of the poll first is copied once more.
                match future.poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(answer) => {
                        // Taken whatever it is: the future may lie about after its end.
                        let held = this.reservation.take().expect("polled after completion");
                        Poll::Ready(
                            answer.map(|response| {
                                response.map(|body| MemoryGuardBody::held(body, held))
                            }),
                        )
                    }
                }
            }
            InnerProjection::Refused { .. } => unreachable!("a refused request holds nothing"),
        }
    }
}
