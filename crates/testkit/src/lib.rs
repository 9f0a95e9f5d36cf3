//! What a test of a service under Plimsoll needs: memory that does as it is told.
//!
//! [`ScriptedSource`] stands in for the machine, so a test can run out of memory without using any;
//! [`RecordingPruner`] succeeds, fails, panics or hangs on request; [`ScriptedBody`] is a body whose
//! every frame is written down; [`FixtureTree`] holds files for a reader; on Linux `MemoryGroup` puts a
//! process where the kernel kills it for its memory; `ThrowawayPostgres` is a database server for the
//! length of a test.
//!
//! [`assert_no_growth`] is for a service's own CI: it does the same again and again, and fails with the
//! figures when memory climbs. [`assert_no_growth_of_async`] does it to a server in a process of its
//! own, whose resident set the test reads.
//!
//! ```
//! use plimsoll_core::{MemoryMetric, MemorySource};
//! use plimsoll_testkit::ScriptedSource;
//!
//! # fn main() -> Result<(), plimsoll_core::SourceError> {
//! let (mut source, script) = ScriptedSource::new();
//! script.set_limit(256_000_000);
//! script.set_working_set(240_000_000);
//!
//! let reading = source.read()?;
//! assert_eq!(reading.figure(MemoryMetric::WorkingSet), Some(240_000_000));
//! assert_eq!(script.reads(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What it protects
//! Tests against waiting: nothing here sleeps (but for a group that is emptied), and what has to be waited for (a reading, a pass of a
//! pruner) can be awaited.
//!
//! # What it cannot see
//! Whether a real machine behaves like the script. [`assert_no_growth`] sees the whole process, so
//! what other tests allocate at the same time counts as well: give it a test binary of its own.
//!
//! MSRV: 1.88. There are no features.
#![forbid(unsafe_code)]

mod body;
mod fixture;
#[cfg(target_os = "linux")]
mod group;
mod growth;
#[cfg(unix)]
mod postgres;
mod pruner;
mod source;

#[cfg(target_os = "linux")]
pub use self::group::{GroupUsage, MemoryGroup, MemoryGroupError};
#[cfg(unix)]
pub use self::postgres::ThrowawayPostgres;
pub use self::{
    body::{BodyProbe, ScriptedBody, ScriptedBodyError},
    fixture::FixtureTree,
    growth::{
        assert_no_growth, assert_no_growth_async, assert_no_growth_of, assert_no_growth_of_async,
    },
    pruner::{Answer, RecordingPruner},
    source::{ScriptHandle, ScriptedSource},
};
