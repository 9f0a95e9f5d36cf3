//! The statements of a rule, written in one place so that looking and deleting ask the same.

mod age;

use crate::{
    condition::{Comparison, Is, Value},
    plan::{Column, Cutoff, Plan},
};

/// Whose SQL is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A value that travels beside the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    Integer(i64),
    Text(String),
    #[cfg(feature = "postgres")]
    Texts(Vec<String>),
}

/// A statement with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) binds: Vec<Bind>,
}

struct Writer<'a> {
    dialect: Dialect,
    plan: &'a Plan,
    binds: Vec<Bind>,
}

/// Where in its table a run has come to: the first age column of the last row, as text.
pub(crate) type Position<'a> = Option<&'a str>;

impl Plan {
    /// Keys of rows that match, oldest first, locked; rows that others have locked are left out.
    /// Columns: each key as text, then the position.
    #[cfg(feature = "postgres")]
    pub(crate) fn lock_victims(&self, cutoff: Cutoff, from: Position<'_>, limit: i64) -> Statement {
        let mut writer = Writer::new(Dialect::Postgres, self);
        let keys = writer.keys_as_text();
        let matching = writer.matching(cutoff, from);
        let limit = writer.bind(Bind::Integer(limit));
        let (table, age) = (self.full_table(), &self.ages[0].0.name);
        writer.done(format!(
            "SELECT {keys}, victim.{age}::text FROM {table} AS victim WHERE {matching} \
             ORDER BY victim.{age} LIMIT {limit} FOR UPDATE OF victim SKIP LOCKED"
        ))
    }

    /// Deletes those of the rows named that match still. `keys` holds the texts of one key column
    /// each.
    #[cfg(feature = "postgres")]
    pub(crate) fn delete_locked(&self, cutoff: Cutoff, keys: Vec<Vec<String>>) -> Statement {
        let mut writer = Writer::new(Dialect::Postgres, self);
        let arrays: Vec<_> = keys
            .into_iter()
            .map(|texts| format!("{}::text[]", writer.bind(Bind::Texts(texts))))
            .collect();
        let names: Vec<_> = (0..self.key.len()).map(|at| format!("key{at}")).collect();
        let typed: Vec<_> = names
            .iter()
            .zip(&self.key)
            .map(|(name, column)| format!("CAST(picked.{name} AS {})", column.kind))
            .collect();
        let matching = writer.matching(cutoff, None);
        writer.done(format!(
            "DELETE FROM {table} AS victim WHERE ({key}) IN (SELECT {typed} FROM \
             unnest({arrays}) AS picked({names})) AND {matching}",
            table = self.full_table(),
            key = self.key_columns("victim."),
            typed = typed.join(", "),
            arrays = arrays.join(", "),
            names = names.join(", "),
        ))
    }

    /// Deletes the oldest rows that match, and tells for each its position. Safe where nobody
    /// else can write meanwhile.
    #[cfg(feature = "sqlite")]
    pub(crate) fn delete_oldest(
        &self,
        cutoff: Cutoff,
        from: Position<'_>,
        limit: i64,
    ) -> Statement {
        let mut writer = Writer::new(Dialect::Sqlite, self);
        let matching = writer.matching(cutoff, from);
        let limit = writer.bind(Bind::Integer(limit));
        let (table, age) = (self.full_table(), &self.ages[0].0.name);
        writer.done(format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {picked} FROM {table} AS victim \
             WHERE {matching} ORDER BY victim.{age} LIMIT {limit}) RETURNING CAST({age} AS TEXT)",
            key = self.key_columns(""),
            picked = self.key_columns("victim."),
        ))
    }

    /// How many rows match, counted up to `most`.
    pub(crate) fn count_matching(&self, dialect: Dialect, cutoff: Cutoff, most: i64) -> Statement {
        let mut writer = Writer::new(dialect, self);
        let matching = writer.matching(cutoff, None);
        let most = writer.bind(Bind::Integer(most));
        let table = self.full_table();
        writer.done(format!(
            "SELECT count(*) FROM (SELECT 1 AS one FROM {table} AS victim WHERE {matching} \
             LIMIT {most}) AS matching"
        ))
    }

    /// How many rows there are, counted up to `most`.
    pub(crate) fn count_all(&self, dialect: Dialect, most: i64) -> Statement {
        let mut writer = Writer::new(dialect, self);
        let most = writer.bind(Bind::Integer(most));
        let table = self.full_table();
        writer.done(format!(
            "SELECT count(*) FROM (SELECT 1 AS one FROM {table} LIMIT {most}) AS everything"
        ))
    }

    /// Keys of the oldest rows that match, each key column as text.
    pub(crate) fn sample(&self, dialect: Dialect, cutoff: Cutoff, most: i64) -> Statement {
        let mut writer = Writer::new(dialect, self);
        let keys = writer.keys_as_text();
        let matching = writer.matching(cutoff, None);
        let most = writer.bind(Bind::Integer(most));
        let (table, age) = (self.full_table(), &self.ages[0].0.name);
        writer.done(format!(
            "SELECT {keys} FROM {table} AS victim WHERE {matching} ORDER BY victim.{age} \
             LIMIT {most}"
        ))
    }

    /// 1 when all of the first thousand numbers of a column make sense as seconds since 1970 and
    /// none as milliseconds, which would all lie in the first years after 1970.
    pub(crate) fn unlike_millis(&self, column: &Column) -> Statement {
        let (table, name) = (self.full_table(), &column.name);
        let text = format!(
            "SELECT CAST(CASE WHEN min(moment) > 100000000 AND max(moment) < 100000000000 THEN 1 \
             ELSE 0 END AS bigint) FROM (SELECT {name} AS moment FROM {table} \
             WHERE {name} IS NOT NULL LIMIT 1000) AS looked_at"
        );
        Statement { text, binds: Vec::new() }
    }

    fn key_columns(&self, before: &str) -> String {
        let columns: Vec<_> =
            self.key.iter().map(|column| format!("{before}{}", column.name)).collect();
        columns.join(", ")
    }
}

