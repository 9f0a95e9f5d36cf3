//! A body whose polls are written down beforehand.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// A request or response body that yields exactly the steps it was given, then ends.
///
/// Its [`size_hint`](Body::size_hint) is exact for the data left, and
/// [`is_end_stream`](Body::is_end_stream) is true once no step is left, unless told otherwise.
///
/// ```
/// use http_body_util::BodyExt;
/// use plimsoll_testkit::ScriptedBody;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let body = ScriptedBody::new().data("load ").pending().data("line");
/// let probe = body.probe();
/// let whole = body.collect().await.expect("no error in the script").to_bytes();
/// assert_eq!(whole, "load line");
/// assert!(probe.is_dropped());
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    size_hint: Option<SizeHint>,
    lazy_end: bool,
    probe: BodyProbe,
}

#[derive(Debug)]
enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Pending,
    Hold,
    Error(String),
}

impl ScriptedBody {
    /// Makes a body that ends at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Yields a data frame.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.step(Step::Data(data.into()))
    }

    /// Yields trailers.
    #[must_use]
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        self.step(Step::Trailers(trailers))
    }

    /// Is pending for one poll, and asks for the next one itself.
    #[must_use]
    pub fn pending(self) -> Self {
        self.step(Step::Pending)
    }

    /// Is pending until [`BodyProbe::resume`], like a peer that has stopped sending.
    #[must_use]
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Fails with this text and ends; what comes after it in the script is not yielded.
    #[must_use]
    pub fn error(self, text: impl Into<String>) -> Self {
        self.step(Step::Error(text.into()))
    }

    /// Gives this size hint at all times, true or not.
    #[must_use]
    pub fn size_hint(mut self, hint: SizeHint) -> Self {
        self.size_hint = Some(hint);
        self
    }

    /// Never says that it has ended before a poll has shown it, as a chunked body does.
    #[must_use]
    pub fn lazy_end(mut self) -> Self {
        self.lazy_end = true;
        self
    }

    /// Watches this body from outside.
    pub fn probe(&self) -> BodyProbe {
        self.probe.clone()
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = ScriptedBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScriptedBodyError>>> {
        let this = self.get_mut();
        let mut seen = this.probe.lock();
        seen.polls += 1;
        if matches!(this.steps.front(), Some(Step::Hold)) {
            if seen.resumes == 0 {
                seen.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            seen.resumes -= 1;
            this.steps.pop_front();
            // The next step may be another hold, which has to leave its waker.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match this.steps.pop_front() {
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Error(text)) => {
                this.steps.clear();
                Some(Err(ScriptedBodyError(text)))
            }
            Some(Step::Pending | Step::Hold) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && !self.lazy_end
    }

    fn size_hint(&self) -> SizeHint {
        self.size_hint.unwrap_or_else(|| {
            let left = self.steps.iter().map(|step| match step {
                Step::Data(data) => u64::try_from(data.len()).unwrap_or(u64::MAX),
                _ => 0,
            });
            SizeHint::with_exact(left.fold(0, u64::saturating_add))
        })
    }
}

impl Drop for ScriptedBody {
    fn drop(&mut self) {
        self.probe.lock().dropped = true;
    }
}

/// Sees what happens to a [`ScriptedBody`] that has been given away.
#[derive(Clone, Debug, Default)]
pub struct BodyProbe {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    polls: u64,
    dropped: bool,
    resumes: u64,
    waker: Option<Waker>,
}

impl BodyProbe {
    /// Counts the polls for a frame: 0 for a body that nobody has read.
    pub fn polls(&self) -> u64 {
        self.lock().polls
    }

    /// Says whether the body has been dropped.
    pub fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    /// Ends one [`ScriptedBody::hold`]: the one it waits in, or else the next.
    pub fn resume(&self) {
        let waker = {
            let mut seen = self.lock();
            seen.resumes += 1;
            seen.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // Counters stay true whatever a panicking holder did.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error that [`ScriptedBody::error`] asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedBodyError(String);

impl fmt::Display for ScriptedBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ScriptedBodyError {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn steps_come_in_order_and_then_the_end() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let mut body = ScriptedBody::new().data("a").pending().data("bc").trailers(trailers);
        let probe = body.probe();
        assert_eq!(Body::size_hint(&body).exact(), Some(3));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert_eq!(Body::size_hint(&body).exact(), Some(2));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "bc");
        assert!(!body.is_end_stream());
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["x-sum"], "7");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
        assert_eq!(probe.polls(), 5);
        assert!(!probe.is_dropped());
        drop(body);
        assert!(probe.is_dropped());
    }

    #[tokio::test]
    async fn an_error_ends_the_body() {
        let mut body = ScriptedBody::new().error("reset by peer").data("never");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "reset by peer");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn hints_can_be_made_to_lie() {
        let mut body =
            ScriptedBody::new().data("abc").size_hint(SizeHint::with_exact(1)).lazy_end();
        assert_eq!(Body::size_hint(&body).exact(), Some(1));
        body.frame().await.unwrap().unwrap();
        assert!(!body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_held_body_goes_on_when_resumed() {
        let body = ScriptedBody::new().data("a").hold().data("b").hold().data("c");
        let probe = body.probe();
        let reader = tokio::spawn(body.collect());
        for step in 1..=2 {
            while probe.lock().waker.is_none() {
                tokio::task::yield_now().await;
            }
            assert!(!reader.is_finished(), "held at {step}");
            probe.resume();
        }
        assert_eq!(reader.await.unwrap().unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn a_hold_that_was_resumed_before_does_not_wait() {
        let body = ScriptedBody::new().hold().data("a");
        body.probe().resume();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");
    }
}
