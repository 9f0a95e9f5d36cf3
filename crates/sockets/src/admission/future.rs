use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use super::AdmissionBody;

pin_project! {
    /// Response future of [`SocketAdmission`](super::SocketAdmission).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct AdmissionFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Refused { answer: Option<Response<Bytes>> },
    }
}

impl<F> AdmissionFuture<F> {
    pub(super) fn inner(future: F) -> Self {
        Self { kind: Kind::Inner { future } }
    }

    pub(super) fn refused(answer: Response<Bytes>) -> Self {
        Self { kind: Kind::Refused { answer: Some(answer) } }
    }
}

impl<F, B, E> Future for AdmissionFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<AdmissionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjection::Inner { future } => {
                future.poll(cx).map_ok(|response| response.map(AdmissionBody::inner))
            }
            KindProjection::Refused { answer } => {
                let answer = answer.take().expect("a future is not polled after its end");
                Poll::Ready(Ok(answer.map(AdmissionBody::refused)))
            }
        }
    }
}
