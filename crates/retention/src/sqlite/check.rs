//! The check at the start: what the schema says, and whether the units can be right.

use super::{Sqlite, catalog};
use crate::{
    age::AgeKind,
    check::{Facts, judge},
    error::RuleError,
    identifier::Identifier,
    plan::Checked,
    rule::Parsed,
    sql::Dialect,
};

impl Sqlite {
    pub(crate) async fn check(
        &self,
        rule: &Parsed,
    ) -> Result<Result<Checked, Vec<RuleError>>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let schema = match &rule.schema {
            Some(schema) => schema.clone(),
            None => Identifier::new("schema", "main").expect("a name"),
        };
        let table = catalog::table(&mut connection, schema.as_str(), rule.table.as_str()).await?;
        let mut children = Vec::new();
        for child in &rule.unless {
            let child = child.table.as_str();
            children.push(catalog::table(&mut connection, schema.as_str(), child).await?);
        }
        let primary = table.as_ref().map_or(&[][..], |table| &table.primary);
        let foreign_keys =
            catalog::foreign_keys(&mut connection, schema.as_str(), rule.table.as_str(), primary)
                .await?;
        // Each connection says for itself whether it is held to foreign keys; the pool's are alike.
        let enforced: i64 =
            sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut *connection).await?;
        drop(connection);
        let facts = Facts {
            dialect: Dialect::Sqlite,
            schema,
            table,
            children,
            foreign_keys,
            enforced: enforced == 1,
        };
        let checked = match judge(rule, &facts) {
            Ok(checked) => checked,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let mut wrong = Vec::new();
        let millis = checked.plan.ages.iter().filter(|(_, kind)| *kind == AgeKind::UnixMillis);
        for (column, _) in millis {
            if self.count(checked.plan.unlike_millis(column)).await? == 1 {
                wrong.push(RuleError::Unit(column.name.as_str().to_owned()));
            }
        }
        Ok(if wrong.is_empty() { Ok(checked) } else { Err(wrong) })
    }
}
