//! Holds a rule against what a database says of its tables; the same for each database.

use crate::{
    age::AgeKind,
    error::RuleError,
    identifier::Identifier,
    plan::{Checked, Column, Link, Plan},
    rule::{Parsed, Reference},
    sql::Dialect,
};

/// A table as its database describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableFacts {
    pub(crate) columns: Vec<ColumnFacts>,
    /// The columns of the primary key, none if there is none.
    pub(crate) primary: Vec<String>,
    /// The columns of each unique index over all rows.
    pub(crate) unique: Vec<Vec<String>>,
    /// The columns of every index over all rows, in order.
    pub(crate) indexes: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(crate) struct ColumnFacts {
    pub(crate) name: String,
    /// The type as the database writes it.
    pub(crate) kind: String,
    pub(crate) not_null: bool,
}

/// A foreign key that refers to the rule's table.
#[derive(Clone, Debug)]
pub(crate) struct ForeignKey {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// Referring and referred column.
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) on_delete: OnDelete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDelete {
    Cascade,
    Clears,
    Refuses,
}

/// All that the check looks at.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) dialect: Dialect,
    pub(crate) schema: Identifier,
    pub(crate) table: Option<TableFacts>,
    /// The referring tables in the rule's order.
    pub(crate) children: Vec<Option<TableFacts>>,
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// Whether the database holds anybody to them.
    pub(crate) enforced: bool,
}

/// Makes a plan of the rule, or tells all that is wrong with it.
pub(crate) fn judge(rule: &Parsed, facts: &Facts) -> Result<Checked, Vec<RuleError>> {
    let full = |table: &Identifier| format!("{}.{}", facts.schema.as_str(), table.as_str());
    let Some(table) = &facts.table else {
        return Err(vec![RuleError::NoTable(full(&rule.table))]);
    };
    let mut judge = Judge {
        rule,
        facts,
        table,
        wrong: Vec::new(),
        warnings: Vec::new(),
        indexed: true,
        name: full(&rule.table),
    };
    let key = judge.key();
    let ages = judge.ages();
    let only_if = rule
        .only_if
        .iter()
        .filter_map(|(column, is)| Some((judge.column(column)?, is.clone())))
        .collect();
    let references = judge.references(&key);
    judge.other_references();
    if !judge.wrong.is_empty() {
        return Err(judge.wrong);
    }
    let plan = Plan {
        name: rule.name.clone(),
        schema: facts.schema.clone(),
        table: rule.table.clone(),
        older_than: rule.older_than,
        allow_majority: rule.allow_majority,
        key,
        ages,
        references,
        only_if,
        indexed: judge.indexed,
    };
    Ok(Checked { plan, warnings: judge.warnings })
}

struct Judge<'a> {
    rule: &'a Parsed,
    facts: &'a Facts,
    table: &'a TableFacts,
    name: String,
    wrong: Vec<RuleError>,
    warnings: Vec<String>,
    indexed: bool,
}

