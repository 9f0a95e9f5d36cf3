//! Where the levels start: parsed once, resolved against the limit, never out of order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::units::{self, MB, SizeError, quoted, whole_mb};

/// Warning threshold when nothing else is said: 2000 MB, the figure of the guide this descends from.
pub const DEFAULT_WARNING_BYTES: u64 = 2_000 * MB;
/// Critical threshold when nothing else is said: 3000 MB.
pub const DEFAULT_CRITICAL_BYTES: u64 = 3_000 * MB;
/// Share of the container limit that is the default warning threshold in a small container.
pub const DEFAULT_WARNING_RATIO: f64 = 0.70;
/// Share of the container limit that is the default critical threshold in a small container.
pub const DEFAULT_CRITICAL_RATIO: f64 = 0.85;
/// An explicit threshold at or above this share of the limit can fire too late to help.
pub const ABOVE_LIMIT_RATIO: f64 = 0.95;
/// A bare number above this is taken for bytes and refused.
const LARGEST_BARE_MB: f64 = 1_048_576.0;

const WARNING: &str = "warning";
const CRITICAL: &str = "critical";
const FORMS: &str = "accepted are a number of MB such as 2000, a size such as 1.5GB or 1500MiB, \
                     and a share of the memory limit such as 70%";

/// One threshold: bytes, or a share of the memory limit.
///
/// Read from text (`2000` is MB, `1.5GB`, `1500MiB`, `70%`) and from JSON, where a number is MB.
///
/// ```
/// # use plimsoll_core::Threshold;
/// assert_eq!("2000".parse(), Ok(Threshold::Bytes(2_000_000_000)));
/// assert_eq!("70%".parse(), Ok(Threshold::OfLimit(0.70)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Threshold {
    /// A number of bytes, above 0.
    Bytes(u64),
    /// A share of the memory limit, above 0.0 and at most 1.0.
    OfLimit(f64),
}

impl Threshold {
    /// Takes a number without a unit, which is MB.
    ///
    /// # Errors
    /// Refuses what is not above 0, what is not finite, and a number so large that bytes must
    /// have been meant.
    pub fn from_mb(mb: f64) -> Result<Self, ThresholdError> {
        Self::from_bare(mb, &mb.to_string())
    }

    fn from_bare(mb: f64, text: &str) -> Result<Self, ThresholdError> {
        if mb.is_finite() && mb > LARGEST_BARE_MB {
            return Err(ThresholdError::LooksLikeBytes { value: quoted(text) });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "NaN and what is below zero become 0, which is refused; infinity is refused"
        )]
        let bytes = (mb * MB as f64).round() as u64;
        match bytes {
            0 => Err(ThresholdError::NotAboveZero { value: quoted(text), field: None }),
            u64::MAX => Err(ThresholdError::Malformed { value: quoted(text) }),
            bytes => Ok(Self::Bytes(bytes)),
        }
    }

    fn from_percent(percent: &str, text: &str) -> Result<Self, ThresholdError> {
        match percent.trim_end().parse::<f64>() {
            Ok(percent) if percent > 100.0 => {
                Err(ThresholdError::AboveWhole { value: quoted(text), field: None })
            }
            // The quotient is looked at too: the smallest numbers round to zero.
            Ok(percent) if percent / 100.0 > 0.0 => Ok(Self::OfLimit(percent / 100.0)),
            Ok(percent) if percent <= 0.0 || percent / 100.0 == 0.0 => {
                Err(ThresholdError::NotAboveZero { value: quoted(text), field: None })
            }
            _ => Err(ThresholdError::Malformed { value: quoted(text) }),
        }
    }

    /// The variants are open to all, so a value made by hand is looked at before it counts.
    fn checked(self, field: &'static str) -> Result<Self, ThresholdError> {
        let value = || quoted(&self.to_string());
        match self {
            Self::Bytes(1..) => Ok(self),
            Self::OfLimit(ratio) if ratio > 1.0 => {
                Err(ThresholdError::AboveWhole { value: value(), field: Some(field) })
            }
            Self::OfLimit(ratio) if ratio > 0.0 => Ok(self),
            Self::Bytes(0) | Self::OfLimit(_) => {
                Err(ThresholdError::NotAboveZero { value: value(), field: Some(field) })
            }
        }
    }

    fn resolve(self, limit_bytes: Option<u64>, field: &'static str) -> Result<u64, ThresholdError> {
        match (self, limit_bytes) {
            (Self::Bytes(bytes), _) => Ok(bytes),
            (Self::OfLimit(ratio), Some(limit)) => Ok(share_of(limit, ratio)),
            (Self::OfLimit(_), None) => {
                Err(ThresholdError::NoLimit { value: self.to_string(), field })
            }
        }
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            return Self::from_percent(percent, text);
        }
        if let Ok(mb) = text.parse::<f64>() {
            return Self::from_bare(mb, text);
        }
        units::parse_size(text).map(Self::Bytes).map_err(|error| match error {
            SizeError::Zero { value } => ThresholdError::NotAboveZero { value, field: None },
            SizeError::MissingUnit { value }
            | SizeError::TooLarge { value }
            | SizeError::Malformed { value } => ThresholdError::Malformed { value },
        })
    }
}

