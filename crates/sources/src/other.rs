//! The resident set on systems without procfs.

use memory_stats::memory_stats;
use plimsoll_core::{MemoryReading, MemorySource, SourceError};

/// Reads the resident set of this process; see the [crate docs](crate) for an example.
#[derive(Debug)]
pub struct SystemSource {
    _private: (),
}

impl SystemSource {
    /// Checks that this system tells the resident set.
    ///
    /// # Errors
    /// When it does not.
    pub fn detect() -> Result<Self, SourceError> {
        let mut source = Self { _private: () };
        source.read()?;
        Ok(source)
    }
}

impl MemorySource for SystemSource {
    fn read(&mut self) -> Result<MemoryReading, SourceError> {
        let stats =
            memory_stats().ok_or_else(|| SourceError::new("the resident set of this process"))?;
        let mut reading = MemoryReading::default();
        reading.rss_bytes = u64::try_from(stats.physical_mem).ok();
        Ok(reading)
    }

    fn describe(&self) -> String {
        "resident set of the process".to_owned()
    }
}