impl Judge<'_> {
    fn column(&mut self, wanted: &Identifier) -> Option<Column> {
        let (table, name) = (self.table, self.name.clone());
        let found = self.found(table, &name, wanted)?;
        Some(Column { name: wanted.clone(), kind: found.kind })
    }

    fn found(
        &mut self,
        table: &TableFacts,
        name: &str,
        wanted: &Identifier,
    ) -> Option<ColumnFacts> {
        let found = table.columns.iter().find(|column| self.same(&column.name, wanted.as_str()));
        if found.is_none() {
            let columns: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
            self.wrong.push(RuleError::NoColumn {
                table: name.to_owned(),
                column: wanted.as_str().to_owned(),
                columns: columns.join(", "),
            });
        }
        found.cloned()
    }

    /// SQLite's names do not care for case, PostgreSQL's quoted ones do.
    fn same(&self, one: &str, other: &str) -> bool {
        match self.facts.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => one.eq_ignore_ascii_case(other),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => one == other,
        }
    }

    /// The rule's key, or the table's.
    fn key(&mut self) -> Vec<Column> {
        let mut wanted = self.rule.key.clone();
        if wanted.is_empty() {
            for column in &self.table.primary {
                match Identifier::new("key column", column) {
                    Ok(column) => wanted.push(column),
                    Err(error) => self.wrong.push(error.into()),
                }
            }
            if self.table.primary.is_empty() {
                self.wrong.push(RuleError::NoKey(self.name.clone()));
            }
        }
        let before = self.wrong.len();
        let key: Vec<_> = wanted.iter().filter_map(|column| self.column(column)).collect();
        if !wanted.is_empty() && self.wrong.len() == before && !self.is_unique(&wanted) {
            let key = listed(wanted.iter().map(Identifier::as_str));
            self.wrong.push(RuleError::NotUnique { table: self.name.clone(), key });
        }
        key
    }

    fn is_unique(&self, key: &[Identifier]) -> bool {
        let within = |columns: &[String]| {
            !columns.is_empty()
                && columns.iter().all(|c| key.iter().any(|k| self.same(k.as_str(), c)))
        };
        let not_null = |column: &String| {
            self.table.columns.iter().any(|c| self.same(&c.name, column) && c.not_null)
        };
        within(&self.table.primary)
            || self.table.unique.iter().any(|u| within(u) && u.iter().all(not_null))
    }

    fn ages(&mut self) -> Vec<(Column, AgeKind)> {
        let mut ages = Vec::new();
        for (wanted, kind) in &self.rule.ages {
            let Some(column) = self.column(wanted) else { continue };
            match accepted(self.facts.dialect, *kind, &column.kind) {
                Ok(()) => ages.push((column, *kind)),
                Err(accepted) => self.wrong.push(RuleError::Kind {
                    column: wanted.as_str().to_owned(),
                    kind: kind.as_str(),
                    found: column.kind,
                    accepted,
                }),
            }
        }
        let leads = |index: &Vec<String>| {
            let first = index.first();
            first.is_some_and(|f| ages.iter().any(|(age, _)| self.same(f, age.name.as_str())))
        };
        if let Some((age, _)) = ages.first()
            && !self.table.indexes.iter().any(leads)
        {
            self.advise_index(&self.rule.table.clone(), std::slice::from_ref(&age.name));
        }
        ages
    }

    fn advise_index(&mut self, table: &Identifier, columns: &[Identifier]) {
        let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
        self.warnings.push(format!(
            "no index helps to find the rows, so each batch reads the table; consider: CREATE \
             INDEX ON {}.{table} ({})",
            self.facts.schema,
            columns.join(", "),
        ));
        // SQLite wants a name, in front of which the schema stands.
        #[cfg(feature = "sqlite")]
        if self.facts.dialect == Dialect::Sqlite
            && let Some(text) = self.warnings.last_mut()
        {
            let name = format!("{}_{}", table.as_str(), columns.join("_").replace('"', ""));
            *text = text.replace(
                &format!("INDEX ON {}.{table}", self.facts.schema),
                &format!("INDEX {}.\"{name}\" ON {table}", self.facts.schema),
            );
        }
    }

    fn references(&mut self, key: &[Column]) -> Vec<Link> {
        let rule = self.rule;
        rule.unless
            .iter()
            .enumerate()
            .filter_map(|(at, wanted)| self.link(at, wanted, key))
            .collect()
    }

    fn link(&mut self, at: usize, wanted: &Reference, key: &[Column]) -> Option<Link> {
        let facts = self.facts;
        let child = format!("{}.{}", facts.schema.as_str(), wanted.table.as_str());
        let Some(table) = facts.children.get(at).and_then(Option::as_ref) else {
            self.wrong.push(RuleError::NoTable(child));
            return None;
        };
        let before = self.wrong.len();
        for column in &wanted.columns {
            self.found(table, &child, column);
        }
        if self.wrong.len() > before {
            return None;
        }
        let leads = |index: &Vec<String>| {
            index.len() >= wanted.columns.len()
                && index[..wanted.columns.len()]
                    .iter()
                    .all(|c| wanted.columns.iter().any(|w| self.same(w.as_str(), c)))
        };
        if !table.indexes.iter().any(leads) {
            self.indexed = false;
            self.advise_index(&wanted.table, &wanted.columns);
        }
        let columns = listed(wanted.columns.iter().map(Identifier::as_str));
        if facts.enforced
            && let Some(found) = facts.foreign_keys.iter().find(|f| self.is_of(f, wanted))
        {
            if found.on_delete == OnDelete::Cascade {
                self.warnings.push(format!(
                    "{child} ({columns}) is ON DELETE CASCADE: rows that refer to a row are kept \
                     by this rule, but any other deletion takes them along without a word"
                ));
            }
            return self.paired(found, wanted);
        }
        if !self.rule.trust_age_only {
            let table = self.name.clone();
            self.wrong.push(RuleError::NoForeignKey { child, columns, table });
            return None;
        }
        if key.len() != wanted.columns.len() {
            let key = listed(key.iter().map(|column| column.name.as_str()));
            self.wrong.push(RuleError::Unmatched { child, columns, key });
            return None;
        }
        let parents = key.iter().map(|column| column.name.clone());
        let columns = wanted.columns.iter().cloned().zip(parents).collect();
        Some(Link { table: wanted.table.clone(), columns })
    }

    /// Whether a foreign key is the reference that the rule means: all of its columns, no others.
    fn is_of(&self, key: &ForeignKey, wanted: &Reference) -> bool {
        self.same(&key.schema, self.facts.schema.as_str())
            && self.same(&key.table, wanted.table.as_str())
            && key.columns.len() == wanted.columns.len()
            && wanted
                .columns
                .iter()
                .all(|w| key.columns.iter().any(|(child, _)| self.same(child, w.as_str())))
    }

    fn paired(&mut self, key: &ForeignKey, wanted: &Reference) -> Option<Link> {
        let mut columns = Vec::new();
        for column in &wanted.columns {
            let (_, parent) = key.columns.iter().find(|(c, _)| self.same(c, column.as_str()))?;
            match Identifier::new("referred column", parent) {
                Ok(parent) => columns.push((column.clone(), parent)),
                Err(error) => self.wrong.push(error.into()),
            }
        }
        Some(Link { table: wanted.table.clone(), columns })
    }

    /// Foreign keys that the rule does not speak of.
    fn other_references(&mut self) {
        let (rule, facts) = (self.rule, self.facts);
        for key in &facts.foreign_keys {
            if rule.unless.iter().any(|wanted| self.is_of(key, wanted)) {
                continue;
            }
            let child = format!("{}.{}", key.schema, key.table);
            let columns = listed(key.columns.iter().map(|(column, _)| column.as_str()));
            let what = match key.on_delete {
                OnDelete::Cascade => "go with each row deleted (ON DELETE CASCADE)",
                OnDelete::Clears => "lose their reference with each row deleted",
                OnDelete::Refuses => "keep a batch from being deleted while they refer to it",
            };
            self.warnings.push(format!(
                "rows of {child} ({columns}) {what}; Rule::unless_exists keeps rows that are \
                 referred to"
            ));
        }
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a column's type can hold the kind declared; else those that can.
fn accepted(dialect: Dialect, kind: AgeKind, found: &str) -> Result<(), &'static str> {
    let found = found.to_ascii_lowercase();
    let starts = |accepted: &[&str]| accepted.iter().any(|word| found.starts_with(word));
    let (fits, accepted) = match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            // SQLite's own rules for the affinity of a declared type.
            let is_text = ["char", "clob", "text"].iter().any(|word| found.contains(word));
            let is_integer = found.contains("int");
            match kind {
                AgeKind::TimestampTz => (
                    false,
                    "unix_seconds, unix_millis and iso_text columns; SQLite has no timestamps",
                ),
                AgeKind::IsoText => (
                    !is_integer && !starts(&["real", "floa", "doub"]),
                    "types without INT, REAL, FLOA and DOUB in them, such as TEXT and DATETIME",
                ),
                _ => (
                    is_integer || !is_text,
                    "types without CHAR, CLOB and TEXT in them, such as INTEGER",
                ),
            }
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => match kind {
            AgeKind::TimestampTz => (
                found.starts_with("timestamp") && found.ends_with("with time zone"),
                "timestamp with time zone (a timestamp without one names no moment)",
            ),
            AgeKind::IsoText => (starts(&["text", "character"]), "text, varchar and char"),
            _ => (
                starts(&["bigint", "integer", "numeric", "double precision"]),
                "bigint, integer, numeric and double precision",
            ),
        },
    };
    if fits { Ok(()) } else { Err(accepted) }
}