impl fmt::Display for Threshold {
    /// Writes a form that reads back as the same threshold: `2000MB`, `1500MiB`, else bytes
    /// such as `7B`; and `70%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match *self {
            Self::Bytes(bytes) if bytes % MB == 0 => write!(f, "{}MB", bytes / MB),
            Self::Bytes(bytes) if bytes % MIB == 0 => write!(f, "{}MiB", bytes / MIB),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            Self::OfLimit(ratio) => {
                // 0.07 is 7.000000000000001 %: the last digits are noise of the binary fraction.
                let percent = ratio * 100.0;
                let rounded = (percent * 1e9).round() / 1e9;
                write!(f, "{}%", if rounded == 0.0 { percent } else { rounded })
            }
        }
    }
}

impl Serialize for Threshold {
    /// Whole MB become a number, everything else a string; both read back.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Bytes(bytes) if bytes % MB == 0 && (bytes / MB) as f64 <= LARGEST_BARE_MB => {
                serializer.serialize_u64(bytes / MB)
            }
            Self::Bytes(_) | Self::OfLimit(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ThresholdVisitor)
    }
}

struct ThresholdVisitor;

impl de::Visitor<'_> for ThresholdVisitor {
    type Value = Threshold;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of MB such as 2000, or a string such as \"1.5GB\" or \"70%\"")
    }

    fn visit_u64<E: de::Error>(self, mb: u64) -> Result<Threshold, E> {
        Threshold::from_bare(mb as f64, &mb.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, mb: i64) -> Result<Threshold, E> {
        Threshold::from_bare(mb as f64, &mb.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, mb: f64) -> Result<Threshold, E> {
        Threshold::from_mb(mb).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Threshold, E> {
        text.parse().map_err(E::custom)
    }
}

/// The two thresholds, in order as far as that can be told without the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    warning: Threshold,
    critical: Threshold,
}

impl Thresholds {
    /// Takes both in bytes.
    ///
    /// ```
    /// # use plimsoll_core::{MB, Thresholds};
    /// let refused = Thresholds::new(3_000 * MB, 2_000 * MB).unwrap_err();
    /// assert_eq!(refused.to_string(), "warning (3000MB) must be lower than critical (2000MB)");
    /// ```
    ///
    /// # Errors
    /// Refuses 0, and a warning that is not lower than the critical threshold.
    pub fn new(warning_bytes: u64, critical_bytes: u64) -> Result<Self, ThresholdError> {
        Self::of(Threshold::Bytes(warning_bytes), Threshold::Bytes(critical_bytes))
    }

    /// Takes both as [`Threshold`]s; bytes and a share of the limit can be mixed, and then
    /// their order shows in [`Thresholds::resolve`].
    ///
    /// # Errors
    /// Refuses a value outside the range of its kind, and two of the same kind that are not in
    /// order.
    pub fn of(warning: Threshold, critical: Threshold) -> Result<Self, ThresholdError> {
        Self::ordered(warning, critical, WARNING)
    }

    /// The defaults: 2000 and 3000 MB; in a container whose limit leaves no room for them, 70 %
    /// and 85 % of that limit, which follow it when it changes.
    pub fn defaults_for(limit_bytes: Option<u64>) -> Self {
        let roomy = DEFAULT_CRITICAL_BYTES as f64 / DEFAULT_CRITICAL_RATIO;
        match limit_bytes {
            Some(limit) if (limit as f64) < roomy => Self {
                warning: Threshold::OfLimit(DEFAULT_WARNING_RATIO),
                critical: Threshold::OfLimit(DEFAULT_CRITICAL_RATIO),
            },
            _ => Self {
                warning: Threshold::Bytes(DEFAULT_WARNING_BYTES),
                critical: Threshold::Bytes(DEFAULT_CRITICAL_BYTES),
            },
        }
    }

    /// Replaces what is given and keeps the rest; both change or neither.
    ///
    /// # Errors
    /// As [`Thresholds::of`]; the field at fault is one that was given.
    pub fn merged(
        self,
        warning: Option<Threshold>,
        critical: Option<Threshold>,
    ) -> Result<Self, ThresholdError> {
        let at_fault = match (warning, critical) {
            (None, Some(_)) => CRITICAL,
            _ => WARNING,
        };
        Self::ordered(warning.unwrap_or(self.warning), critical.unwrap_or(self.critical), at_fault)
    }

    fn ordered(
        warning: Threshold,
        critical: Threshold,
        field: &'static str,
    ) -> Result<Self, ThresholdError> {
        let warning = warning.checked(WARNING)?;
        let critical = critical.checked(CRITICAL)?;
        match (warning, critical) {
            (Threshold::Bytes(low), Threshold::Bytes(high)) if low >= high => {
                Err(ThresholdError::wrong_order(low, high, field))
            }
            (Threshold::OfLimit(low), Threshold::OfLimit(high)) if low >= high => {
                Err(ThresholdError::WrongOrder {
                    warning: warning.to_string(),
                    critical: critical.to_string(),
                    field,
                })
            }
            _ => Ok(Self { warning, critical }),
        }
    }

    /// The warning threshold as it was given.
    pub fn warning(&self) -> Threshold {
        self.warning
    }

    /// The critical threshold as it was given.
    pub fn critical(&self) -> Threshold {
        self.critical
    }

    /// Works out the bytes under the memory limit of the moment; `None` is "no limit".
    ///
    /// # Errors
    /// Refuses a share of the limit where there is no limit, and a pair that is out of order
    /// under this limit.
    pub fn resolve(&self, limit_bytes: Option<u64>) -> Result<Watermarks, ThresholdError> {
        Watermarks::new(
            self.warning.resolve(limit_bytes, WARNING)?,
            self.critical.resolve(limit_bytes, CRITICAL)?,
        )
    }
}

impl Default for Thresholds {
    /// 2000 and 3000 MB, the defaults without a limit.
    fn default() -> Self {
        Self::defaults_for(None)
    }
}

/// Where the levels start, in bytes: 0 < warning < critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    warning_bytes: u64,
    critical_bytes: u64,
}

