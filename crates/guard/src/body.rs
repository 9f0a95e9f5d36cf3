use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use plimsoll_core::Reservation;

pin_project! {
    /// Response body of [`MemoryGuard`](crate::MemoryGuard): the inner one, holding the reserved
    /// bytes until it is dropped, or a short refusal.
    pub struct MemoryGuardBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Held {
            #[pin]
            inner: B,
            // After `inner`: fields drop in order, and the buffers must be gone before their
            // bytes are counted as free.
            reservation: Reservation,
        },
        Refused { text: Bytes },
    }
}

impl<B> MemoryGuardBody<B> {
    #[inline]
    pub(crate) fn held(inner: B, reservation: Reservation) -> Self {
        Self { kind: Kind::Held { inner, reservation } }
    }

    pub(crate) fn refused(text: Bytes) -> Self {
        Self { kind: Kind::Refused { text } }
    }
}

/// Empty; some outer layers answer by themselves and ask for it.
impl<B> Default for MemoryGuardBody<B> {
    fn default() -> Self {
        Self::refused(Bytes::new())
    }
}

impl<B> Body for MemoryGuardBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Held { inner, .. } => inner.poll_frame(cx),
            KindProjection::Refused { text } if text.is_empty() => Poll::Ready(None),
            KindProjection::Refused { text } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))))
            }
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Held { inner, .. } => inner.is_end_stream(),
            Kind::Refused { text } => text.is_empty(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Held { inner, .. } => inner.size_hint(),
            Kind::Refused { text } => SizeHint::with_exact(text.len() as u64),
        }
    }
}

impl<B> fmt::Debug for MemoryGuardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Held { reservation, .. } => format!("Held({} bytes)", reservation.bytes()),
            Kind::Refused { .. } => "Refused".to_owned(),
        };
        f.debug_tuple("MemoryGuardBody").field(&kind).finish()
    }
}
