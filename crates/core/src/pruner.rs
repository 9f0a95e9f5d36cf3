//! What a service registers so that its memory can be given back.

use std::{error::Error, fmt, future::Future, time::Duration};

use serde::{Deserialize, Serialize};

use crate::level::PressureLevel;

/// How hard a cleanup tries. Ordered: moderate < aggressive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the contract fixes the two levels")]
pub enum CleanupLevel {
    /// Runs at the warning threshold: drops what is old.
    Moderate,
    /// Runs at the critical threshold: drops all but the newest.
    Aggressive,
}

impl CleanupLevel {
    /// The word on the wire: `moderate` or `aggressive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moderate => "moderate",
            Self::Aggressive => "aggressive",
        }
    }

    /// The cleanup that a pressure level deserves, at least moderate.
    pub fn deserved_by(level: PressureLevel) -> Self {
        match level {
            PressureLevel::Critical => Self::Aggressive,
            PressureLevel::Healthy | PressureLevel::Warning => Self::Moderate,
        }
    }
}

impl fmt::Display for CleanupLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What started a cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CleanupTrigger {
    /// The level rose over a threshold, or stayed there past the cooldown.
    Threshold,
    /// The program called [`Plimsoll::cleanup`](crate::Plimsoll::cleanup).
    Program,
    /// Somebody asked over HTTP.
    Api,
    /// The command line tool asked.
    Cli,
    /// A schedule asked.
    Schedule,
    /// Many connections ended at about the same time.
    Disconnect,
}

impl CleanupTrigger {
    /// Whether nobody asked for it: such a cleanup prunes no more than it takes to be below
    /// warning again, which may be nothing.
    pub(crate) fn is_automatic(self) -> bool {
        matches!(self, Self::Threshold | Self::Disconnect)
    }

    /// The word on the wire, such as `threshold`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Program => "program",
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Schedule => "schedule",
            Self::Disconnect => "disconnect",
        }
    }
}

/// What a pruner is asked to do in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneRequest {
    /// How hard to try.
    pub level: CleanupLevel,
    /// Bytes still wanted when this pruner's turn came; `None` asks for all that the level
    /// allows. A pruner may stop once it has freed as much.
    pub target_bytes: Option<u64>,
    /// Time left; the pass is dropped when it is over.
    pub deadline: Duration,
    /// What started the cleanup.
    pub trigger: CleanupTrigger,
}

impl PruneRequest {
    /// Asks for all that `level` allows, within 5 s; for calling a pruner by hand and in tests.
    pub fn new(level: CleanupLevel) -> Self {
        Self {
            level,
            target_bytes: None,
            deadline: Duration::from_secs(5),
            trigger: CleanupTrigger::Program,
        }
    }
}

/// What a pruner says it did. A claim: the engine measures the process beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Entries dropped.
    pub entries: u64,
    /// Bytes that dropping them freed, if the pruner can tell.
    pub bytes: Option<u64>,
    /// A word for people, such as `2 passes (glibc)`.
    pub detail: Option<String>,
}

impl Pruned {
    /// Nothing to drop.
    pub fn nothing() -> Self {
        Self::entries(0).bytes(0)
    }

    /// Counts the entries dropped.
    pub fn entries(entries: u64) -> Self {
        Self { entries, bytes: None, detail: None }
    }

    /// Adds the bytes freed.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Adds a word for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Why a pass of a pruner failed; any error converts into it with `?`.
pub type PruneError = Box<dyn Error + Send + Sync>;

/// What a pruner holds now, for the list of pruners and for dry runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// Entries held.
    pub entries: Option<u64>,
    /// Bytes held.
    pub bytes: Option<u64>,
}

impl Holding {
    /// Pairs the entries with the bytes held.
    pub fn new(entries: Option<u64>, bytes: Option<u64>) -> Self {
        Self { entries, bytes }
    }
}

/// Gives memory back on request: a cache, a log, a pool.
///
/// The future is polled on the program's Tokio runtime, in a task of its own: a panic, an error
/// or a pass that outlives its deadline is recorded and stops no other pruner.
///
/// # Cancel safety
/// A pass that outlives its deadline is dropped at its next await point, so what a pruner has
/// removed so far must be complete at each of them.
pub trait Pruner: Send + Sync + 'static {
    /// Drops what the request allows and says what that was.
    ///
    /// # Errors
    /// Any error; it is recorded as the outcome of this action.
    fn prune(
        &self,
        request: PruneRequest,
    ) -> impl Future<Output = Result<Pruned, PruneError>> + Send;

    /// The mildest cleanup that runs this pruner. Default: moderate, so every cleanup does.
    fn least_level(&self) -> CleanupLevel {
        CleanupLevel::Moderate
    }

    /// What is held now. Default: not known.
    fn holding(&self) -> Holding {
        Holding::default()
    }

    /// What [`Pruner::prune`] would drop; must change nothing. Default: not known.
    fn preview(&self, request: PruneRequest) -> Option<Pruned> {
        let _ = request;
        None
    }
}