impl Watermarks {
    fn new(warning_bytes: u64, critical_bytes: u64) -> Result<Self, ThresholdError> {
        if warning_bytes == 0 || warning_bytes >= critical_bytes {
            return Err(ThresholdError::wrong_order(warning_bytes, critical_bytes, WARNING));
        }
        Ok(Self { warning_bytes, critical_bytes })
    }

    /// The warning level starts here.
    pub fn warning_bytes(self) -> u64 {
        self.warning_bytes
    }

    /// The critical level starts here.
    pub fn critical_bytes(self) -> u64 {
        self.critical_bytes
    }

    /// Whether either is so near the limit (95 % of it or more) that it can fire too late, or
    /// never. `false` without a limit.
    pub fn any_above_limit(self, limit_bytes: Option<u64>) -> bool {
        // The higher of the two decides.
        limit_bytes.is_some_and(|limit| self.critical_bytes >= share_of(limit, ABOVE_LIMIT_RATIO))
    }
}

/// Who set the thresholds in force; a later one wins.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the contract fixes the order of precedence")]
pub enum ThresholdOrigin {
    /// Nobody: the defaults.
    #[default]
    Default,
    /// A file of settings.
    File,
    /// The environment of the process.
    Env,
    /// The program, or a call over HTTP while it runs.
    Api,
}

