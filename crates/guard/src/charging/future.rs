use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{response::ChargingGuardBody, upload::Upload};
use crate::future::MemoryGuardFuture;

pin_project! {
    /// Response future of [`ChargingGuard`](crate::ChargingGuard).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner future and then gives the charged bytes back, except those
    /// that a request body somewhere else still holds.
    #[derive(Debug)]
    pub struct ChargingGuardFuture<F> {
        #[pin]
        inner: MemoryGuardFuture<F>,
        // After `inner`: what it holds must be gone before its bytes are given back.
        upload: Option<Arc<Upload>>,
    }
}

impl<F> ChargingGuardFuture<F> {
    #[inline]
    pub(super) fn new(inner: MemoryGuardFuture<F>, upload: Option<Arc<Upload>>) -> Self {
        Self { inner, upload }
    }
}

impl<F, B, E> Future for ChargingGuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<ChargingGuardBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(upload) = this.upload else {
            return this.inner.poll(cx).map_ok(|answer| with_upload(answer, None));
        };
        // Before the poll, so that no refusal falls between it and the question.
        upload.wake(cx.waker());
        let answer = this.inner.as_mut().poll(cx);
        if let Some(refusal) = upload.refusal() {
            // Whatever the handler makes of its broken body, it has not begun to say it.
            drop(answer);
            this.inner.set(MemoryGuardFuture::refused(refusal));
            *this.upload = None;
            return this.inner.poll(cx).map_ok(|answer| with_upload(answer, None));
        }
        match answer {
            Poll::Pending => Poll::Pending,
            Poll::Ready(answer) => {
                // Taken whatever it is: the future may lie about after its end.
                let upload = this.upload.take();
                Poll::Ready(answer.map(|answer| with_upload(answer, upload)))
            }
        }
    }
}

fn with_upload<B>(
    answer: Response<crate::body::MemoryGuardBody<B>>,
    upload: Option<Arc<Upload>>,
) -> Response<ChargingGuardBody<B>> {
    answer.map(|body| ChargingGuardBody::new(body, upload))
}
