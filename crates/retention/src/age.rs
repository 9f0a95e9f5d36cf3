//! The columns that tell how old a row is.

use std::time::Duration;

/// Hours, for rules.
pub const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3_600))
}

/// Minutes, for rules.
pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

/// Days of 24 hours, for rules.
pub const fn days(days: u64) -> Duration {
    hours(days.saturating_mul(24))
}

/// How a column holds a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AgeKind {
    /// PostgreSQL's `timestamp with time zone`.
    TimestampTz,
    /// A number: seconds since 1970.
    UnixSeconds,
    /// A number: milliseconds since 1970.
    UnixMillis,
    /// A text such as `2026-01-08T10:30:00Z`, `2026-01-08 10:30:00` or with `+02:00` behind it.
    /// Without a zone it is taken as UTC. A text that is none of these is never old.
    IsoText,
}

impl AgeKind {
    /// The word in messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TimestampTz => "timestamptz",
            Self::UnixSeconds => "unix_seconds",
            Self::UnixMillis => "unix_millis",
            Self::IsoText => "iso_text",
        }
    }
}

/// A column that tells the age of a row, with how it does so.
///
/// A plain text is a [`timestamptz`] column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeColumn {
    pub(crate) column: String,
    pub(crate) kind: AgeKind,
}

/// A column of PostgreSQL's `timestamp with time zone`.
pub fn timestamptz(column: impl Into<String>) -> AgeColumn {
    AgeColumn { column: column.into(), kind: AgeKind::TimestampTz }
}

/// A column of seconds since 1970.
pub fn unix_seconds(column: impl Into<String>) -> AgeColumn {
    AgeColumn { column: column.into(), kind: AgeKind::UnixSeconds }
}

/// A column of milliseconds since 1970.
pub fn unix_millis(column: impl Into<String>) -> AgeColumn {
    AgeColumn { column: column.into(), kind: AgeKind::UnixMillis }
}

/// A column of ISO 8601 texts; see [`AgeKind::IsoText`].
pub fn iso_text(column: impl Into<String>) -> AgeColumn {
    AgeColumn { column: column.into(), kind: AgeKind::IsoText }
}

impl From<&str> for AgeColumn {
    fn from(column: &str) -> Self {
        timestamptz(column)
    }
}

/// One age column or several, of which the newest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeColumns(pub(crate) Vec<AgeColumn>);

impl<T: Into<AgeColumn>> From<T> for AgeColumns {
    fn from(column: T) -> Self {
        Self(vec![column.into()])
    }
}

impl<T: Into<AgeColumn>, const N: usize> From<[T; N]> for AgeColumns {
    fn from(columns: [T; N]) -> Self {
        Self(columns.into_iter().map(Into::into).collect())
    }
}

impl From<Vec<AgeColumn>> for AgeColumns {
    fn from(columns: Vec<AgeColumn>) -> Self {
        Self(columns)
    }
}
