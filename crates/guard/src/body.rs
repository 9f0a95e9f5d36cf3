use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use plimsoll_core::{Reservation, Surcharge};

/// Last data of at least this many bytes keeps the reservation until the server has sent it; to
/// keep it costs one allocation.
const LEAST_KEPT: usize = 16 << 10;

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

/// What a poll of the body gives.
type Polled<E> = Poll<Option<Result<Frame<Bytes>, MemoryGuardBodyError<E>>>>;

impl<B> MemoryGuardBody<B> {
    #[inline]
    pub(crate) fn held(inner: B, reservation: Reservation) -> Self {
        Self { kind: Kind::Held { inner, reservation } }
    }

    pub(crate) fn refused(text: Bytes) -> Self {
        Self { kind: Kind::Refused { text } }
    }

    /// Holds these bytes too from now on.
    pub(crate) fn absorb(self: Pin<&mut Self>, surcharge: Surcharge) {
        if let KindProjection::Held { reservation, .. } = self.project().kind.project() {
            reservation.absorb(surcharge);
        }
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
    type Error = MemoryGuardBodyError<B::Error>;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut kind = self.project().kind;
        match kind.as_mut().project() {
            KindProjection::Held { mut inner, reservation } => {
                if reservation.is_watched() {
                    return poll_watched(kind, cx);
                }
                // Matched in place: a frame is large, and each step between would copy it.
                match inner.as_mut().poll_frame(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(None) => Poll::Ready(None),
                    Poll::Ready(Some(Err(error))) => {
                        Poll::Ready(Some(Err(MemoryGuardBodyError::Inner(error))))
                    }
                    Poll::Ready(Some(Ok(frame))) if is_large(&frame) && inner.is_end_stream() => {
                        Poll::Ready(Some(Ok(with_last_data(frame, reservation))))
                    }
                    Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
                }
            }
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

/// Polls the body of a request that is watched.
#[cold]
#[inline(never)]
fn poll_watched<B: Body<Data = Bytes>>(
    mut kind: Pin<&mut Kind<B>>,
    cx: &mut Context<'_>,
) -> Polled<B::Error> {
    let KindProjection::Held { mut inner, reservation } = kind.as_mut().project() else {
        unreachable!("a refusal is not watched");
    };
    if reservation.is_cancelled(cx.waker()) {
        reservation.cancelled();
        end_watched(kind);
        return Poll::Ready(Some(Err(MemoryGuardBodyError::Cancelled)));
    }
    let polled = reservation.run(|| inner.as_mut().poll_frame(cx));
    reservation.follow_peak();
    Poll::Ready(match ready!(polled) {
        Some(Ok(frame)) if is_large(&frame) && inner.is_end_stream() => {
            Some(Ok(with_last_data(frame, reservation)))
        }
        frame => frame.map(|frame| frame.map_err(MemoryGuardBodyError::Inner)),
    })
}

/// Drops the inner body where its frees are counted, and then gives its bytes back.
#[cold]
#[inline(never)]
fn end_watched<B>(mut kind: Pin<&mut Kind<B>>) {
    let KindProjection::Held { reservation, .. } = kind.as_mut().project() else { return };
    let held = reservation.take();
    held.run(|| kind.set(Kind::Refused { text: Bytes::new() }));
}

/// Why a response body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryGuardBodyError<E> {
    /// The inner body failed.
    Inner(E),
    /// Memory stayed critical, and this was the largest request that may be ended.
    Cancelled,
}

impl<E: fmt::Display> fmt::Display for MemoryGuardBodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Cancelled => {
                f.write_str("the request was cancelled since memory stayed critical")
            }
        }
    }
}

// Without a source: hosts have body errors that are boxed, and a box is no `Error` itself. What the
// inner error says is what this one says.
impl<E: fmt::Debug + fmt::Display> Error for MemoryGuardBodyError<E> {}

/// A smaller one goes with the body: the server's own buffers are part of what a request costs.
#[inline]
fn is_large(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(|data| data.len() >= LEAST_KEPT)
}

/// Lets the reservation go with the last data where that is large: a server drops the body as
/// soon as it has taken everything out of it, and keeps the data for as long as the client takes
/// to read it.
#[cold]
#[inline(never)]
fn with_last_data(frame: Frame<Bytes>, reservation: &mut Reservation) -> Frame<Bytes> {
    frame.map_data(|data| {
        let mut held = reservation.take();
        held.raise_to(data.len() as u64);
        held.note_buffered(data.len() as u64);
        // There is no body left to end, and the largest of all would be chosen in vain.
        held.spare();
        Bytes::from_owner(Cargo { data, _held: held })
    })
}

/// Data on its way to the client, and the bytes that are reserved for it.
struct Cargo {
    data: Bytes,
    // After `data`: it must be gone before its bytes are counted as free.
    _held: Reservation,
}

impl AsRef<[u8]> for Cargo {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl<B> fmt::Debug for MemoryGuardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Held { reservation, .. } => {
                format!("Held({} bytes)", reservation.bytes())
            }
            Kind::Refused { .. } => "Refused".to_owned(),
        };
        f.debug_tuple("MemoryGuardBody").field(&kind).finish()
    }
}
