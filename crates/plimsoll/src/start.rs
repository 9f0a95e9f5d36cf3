use plimsoll_core::{Plimsoll, PlimsollBuilder, StartError};
use plimsoll_sources::SystemSource;

/// Starts on the readings and the allocator of this system.
///
/// In the [prelude](crate::prelude), so that `Plimsoll::builder().start()` finds it.
pub trait Start {
    /// Starts the sampler and the worker thread, with the heap figures and the release of the
    /// program's allocator, and with its attribution where it is installed.
    ///
    /// # Errors
    /// As [`PlimsollBuilder::start_with`], and when neither the process nor a cgroup can be read.
    fn start(self) -> Result<Plimsoll, StartError>;
}

impl Start for PlimsollBuilder {
    fn start(self) -> Result<Plimsoll, StartError> {
        let source = SystemSource::detect()?;
        let mut builder = self;
        for backend in plimsoll_alloc::program_backends() {
            builder = builder.release_backend(backend);
        }
        if let Some(heap) = plimsoll_alloc::program_heap() {
            builder = builder.default_heap_source(heap);
        }
        if let Some(meter) = plimsoll_alloc::attribution() {
            builder = builder.default_allocation_meter(meter);
        }
        builder.start_with(source)
    }
}
