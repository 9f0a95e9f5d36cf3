use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Response, StatusCode};
use pin_project_lite::pin_project;

use super::{Name, layer::Settings};

const PANICKED: &str = "panicked";

pin_project! {
    /// Response future of [`JournalService`](super::JournalService).
    pub struct JournalFuture<F> {
        #[pin]
        inner: F,
        note: Note,
    }
}

impl<F> JournalFuture<F> {
    pub(super) fn new(inner: F, note: Note) -> Self {
        Self { inner, note }
    }
}

impl<F, B, E> Future for JournalFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: fmt::Display,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        match &answer {
            Ok(response) => this.note.answered(response.status()),
            Err(error) => this.note.failed(error),
        }
        Poll::Ready(answer)
    }
}

impl<F: fmt::Debug> fmt::Debug for JournalFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalFuture").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// A request that is under way.
pub(super) struct Note {
    settings: Arc<Settings>,
    name: Name,
    start: Duration,
    open: bool,
}

impl Note {
    pub(super) fn begin(settings: Arc<Settings>, name: Name) -> Self {
        let start = settings.clock.now();
        Self { settings, name, start, open: true }
    }

    fn answered(&mut self, status: StatusCode) {
        self.took();
        if status.is_server_error() {
            let reason = status.canonical_reason().unwrap_or_default();
            self.error(format!("{} {reason}", status.as_str()).trim_end());
        }
    }

    fn failed(&mut self, error: &impl fmt::Display) {
        self.took();
        self.error(&error.to_string());
    }

    fn took(&mut self) {
        self.open = false;
        let took = self.settings.clock.now().saturating_sub(self.start);
        self.settings.journal.latencies.record(self.name.as_str(), took);
    }

    fn error(&self, message: &str) {
        self.settings.journal.errors.record(self.name.as_str(), message);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // Dropped open without a panic is a client that went away.
        if self.open && std::thread::panicking() {
            self.error(PANICKED);
        }
    }
}
