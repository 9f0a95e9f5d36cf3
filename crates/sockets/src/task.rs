//! Tasks that a connection owns.

use std::{
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::entry::{Closed, Entry};

pin_project! {
    /// A task's future with its entry in the books.
    struct Owned<F> {
        #[pin]
        future: F,
        // Declared after the future: fields drop in order, and the task has ended only when
        // everything that it held is gone.
        ticket: Ticket,
    }
}

/// Strikes the task off the books, however it ends.
struct Ticket {
    entry: Arc<Entry>,
    id: u32,
    name: &'static str,
}

impl<F: Future<Output = ()>> Future for Owned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::warn!(connection = self.entry.id, task = self.name, "a task panicked");
            self.entry.inner.note_event("panicked", self.entry.id, Some(self.name.to_owned()));
        }
        self.entry.task_ended(self.id);
    }
}

impl Entry {
    /// Spawns a task that ends with the connection: by itself, or aborted at the deadline.
    pub(crate) fn spawn<F>(
        self: &Arc<Self>,
        name: &'static str,
        at: &'static Location<'static>,
        while_closing: bool,
        future: F,
    ) -> Result<(), Closed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = match self.add_task(name, at, while_closing) {
            Ok(id) => id,
            Err(closed) => {
                drop(future);
                return Err(closed);
            }
        };
        let ticket = Ticket { entry: Arc::clone(self), id, name };
        // Not under a lock: on a runtime that has ended, the future is dropped right here.
        let handle = self.inner.runtime.spawn(Owned { future, ticket });
        self.task_spawned(id, handle.abort_handle());
        Ok(())
    }
}
