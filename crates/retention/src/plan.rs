//! A rule that was held against its database: all that a statement is written from.

use std::time::Duration;

use crate::{age::AgeKind, condition::Is, identifier::Identifier};

/// A checked rule. What does not come from an [`Identifier`] is a type's name as the database
/// itself writes it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) schema: Identifier,
    pub(crate) table: Identifier,
    pub(crate) older_than: Duration,
    pub(crate) allow_majority: bool,
    pub(crate) key: Vec<Column>,
    pub(crate) ages: Vec<(Column, AgeKind)>,
    pub(crate) references: Vec<Link>,
    pub(crate) only_if: Vec<(Column, Is)>,
    /// Whether an index leads to the rows that refer to a row, for every reference.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite joins by index anyway")
    )]
    pub(crate) indexed: bool,
}

/// A column with its type.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: Identifier,
    pub(crate) kind: String,
}

/// A table that refers to the rule's: its columns, each with the column that it refers to.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) table: Identifier,
    pub(crate) columns: Vec<(Identifier, Identifier)>,
}

/// What the check of a rule found.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) plan: Plan,
    /// What works but should be known: a cascade, a missing index.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// `"main"."threads"`.
    pub(crate) fn full_table(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// What names this rule among all that use the database.
    #[cfg(feature = "postgres")]
    pub(crate) fn lock_key(&self) -> i64 {
        lock_key(&self.full_table(), &self.name)
    }
}

/// FNV-1a, which is the same in every version of ours, so that old and new instances agree.
#[cfg(feature = "postgres")]
pub(crate) fn lock_key(table: &str, rule: &str) -> i64 {
    let name = format!("plimsoll-retention:{table}:{rule}");
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

/// The moment before which rows are old: one for a whole run, by the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cutoff {
    /// Microseconds since 1970.
    micros: i64,
}

impl Cutoff {
    /// `now` in microseconds since 1970; `None` when the database's clock is before that.
    pub(crate) fn before(now: i64, age: Duration) -> Option<Self> {
        let age = i64::try_from(age.as_micros()).ok()?;
        let micros = now.checked_sub(age)?;
        (now > 0).then_some(Self { micros })
    }

    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn micros(self) -> i64 {
        self.micros
    }

    /// Rounded down: a moment that was cut to its second or millisecond may lie anywhere in it,
    /// and is only taken for old when all of that is.
    pub(crate) fn millis(self) -> i64 {
        self.micros.div_euclid(1_000)
    }

    pub(crate) fn seconds(self) -> i64 {
        self.micros.div_euclid(1_000_000)
    }

    /// For people and for the report.
    pub(crate) fn rfc3339(self) -> String {
        plimsoll_core::rfc3339(Duration::from_micros(u64::try_from(self.micros).unwrap_or(0)))
    }

    /// A date that is greater, as text, than every ISO text of an older moment in whatever zone.
    pub(crate) fn date_beyond(self) -> String {
        let beyond = Self { micros: self.micros.saturating_add(2 * 86_400_000_000) };
        let mut text = beyond.rfc3339();
        text.truncate(10);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cutoff_is_rounded_so_that_rows_stay() {
        let now = 1_767_868_200_999_999;
        let cutoff = Cutoff::before(now, Duration::from_secs(7_200)).unwrap();
        assert_eq!(cutoff.micros(), 1_767_861_000_999_999);
        assert_eq!(cutoff.millis(), 1_767_861_000_999);
        assert_eq!(cutoff.seconds(), 1_767_861_000);
        assert_eq!(cutoff.rfc3339(), "2026-01-08T08:30:00Z");
        assert_eq!(cutoff.date_beyond(), "2026-01-10");
        assert_eq!(Cutoff::before(-5, Duration::from_secs(60)), None);
        assert_eq!(Cutoff::before(now, Duration::MAX), None);
    }
}