impl ThresholdOrigin {
    /// The word on the wire: `default`, `file`, `env` or `api`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Env => "env",
            Self::Api => "api",
        }
    }
}

impl fmt::Display for ThresholdOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why thresholds are refused. The text says what was given and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// None of the accepted forms.
    #[error("{value} is not a threshold; {FORMS}")]
    Malformed {
        /// What was given, quoted.
        value: String,
    },
    /// Zero or less, or not a number.
    #[error("{value} is not above 0; {FORMS}")]
    NotAboveZero {
        /// What was given, quoted.
        value: String,
        /// `warning` or `critical`, where that is known.
        field: Option<&'static str>,
    },
    /// A share above 100 %.
    #[error("{value} is more than the whole memory limit; {FORMS}")]
    AboveWhole {
        /// What was given, quoted.
        value: String,
        /// `warning` or `critical`, where that is known.
        field: Option<&'static str>,
    },
    /// A number without a unit that would be more than a terabyte.
    #[error("{value} MB looks like bytes; {FORMS}")]
    LooksLikeBytes {
        /// What was given, quoted.
        value: String,
    },
    /// The warning threshold is not below the critical one.
    #[error("warning ({warning}) must be lower than critical ({critical})")]
    WrongOrder {
        /// The warning threshold, with its unit.
        warning: String,
        /// The critical threshold, with its unit.
        critical: String,
        /// `warning` or `critical`: the one to change.
        field: &'static str,
    },
    /// A share of a limit that does not exist.
    #[error(
        "{field} is {value} of the memory limit, but there is no memory limit here; \
         give a number of MB such as 2000 or a size such as 1.5GB"
    )]
    NoLimit {
        /// The share, such as `70%`.
        value: String,
        /// `warning` or `critical`.
        field: &'static str,
    },
}

impl ThresholdError {
    /// Which threshold is at fault, `warning` or `critical`; `None` where only a single value
    /// was looked at.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Malformed { .. } | Self::LooksLikeBytes { .. } => None,
            Self::NotAboveZero { field, .. } | Self::AboveWhole { field, .. } => *field,
            Self::WrongOrder { field, .. } | Self::NoLimit { field, .. } => Some(field),
        }
    }

    fn wrong_order(warning_bytes: u64, critical_bytes: u64, field: &'static str) -> Self {
        let (low, high) = (whole_mb(warning_bytes), whole_mb(critical_bytes));
        let (warning, critical) = if low > high {
            (format!("{low}MB"), format!("{high}MB"))
        } else {
            // Rounded they could read as if they were in order.
            (
                Threshold::Bytes(warning_bytes).to_string(),
                Threshold::Bytes(critical_bytes).to_string(),
            )
        };
        Self::WrongOrder { warning, critical, field }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1 of a u64 is a u64"
)]
fn share_of(bytes: u64, ratio: f64) -> u64 {
    (bytes as f64 * ratio) as u64
}

#[cfg(test)]
mod tests;
