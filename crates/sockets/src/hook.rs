//! What runs when a connection ends.

use std::{future::Future, panic::Location, pin::Pin};

type HookFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One hook with its name and where it was registered.
pub(crate) struct Hook {
    pub(crate) name: &'static str,
    pub(crate) at: &'static Location<'static>,
    run: Run,
}

enum Run {
    Call(Box<dyn FnOnce() -> HookFuture + Send>),
    /// Owned by the connection and dropped with it.
    Drop(Box<dyn Send>),
}

impl Hook {
    pub(crate) fn call<F, Fut>(name: &'static str, at: &'static Location<'static>, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self { name, at, run: Run::Call(Box::new(move || Box::pin(hook()))) }
    }

    pub(crate) fn owned(at: &'static Location<'static>, value: impl Send + 'static) -> Self {
        Self { name: "owned value", at, run: Run::Drop(Box::new(value)) }
    }

    /// Runs it; a panic, also of the closure or of a destructor, is that of this future.
    pub(crate) async fn run(self) {
        match self.run {
            Run::Call(hook) => hook().await,
            Run::Drop(value) => drop(value),
        }
    }
}
