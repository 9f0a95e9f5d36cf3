//! What a rule says, in types: no part of it is SQL.

use std::time::Duration;

use crate::{
    age::{AgeColumns, AgeKind},
    condition::{Comparison, Is},
    error::RuleError,
    identifier::Identifier,
};

/// Younger rows may still be in somebody's hands.
pub const LEAST_AGE: Duration = Duration::from_secs(60);
/// Beyond this a rule is a mistake, and dates leave what databases can hold.
pub const MOST_AGE: Duration = Duration::from_secs(100 * 366 * 86_400);
/// Values in one [`Is::one_of`].
const MOST_VALUES: usize = 100;

/// One column or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Vec<String>);

impl From<&str> for Columns {
    fn from(column: &str) -> Self {
        Self(vec![column.to_owned()])
    }
}

impl From<String> for Columns {
    fn from(column: String) -> Self {
        Self(vec![column])
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Columns {
    fn from(columns: [T; N]) -> Self {
        Self(columns.into_iter().map(Into::into).collect())
    }
}

/// Which rows of a table are deleted.
///
/// A row goes when all its age columns lie before the cutoff, no row of another table needs it,
/// and every further condition holds; both when it is looked for and, once more, when it is
/// deleted. Nothing here is checked before [`RetentionBuilder::start`](crate::RetentionBuilder::start).
///
/// ```
/// use plimsoll_retention::{Is, Rule, hours, unix_seconds};
///
/// let empty_threads = Rule::delete_from("threads")
///     .named("empty_threads")
///     .key("id")
///     .older_than(unix_seconds("created_at"), hours(2))
///     .unless_exists("messages", "thread_id");
/// let closed = Rule::delete_from("tickets")
///     .key(["shop_id", "number"])
///     .older_than([unix_seconds("opened_at"), unix_seconds("answered_at")], hours(24))
///     .only_if("state", Is::equal_to("closed"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a rule does nothing until it is given to a RetentionBuilder"]
pub struct Rule {
    name: Option<String>,
    schema: Option<String>,
    table: String,
    key: Vec<String>,
    ages: AgeColumns,
    older_than: Option<Duration>,
    unless: Vec<(String, Vec<String>)>,
    only_if: Vec<(String, Is)>,
    trust_age_only: bool,
    allow_majority: bool,
}

impl Rule {
    /// Begins a rule that deletes rows of `table`.
    pub fn delete_from(table: impl Into<String>) -> Self {
        Self {
            name: None,
            schema: None,
            table: table.into(),
            key: Vec::new(),
            ages: AgeColumns(Vec::new()),
            older_than: None,
            unless: Vec::new(),
            only_if: Vec::new(),
            trust_age_only: false,
            allow_majority: false,
        }
    }

    /// Names the rule in the report and in metrics. Default: the table's name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names the schema of all tables of the rule. Default: PostgreSQL's `current_schema()`, and
    /// `main` in SQLite.
    pub fn in_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Names the columns that tell one row from all others: a primary key, or the columns of a
    /// unique index that are all NOT NULL. Default: the table's primary key.
    pub fn key(mut self, columns: impl Into<Columns>) -> Self {
        self.key = columns.into().0;
        self
    }

    /// Sets from which age on a row is deleted, 60 s to 100 years, and what tells the age. Of
    /// several columns the newest counts; a row with a NULL in one of them is never old, nor is
    /// one from the future.
    pub fn older_than(mut self, columns: impl Into<AgeColumns>, age: Duration) -> Self {
        self.ages = columns.into();
        self.older_than = Some(age);
        self
    }

    /// Keeps a row that a row of `table` refers to by `columns`. The database has to know that
    /// reference as a foreign key.
    pub fn unless_exists(mut self, table: impl Into<String>, columns: impl Into<Columns>) -> Self {
        self.unless.push((table.into(), columns.into().0));
        self
    }

    /// Deletes only rows whose `column` is as said.
    pub fn only_if(mut self, column: impl Into<String>, is: Is) -> Self {
        self.only_if.push((column.into(), is));
        self
    }

    /// Accepts a reference that is no foreign key. Then a row that somebody begins to refer to
    /// while a batch runs is lost: only its age protects it.
    pub fn trust_age_only(mut self) -> Self {
        self.trust_age_only = true;
        self
    }

    /// Lets the rule delete more than half of a table with over 1000 rows.
    pub fn allow_majority(mut self) -> Self {
        self.allow_majority = true;
        self
    }

    /// Holds the rule against everything that can be told without the database.
    pub(crate) fn parse(&self) -> Result<Parsed, Vec<RuleError>> {
        let mut wrong = Vec::new();
        let mut name = |what, text: &str| match Identifier::new(what, text) {
            Ok(identifier) => identifier,
            Err(error) => {
                wrong.push(RuleError::Identifier(error));
                // Never used: the rule is refused.
                Identifier::new(what, "refused").expect("a name")
            }
        };
        let parsed = Parsed {
            name: name("rule", self.name.as_ref().unwrap_or(&self.table)).as_str().to_owned(),
            schema: self.schema.as_ref().map(|schema| name("schema", schema)),
            table: name("table", &self.table),
            key: self.key.iter().map(|column| name("key column", column)).collect(),
            ages: self
                .ages
                .0
                .iter()
                .map(|age| (name("age column", &age.column), age.kind))
                .collect(),
            older_than: self.older_than.unwrap_or(LEAST_AGE),
            unless: self
                .unless
                .iter()
                .map(|(table, columns)| Reference {
                    table: name("table", table),
                    columns: columns.iter().map(|column| name("column", column)).collect(),
                })
                .collect(),
            only_if: self
                .only_if
                .iter()
                .map(|(column, is)| (name("column", column), is.clone()))
                .collect(),
            trust_age_only: self.trust_age_only,
            allow_majority: self.allow_majority,
        };
        match self.older_than {
            None => wrong.push(RuleError::NoAge),
            Some(_) if self.ages.0.is_empty() => wrong.push(RuleError::NoAge),
            Some(age) if !(LEAST_AGE..=MOST_AGE).contains(&age) => wrong.push(RuleError::Age(age)),
            Some(_) => {}
        }
        for (table, _) in self.unless.iter().filter(|(_, columns)| columns.is_empty()) {
            wrong.push(RuleError::NoColumns(table.clone()));
        }
        for (column, is) in &self.only_if {
            if let Comparison::OneOf(values) = &is.0
                && !(1..=MOST_VALUES).contains(&values.len())
            {
                wrong.push(RuleError::Values { column: column.clone(), given: values.len() });
            }
        }
        if wrong.is_empty() { Ok(parsed) } else { Err(wrong) }
    }

    /// For messages about the rule.
    pub(crate) fn title(&self) -> &str {
        self.name.as_ref().unwrap_or(&self.table)
    }
}

/// A rule whose names and numbers are in order.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) name: String,
    pub(crate) schema: Option<Identifier>,
    pub(crate) table: Identifier,
    pub(crate) key: Vec<Identifier>,
    pub(crate) ages: Vec<(Identifier, AgeKind)>,
    pub(crate) older_than: Duration,
    pub(crate) unless: Vec<Reference>,
    pub(crate) only_if: Vec<(Identifier, Is)>,
    pub(crate) trust_age_only: bool,
    pub(crate) allow_majority: bool,
}

/// A reference that keeps a row.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) table: Identifier,
    pub(crate) columns: Vec<Identifier>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::age::{hours, unix_seconds};

    #[test]
    fn every_mistake_is_told_at_once() {
        let rule = Rule::delete_from("a;b")
            .key("x\"")
            .older_than(unix_seconds("c d"), Duration::from_secs(59))
            .unless_exists("m", [] as [&str; 0])
            .only_if("ok", Is::one_of([] as [i64; 0]));
        let wrong = rule.parse().unwrap_err();
        let text: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        // The table's name is the rule's as well.
        assert_eq!(text.len(), 7, "{text:#?}");
        assert!(text.iter().any(|t| t.contains("59s") && t.contains("60s")), "{text:#?}");
    }

    #[test]
    fn an_age_is_needed_and_has_bounds() {
        let rule = Rule::delete_from("t").key("id");
        assert!(matches!(rule.parse().unwrap_err()[..], [RuleError::NoAge]));
        for (age, fits) in [
            (LEAST_AGE, true),
            (MOST_AGE, true),
            (LEAST_AGE - Duration::from_nanos(1), false),
            (hours(u64::MAX), false),
        ] {
            assert_eq!(rule.clone().older_than("c", age).parse().is_ok(), fits, "{age:?}");
        }
    }
}
