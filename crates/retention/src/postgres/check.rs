//! The check at the start: what the catalog says, and whether values fit their columns.

use sqlx::PgConnection;

use super::{Postgres, catalog, query};
use crate::{
    age::AgeKind,
    check::{Facts, TableFacts, judge},
    error::RuleError,
    identifier::Identifier,
    plan::{Checked, Plan},
    rule::Parsed,
    sql::{Bind, Dialect, Statement, value_text},
};

impl Postgres {
    pub(crate) async fn check(
        &self,
        rule: &Parsed,
    ) -> Result<Result<Checked, Vec<RuleError>>, sqlx::Error> {
        let mut tx = self.begin_reading().await?;
        let schema = match &rule.schema {
            Some(schema) => schema.clone(),
            None => {
                let current = catalog::current_schema(&mut tx).await?.unwrap_or_default();
                match Identifier::new("schema", &current) {
                    Ok(schema) => schema,
                    Err(error) => return Ok(Err(vec![error.into()])),
                }
            }
        };
        let number = catalog::table(&mut tx, schema.as_str(), rule.table.as_str()).await?;
        let mut children = Vec::new();
        for child in &rule.unless {
            let number = catalog::table(&mut tx, schema.as_str(), child.table.as_str()).await?;
            children.push(facts_of(&mut tx, number).await?);
        }
        let facts = Facts {
            dialect: Dialect::Postgres,
            schema,
            table: facts_of(&mut tx, number).await?,
            children,
            foreign_keys: match number {
                Some(number) => catalog::foreign_keys(&mut tx, number).await?,
                None => Vec::new(),
            },
            enforced: true,
        };
        let checked = match judge(rule, &facts) {
            Ok(checked) => checked,
            Err(wrong) => return Ok(Err(wrong)),
        };
        drop(tx);
        let mut wrong = self.misfits(&checked.plan).await?;
        wrong.extend(self.wrong_units(&checked.plan).await?);
        Ok(if wrong.is_empty() { Ok(checked) } else { Err(wrong) })
    }

    /// Values that the database cannot read as their column's type.
    async fn misfits(&self, plan: &Plan) -> Result<Vec<RuleError>, sqlx::Error> {
        let mut wrong = Vec::new();
        for (column, value) in plan
            .only_if
            .iter()
            .flat_map(|(column, is)| is.values().iter().map(move |v| (column, v)))
        {
            let text = format!("SELECT CAST($1::text AS {}) IS NULL", column.kind);
            let binds = vec![Bind::Text(value_text(value))];
            // One that fails spoils its transaction, so each has its own.
            let mut tx = self.begin_reading().await?;
            match query(Statement { text, binds }).fetch_one(&mut *tx).await {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) => wrong.push(RuleError::Value {
                    column: column.name.as_str().to_owned(),
                    kind: column.kind.clone(),
                    reason: error.message().to_owned(),
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(wrong)
    }

    async fn wrong_units(&self, plan: &Plan) -> Result<Vec<RuleError>, sqlx::Error> {
        let mut wrong = Vec::new();
        for (column, _) in plan.ages.iter().filter(|(_, kind)| *kind == AgeKind::UnixMillis) {
            if self.count(plan.unlike_millis(column)).await? == 1 {
                wrong.push(RuleError::Unit(column.name.as_str().to_owned()));
            }
        }
        Ok(wrong)
    }
}

async fn facts_of(
    connection: &mut PgConnection,
    table: Option<i64>,
) -> Result<Option<TableFacts>, sqlx::Error> {
    let Some(table) = table else { return Ok(None) };
    let mut keys = catalog::unique_keys(connection, table).await?;
    let primary = keys.iter().position(|(is_primary, _)| *is_primary);
    Ok(Some(TableFacts {
        columns: catalog::columns(connection, table).await?,
        primary: primary.map(|at| keys.remove(at).1).unwrap_or_default(),
        unique: keys.into_iter().map(|(_, columns)| columns).collect(),
        indexes: catalog::indexes(connection, table).await?,
    }))
}
