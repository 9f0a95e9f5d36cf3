use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use plimsoll_core::{Admission, Refusal, Surcharge};

use super::{
    error::{BoxError, ChargedBodyError},
    upload::Upload,
};

pin_project! {
    /// Request body inside a [`ChargingGuard`](crate::ChargingGuard): the one that was sent,
    /// charged for as it arrives.
    ///
    /// After [`ChargedBodyError::Refused`] it has ended.
    pub struct ChargedBody<B> {
        #[pin]
        inner: B,
        // After `inner`: its buffers must be gone before their bytes are counted as free.
        meter: Meter,
    }
}

/// Counts what arrives.
enum Meter {
    /// Charged with the request.
    Declared {
        left: u64,
        admission: Admission,
        /// What arrives although it was not declared, which no host of ours lets happen.
        excess: Option<Box<Surcharge>>,
    },
    Undeclared {
        upload: Arc<Upload>,
        arrived: u64,
    },
}

impl Meter {
    #[inline]
    fn arrived(&mut self, more: u64) -> Result<(), Refusal> {
        match self {
            Self::Declared { left, admission, excess } => {
                match left.checked_sub(more) {
                    Some(rest) => *left = rest,
                    None => charge_excess(more - std::mem::take(left), *admission, excess),
                }
                Ok(())
            }
            Self::Undeclared { upload, arrived } => {
                upload.arrived(*arrived, more)?;
                *arrived = arrived.saturating_add(more);
                Ok(())
            }
        }
    }

    #[inline]
    fn is_refused(&self) -> bool {
        match self {
            Self::Declared { .. } => false,
            Self::Undeclared { upload, .. } => upload.is_refused(),
        }
    }
}

/// Never refused: nothing is kept by which to refuse it, and the bytes are here already.
#[cold]
fn charge_excess(more: u64, admission: Admission, excess: &mut Option<Box<Surcharge>>) {
    excess.get_or_insert_with(|| Box::new(admission.surcharge(None))).grow_unasked(more);
}

impl<B> ChargedBody<B> {
    #[inline]
    pub(super) fn declared(inner: B, length: u64, admission: Admission) -> Self {
        Self { inner, meter: Meter::Declared { left: length, admission, excess: None } }
    }

    pub(super) fn undeclared(inner: B, upload: Arc<Upload>) -> Self {
        Self { inner, meter: Meter::Undeclared { upload, arrived: 0 } }
    }

    /// The body that was sent.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

impl<B> Body for ChargedBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = B::Data;
    type Error = ChargedBodyError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, ChargedBodyError>>> {
        let this = self.project();
        if this.meter.is_refused() {
            return Poll::Ready(None);
        }
        let frame = match ready!(this.inner.poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                return Poll::Ready(Some(Err(ChargedBodyError::Inner(error.into()))));
            }
            None => return Poll::Ready(None),
        };
        let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        let charged = this.meter.arrived(length);
        Poll::Ready(Some(charged.map(|()| frame).map_err(ChargedBodyError::Refused)))
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.meter.is_refused() || self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        if self.meter.is_refused() {
            return SizeHint::with_exact(0);
        }
        self.inner.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for ChargedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargedBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
