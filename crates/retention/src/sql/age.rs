//! "Is old" and "lies further on" for each kind of age column.
//!
//! Each holds the bare column against a value as well, so that an index can be used.

use super::{Bind, Dialect, Writer};
use crate::{
    age::AgeKind,
    plan::{Column, Cutoff},
};

/// A moment in ISO 8601 that PostgreSQL reads without an error, the day of the month apart.
#[cfg(feature = "postgres")]
const ISO_PATTERN: &str = "^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]\
     ([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?\
     (Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?$";

impl Writer<'_> {
    /// NULL never is, nor is the future: the comparison is strict and the cutoff lies behind.
    pub(super) fn is_old(&mut self, column: &Column, kind: AgeKind, cutoff: Cutoff) -> String {
        let name = format!("victim.{}", column.name);
        match (self.dialect, kind) {
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, AgeKind::IsoText) => {
                let date = self.bind(Bind::Text(cutoff.date_beyond()));
                let millis = self.bind(Bind::Integer(cutoff.millis()));
                // A bare number or a time of day is a moment too for SQLite, hence the pattern.
                format!(
                    "({name} < {date} AND typeof({name}) = 'text' AND {name} GLOB \
                     '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' AND \
                     round(unixepoch({name}, 'subsec') * 1000) < {millis})"
                )
            }
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, _) => {
                let number = self.bind(Bind::Integer(unix(kind, cutoff)));
                format!("({name} < {number} AND typeof({name}) IN ('integer', 'real'))")
            }
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, AgeKind::TimestampTz) => {
                // Whole microseconds are exact in the interval's arithmetic until the year 2255.
                let micros = self.bind(Bind::Integer(cutoff.micros()));
                format!(
                    "{name} < timestamptz '1970-01-01 00:00:00+00' + {micros}::bigint * \
                     interval '1 microsecond'"
                )
            }
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, AgeKind::IsoText) => {
                let date = self.bind(Bind::Text(cutoff.date_beyond()));
                let micros = self.bind(Bind::Integer(cutoff.micros()));
                // The day is added apart: a 31st of a shorter month must not fail the statement.
                format!(
                    "({name} COLLATE \"C\" < {date}::text AND CASE WHEN {name} ~ '{ISO_PATTERN}' THEN \
                     (substr({name}, 1, 7) || '-01 ' || substr({name}, 12))::timestamptz \
                     + (substr({name}, 9, 2)::int - 1) * interval '1 day' \
                     < timestamptz '1970-01-01 00:00:00+00' + {micros}::bigint * \
                     interval '1 microsecond' ELSE false END)"
                )
            }
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, _) => {
                let number = self.bind(Bind::Integer(unix(kind, cutoff)));
                format!("{name} < {number}::bigint")
            }
        }
    }

    /// At the position or behind it, in the order in which rows are looked for.
    pub(super) fn is_further(&mut self, (column, kind): &(Column, AgeKind), from: &str) -> String {
        let name = format!("victim.{}", column.name);
        match (self.dialect, kind) {
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, AgeKind::IsoText) => {
                let from = self.bind(Bind::Text(from.to_owned()));
                format!("{name} >= {from}")
            }
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, _) => {
                let from = self.bind(Bind::Text(from.to_owned()));
                format!("{name} >= CAST({from} AS NUMERIC)")
            }
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, _) => {
                let from = self.bind(Bind::Text(from.to_owned()));
                format!("{name} >= CAST({from}::text AS {})", column.kind)
            }
        }
    }
}

fn unix(kind: AgeKind, cutoff: Cutoff) -> i64 {
    match kind {
        AgeKind::UnixMillis => cutoff.millis(),
        _ => cutoff.seconds(),
    }
}
