//! The three words that everything downstream acts on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How close the process is to its thresholds. Ordered: healthy < warning < critical.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the contract fixes the three status words")]
pub enum PressureLevel {
    /// Below the warning threshold.
    #[default]
    Healthy,
    /// At or above the warning threshold: moderate cleanup runs.
    Warning,
    /// At or above the critical threshold: aggressive cleanup runs and work is shed.
    Critical,
}

impl PressureLevel {
    /// The status word: `healthy`, `warning` or `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// 0, 1 or 2, as in the metric `plimsoll_pressure_level`.
    pub fn as_u8(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }

    pub(crate) fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Healthy,
            1 => Self::Warning,
            _ => Self::Critical,
        }
    }
}

impl fmt::Display for PressureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
