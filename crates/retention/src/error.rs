//! Why rules do not start.

use std::{fmt, time::Duration};

use plimsoll_core::RetentionAttached;

use crate::{
    identifier::IdentifierError,
    rule::{LEAST_AGE, MOST_AGE},
};

/// Why database rules did not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// Rules that cannot be used, each with every reason.
    #[error("{0}")]
    Rules(RefusedRules),
    /// Two rules have one name.
    #[error("two rules are named {name:?}; give one of them another name with Rule::named")]
    SameName {
        /// The name.
        name: String,
    },
    /// There is no rule.
    #[error("no rule was given")]
    NoRules,
    /// The time between runs is out of range.
    #[error("the interval is {given:?}; accepted are 1s to 7days")]
    Interval {
        /// The interval given.
        given: Duration,
    },
    /// The database did not answer.
    #[error("the database could not be asked about its tables")]
    Database(#[from] sqlx::Error),
    /// Rules are running for this process already.
    #[error(transparent)]
    Attached(#[from] RetentionAttached),
    /// Rules run on a Tokio runtime, and there is none here.
    #[error("no tokio runtime here; call start inside #[tokio::main] or after Runtime::enter")]
    NoRuntime,
}

/// The rules that cannot be used.
#[derive(Debug)]
pub struct RefusedRules(pub(crate) Vec<(String, Vec<RuleError>)>);

impl RefusedRules {
    /// Each rule's name with the reasons.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[RuleError])> {
        self.0.iter().map(|(rule, reasons)| (rule.as_str(), reasons.as_slice()))
    }
}

impl fmt::Display for RefusedRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (rule, reason) in self.iter().flat_map(|(rule, all)| all.iter().map(move |r| (rule, r)))
        {
            let between = if first { "" } else { "; " };
            // Debug: the name may be what is wrong.
            write!(f, "{between}rule {rule:?}: {reason}")?;
            first = false;
        }
        Ok(())
    }
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A name is none.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// No age was given.
    #[error("no age; say Rule::older_than with a column and an age")]
    NoAge,
    /// The age is out of range.
    #[error("older than {0:?}; accepted are {LEAST_AGE:?} to {MOST_AGE:?} (100 years)")]
    Age(Duration),
    /// A reference without columns.
    #[error("unless_exists names no column of {0:?}")]
    NoColumns(String),
    /// Too few or too many values.
    #[error("{given} values for {column:?}; accepted are 1 to 100")]
    Values {
        /// The column.
        column: String,
        /// How many were given.
        given: usize,
    },
    /// The table is not there.
    #[error("no table {0}")]
    NoTable(String),
    /// The column is not there.
    #[error("table {table} has no column {column}; it has {columns}")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Those that are there.
        columns: String,
    },
    /// No key tells the table's rows apart.
    #[error(
        "table {0} has no primary key, and the rule names none; rows without a key cannot be \
         deleted safely"
    )]
    NoKey(String),
    /// The key names more than one row.
    #[error(
        "({key}) is no key of table {table}: there is no primary key and no unique index on NOT \
         NULL columns among them"
    )]
    NotUnique {
        /// The table.
        table: String,
        /// The columns named.
        key: String,
    },
    /// A column cannot hold what it was said to hold.
    #[error("column {column} is {found:?} and cannot be {kind}; accepted are {accepted}")]
    Kind {
        /// The column.
        column: String,
        /// The kind declared in the rule.
        kind: &'static str,
        /// The type found in the database.
        found: String,
        /// Types that would do.
        accepted: &'static str,
    },
    /// A column of milliseconds looks like one of seconds.
    #[error(
        "column {0} was said to hold milliseconds, but what it holds looks like seconds; declare \
         it unix_seconds"
    )]
    Unit(String),
    /// No foreign key stands behind a reference.
    #[error(
        "no enforced foreign key from {child} ({columns}) to {table}: a row that somebody begins \
         to refer to while a batch runs would be lost; add the key, or say Rule::trust_age_only"
    )]
    NoForeignKey {
        /// The table that refers.
        child: String,
        /// Its columns.
        columns: String,
        /// The rule's table.
        table: String,
    },
    /// The columns of a reference cannot be matched with the key.
    #[error("{child} ({columns}) cannot be matched with the key ({key})")]
    Unmatched {
        /// The table that refers.
        child: String,
        /// Its columns.
        columns: String,
        /// The rule's key.
        key: String,
    },
    /// A value does not fit its column.
    #[error("value for column {column} of type {kind}: {reason}")]
    Value {
        /// The column.
        column: String,
        /// The column's type.
        kind: String,
        /// What the database says.
        reason: String,
    },
}
