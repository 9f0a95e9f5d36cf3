//! Tasks that a connection owns.

use std::{
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::entry::{BookedHook, Closed, Entry};

pin_project! {
    /// A task's future with its entry in the books.
    struct Owned<F> {
        #[pin]
        future: F,
        // A hook that was not polled yet.
        owed: bool,
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
        let this = self.project();
        let polled = this.future.poll(cx);
        if std::mem::take(this.owed) && polled.is_pending() {
            let Ticket { entry, id, .. } = this.ticket;
            if entry.hook_began(*id) {
                return Poll::Ready(());
            }
        }
        polled
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
        self.spawn_owned(Owned { future, owed: false, ticket });
        Ok(())
    }

    /// Spawns a hook, which is polled once whatever happens: a deadline that passed before its
    /// turn came ends it there.
    pub(crate) fn spawn_hook(self: &Arc<Self>, BookedHook { task: id, hook }: BookedHook) {
        let ticket = Ticket { entry: Arc::clone(self), id, name: hook.name };
        self.spawn_owned(Owned { future: hook.run(), owed: true, ticket });
    }

    fn spawn_owned<F>(&self, task: Owned<F>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = task.ticket.id;
        // Not under a lock: on a runtime that has ended, the future is dropped right here.
        let handle = self.inner.runtime.spawn(task);
        self.task_spawned(id, handle.abort_handle());
    }
}
