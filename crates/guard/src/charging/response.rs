use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::upload::Upload;
use crate::body::{MemoryGuardBody, MemoryGuardBodyError};

pin_project! {
    /// Response body of [`ChargingGuard`](crate::ChargingGuard): that of the guard, holding what
    /// the request's body was charged as well.
    #[derive(Debug)]
    pub struct ChargingGuardBody<B> {
        #[pin]
        inner: MemoryGuardBody<B>,
        // After `inner`: what it holds must be gone before its bytes are given back.
        upload: Option<Arc<Upload>>,
    }
}

impl<B> ChargingGuardBody<B> {
    #[inline]
    pub(super) fn new(inner: MemoryGuardBody<B>, upload: Option<Arc<Upload>>) -> Self {
        Self { inner, upload }
    }
}

/// Empty; some outer layers answer by themselves and ask for it.
impl<B> Default for ChargingGuardBody<B> {
    fn default() -> Self {
        Self::new(MemoryGuardBody::default(), None)
    }
}

impl<B> Body for ChargingGuardBody<B>
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
        let mut this = self.project();
        if let Some(upload) = this.upload.take() {
            match Arc::try_unwrap(upload) {
                // No more will arrive. With the reservation, so that it rides with large last
                // data, and so that an upload which is sent back is not charged twice.
                Ok(upload) => this.inner.as_mut().absorb(upload.into_surcharge()),
                Err(shared) => *this.upload = Some(shared),
            }
        }
        this.inner.poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
