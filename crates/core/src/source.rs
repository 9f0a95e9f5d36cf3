//! What a program plugs in below: where readings come from, and who gives pages back.

use std::{borrow::Cow, error::Error, fmt};

use crate::reading::{HeapFigures, MemoryReading};

/// Reads the memory of this process or of its container.
///
/// The sampler owns the source and calls [`MemorySource::read`] on its own thread, up to 1,000
/// times a second, so an implementation keeps its file descriptors open. An error leaves the
/// last reading in force until it is too old to decide from.
pub trait MemorySource: Send + 'static {
    /// Takes one reading. `taken_at` is set by the sampler, `heap` only where the source itself
    /// knows the allocator (a scripted one, for instance).
    ///
    /// # Errors
    /// When no figure at all could be read.
    fn read(&mut self) -> Result<MemoryReading, SourceError>;

    /// One line that tells a person what is read, such as `cgroup v1 /docker/ab12, procfs`.
    fn describe(&self) -> String;
}

/// Why a reading failed: what was read, and the cause.
#[derive(Debug)]
pub struct SourceError {
    what: Cow<'static, str>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// Says what could not be read, without a further cause.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// Says what could not be read and why.
    pub fn caused_by(
        what: impl Into<Cow<'static, str>>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { what: what.into(), cause: Some(cause.into()) }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}", self.what)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Tells what the allocator holds. Read less often than the rest, since it can be slow: glibc's
/// `mallinfo2` walks every free chunk, 14.7 ms on a heap of 1 GB in small pieces.
pub trait HeapSource: Send + Sync + 'static {
    /// Returns the allocator's figures, or `None` where it does not tell them.
    fn figures(&self) -> Option<HeapFigures>;
}

/// Makes an allocator give pages that it holds unused back to the system.
pub trait ReleaseBackend: Send + Sync + 'static {
    /// The allocator's name: `glibc`, `jemalloc`, `mimalloc`.
    fn name(&self) -> &'static str;

    /// Gives back what can be given back now. Blocks for about 0.15 ms per MB returned; called
    /// on a thread of its own, never on an async worker. What it freed is measured from outside,
    /// so it claims nothing.
    fn release(&self);
}
