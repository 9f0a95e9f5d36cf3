//! Time for everything that decides, so that tests own it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells monotonic time since its own start, and the wall clock for people.
///
/// Cheap to clone; clones share their start. Decisions use [`Clock::now`] only, so a step of
/// the wall clock changes no level and no cooldown.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    System { start: Instant },
    Manual { nanos: Arc<AtomicU64>, epoch: Duration },
}

impl Clock {
    /// Follows the monotonic clock of the system.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn system() -> Self {
        Self { kind: Kind::System { start: Instant::now() } }
    }

    /// Stands still until [`Clock::advance`] moves it; starts at `epoch` after 1970.
    pub fn manual(epoch: Duration) -> Self {
        Self { kind: Kind::Manual { nanos: Arc::default(), epoch } }
    }

    /// Returns the time since this clock was made.
    pub fn now(&self) -> Duration {
        match &self.kind {
            Kind::System { start } => start.elapsed(),
            Kind::Manual { nanos, .. } => Duration::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }

    /// Returns the wall clock as the time since 1970; zero if the system's clock is before it.
    pub fn wall(&self) -> Duration {
        match &self.kind {
            Kind::System { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Kind::Manual { epoch, .. } => *epoch + self.now(),
        }
    }

    /// Moves a manual clock forward; a system clock ignores it.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual { nanos, .. } = &self.kind {
            nanos.fetch_add(saturating_nanos(by), Ordering::AcqRel);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// Whole milliseconds of a duration, saturating after 584 million years.
pub(crate) fn saturating_millis(duration: Duration) -> u64 {
    // Not `as_millis`, which goes by way of 128 bits: refusals ask for this.
    duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(duration.subsec_millis()))
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