impl<'a> Writer<'a> {
    fn new(dialect: Dialect, plan: &'a Plan) -> Self {
        Self { dialect, plan, binds: Vec::new() }
    }

    fn done(self, text: String) -> Statement {
        Statement { text, binds: self.binds }
    }

    /// The placeholder of a value.
    fn bind(&mut self, value: Bind) -> String {
        self.binds.push(value);
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => format!("?{}", self.binds.len()),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("${}", self.binds.len()),
        }
    }

    fn keys_as_text(&self) -> String {
        let keys = self.plan.key.iter().map(|key| format!("CAST(victim.{} AS TEXT)", key.name));
        keys.collect::<Vec<_>>().join(", ")
    }

    /// The whole condition on `victim`.
    fn matching(&mut self, cutoff: Cutoff, from: Position<'_>) -> String {
        let plan = self.plan;
        let mut all = Vec::new();
        for (column, kind) in &plan.ages {
            all.push(self.is_old(column, *kind, cutoff));
        }
        if let Some(from) = from {
            all.push(self.is_further(&plan.ages[0], from));
        }
        for (at, link) in plan.references.iter().enumerate() {
            let pairs: Vec<_> = link
                .columns
                .iter()
                .map(|(child, parent)| format!("child{at}.{child} = victim.{parent}"))
                .collect();
            all.push(format!(
                "NOT EXISTS (SELECT 1 FROM {}.{} AS child{at} WHERE {})",
                plan.schema,
                link.table,
                pairs.join(" AND "),
            ));
        }
        for (column, is) in &plan.only_if {
            all.push(self.compared(column, is));
        }
        // SQLite lets a primary key be NULL, and NULL is in no list.
        #[cfg(feature = "sqlite")]
        if self.dialect == Dialect::Sqlite {
            all.extend(plan.key.iter().map(|key| format!("victim.{} IS NOT NULL", key.name)));
        }
        all.join(" AND ")
    }

    fn compared(&mut self, column: &Column, is: &Is) -> String {
        let values: Vec<_> =
            is.values().iter().map(|value| self.value(value, &column.kind)).collect();
        let column = format!("victim.{}", column.name);
        match &is.0 {
            Comparison::Compared(operator, _) => format!("{column} {operator} {}", values[0]),
            Comparison::OneOf(_) => format!("{column} IN ({})", values.join(", ")),
            Comparison::Null => format!("{column} IS NULL"),
            Comparison::NotNull => format!("{column} IS NOT NULL"),
        }
    }

    fn value(&mut self, value: &Value, kind: &str) -> String {
        match self.dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                let _ = kind;
                self.bind(match value {
                    Value::Integer(number) => Bind::Integer(*number),
                    Value::Text(text) => Bind::Text(text.clone()),
                    Value::Boolean(yes) => Bind::Integer(i64::from(*yes)),
                })
            }
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let text = value_text(value);
                format!("CAST({}::text AS {kind})", self.bind(Bind::Text(text)))
            }
        }
    }
}

/// A value as PostgreSQL reads it.
#[cfg(feature = "postgres")]
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Boolean(yes) => yes.to_string(),
    }
}
