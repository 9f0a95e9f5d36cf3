use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::routes::EventStream;

pin_project! {
    /// Response body of [`Monitor`](crate::Monitor): the inner service's, or an answer of the
    /// monitor.
    pub struct MonitorBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Inner {
            #[pin]
            body: B,
        },
        Own { answer: Answer },
    }
}

/// An answer of the monitor.
pub(crate) enum Answer {
    Text(Bytes),
    /// Boxed: it is rare and large.
    Events(Box<EventStream>),
}

impl<B> MonitorBody<B> {
    #[inline]
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(crate) fn own(answer: Answer) -> Self {
        Self { kind: Kind::Own { answer } }
    }
}

/// Empty; some outer layers answer by themselves and ask for it.
impl<B> Default for MonitorBody<B> {
    fn default() -> Self {
        Self::own(Answer::default())
    }
}

impl<B> Body for MonitorBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    // The inner error as it is: what wraps us may ask for more than a boxed one can give.
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Own { answer } => {
                Pin::new(answer).poll_frame(cx).map_err(|never| match never {})
            }
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { answer } => answer.is_end_stream(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { answer } => answer.size_hint(),
        }
    }
}

impl<B> fmt::Debug for MonitorBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Inner { .. } => "Inner",
            Kind::Own { answer: Answer::Text(_) } => "Text",
            Kind::Own { answer: Answer::Events(_) } => "Events",
        };
        f.debug_tuple("MonitorBody").field(&kind).finish()
    }
}

impl Answer {
    pub(crate) fn text(text: Bytes) -> Self {
        Self::Text(text)
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self::Text(Bytes::new())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Events(events) => {
                events.poll_event(cx).map(|event| event.map(|e| Ok(Frame::data(e))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
