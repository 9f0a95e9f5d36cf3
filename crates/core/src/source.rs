//! What a program plugs in below: where readings come from, and who gives pages back.

use std::{borrow::Cow, error::Error, fmt};

use crate::{
    reading::{HeapFigures, MemoryReading},
    report::EventFigures,
};

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

    /// Hands over what the kernel can tell without being asked, if anything. Called once, before
    /// the sampler starts; the events are waited for on a thread of their own.
    fn events(&mut self) -> Option<Box<dyn KernelEvents>> {
        None
    }

    /// Is told by how many bytes memory has to grow, from the reading just taken, for a fresh
    /// reading to be worth a wake. In rising order; empty when nothing above is waited for.
    ///
    /// Called after each reading, so it is for the source to find out cheaply whether what it
    /// asked the kernel for still serves, and to ask anew elsewhere than on this thread. Returns
    /// whether the kernel will tell of all of this growth: then the sampler looks less often
    /// while memory is far from every line.
    fn watch(&mut self, growth_bytes: &[u64]) -> GrowthWatch {
        let _ = growth_bytes;
        GrowthWatch::Unwatched
    }
}

/// Whether the kernel will tell of growth; see [`MemorySource::watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrowthWatch {
    /// Growth can go unheard: the period alone has to find it.
    Unwatched,
    /// All growth that was asked about is told.
    Watched,
}

/// Waits for the kernel to say that memory has moved; see [`MemorySource::events`].
///
/// A wake is a hint and nothing else: it makes the sampler take a reading, and only readings are
/// decided from. So an event too many costs a few microseconds, and one too few is made up for by
/// the sampler's own period.
pub trait KernelEvents: Send + 'static {
    /// Blocks until a reading is worth taking, or until stopped. Costs nothing while all is
    /// quiet. Should not return [`Woken::Look`] over and over for one cause; if it does, it is
    /// asked less often.
    fn wait(&mut self) -> Woken;

    /// Returns what makes [`KernelEvents::wait`] return [`Woken::Stopped`], now and ever after,
    /// from any thread.
    fn stopper(&self) -> Box<dyn Fn() + Send + Sync>;

    /// Tells a person what is waited for, and what cannot be.
    fn describe(&self) -> EventFigures;
}

/// Why [`KernelEvents::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Woken {
    /// Something happened: take a reading.
    Look,
    /// It was stopped, or nothing will ever happen any more.
    Stopped,
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

    /// What the allocator says of its heap; default: nothing. Read on the thread that releases, after
    /// releases and every some seconds.
    fn heap(&self) -> Option<HeapFigures> {
        None
    }
}
