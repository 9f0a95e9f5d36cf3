//! What SQLite tells of tables.

use sqlx::{Row, SqliteConnection};

use crate::check::{ColumnFacts, ForeignKey, OnDelete, TableFacts};

/// All about a table; `None` when there is none of that name, or it is no table.
pub(super) async fn table(
    connection: &mut SqliteConnection,
    schema: &str,
    name: &str,
) -> Result<Option<TableFacts>, sqlx::Error> {
    let listed = sqlx::query(
        "SELECT 1 FROM pragma_table_list WHERE schema = ?1 COLLATE NOCASE \
         AND name = ?2 COLLATE NOCASE AND type = 'table'",
    );
    if listed.bind(schema).bind(name).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(None);
    }
    let rows = sqlx::query(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1, ?2) ORDER BY pk, cid",
    )
    .bind(name)
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    let mut facts = TableFacts::default();
    for row in &rows {
        let column = ColumnFacts {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            not_null: row.try_get::<i64, _>(2)? != 0,
        };
        if row.try_get::<i64, _>(3)? > 0 {
            facts.primary.push(column.name.clone());
        }
        facts.columns.push(column);
    }
    // A primary key of one integer is the table itself and has no index of its own.
    if !facts.primary.is_empty() {
        facts.indexes.push(facts.primary.clone());
    }
    for (columns, unique) in indexes(connection, schema, name).await? {
        if unique {
            facts.unique.push(columns.clone());
        }
        facts.indexes.push(columns);
    }
    Ok(Some(facts))
}

/// Indexes over plain columns and all rows.
async fn indexes(
    connection: &mut SqliteConnection,
    schema: &str,
    table: &str,
) -> Result<Vec<(Vec<String>, bool)>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT name, \"unique\" FROM pragma_index_list(?1, ?2) WHERE partial = 0")
            .bind(table)
            .bind(schema)
            .fetch_all(&mut *connection)
            .await?;
    let mut indexes = Vec::new();
    for row in &rows {
        let (index, unique): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let columns: Vec<Option<String>> =
            sqlx::query_scalar("SELECT name FROM pragma_index_info(?1, ?2) ORDER BY seqno")
                .bind(index)
                .bind(schema)
                .fetch_all(&mut *connection)
                .await?;
        // An expression has no name.
        if let Some(columns) = columns.into_iter().collect::<Option<Vec<_>>>() {
            indexes.push((columns, unique != 0));
        }
    }
    Ok(indexes)
}

/// The foreign keys of all tables of the schema that refer to the table.
pub(super) async fn foreign_keys(
    connection: &mut SqliteConnection,
    schema: &str,
    table: &str,
    primary: &[String],
) -> Result<Vec<ForeignKey>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT list.name, keys.id, keys.seq, keys.\"from\", keys.\"to\", keys.on_delete \
         FROM pragma_table_list AS list, pragma_foreign_key_list(list.name, list.schema) AS keys \
         WHERE list.schema = ?1 COLLATE NOCASE AND list.type = 'table' \
           AND keys.\"table\" = ?2 COLLATE NOCASE \
         ORDER BY list.name, keys.id, keys.seq",
    )
    .bind(schema)
    .bind(table)
    .fetch_all(connection)
    .await?;
    let mut found: Vec<(i64, ForeignKey)> = Vec::new();
    for row in &rows {
        let (child, id, at): (String, i64, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let from: String = row.try_get(3)?;
        // Without a column a key refers to the primary key.
        let named: Option<String> = row.try_get(4)?;
        let implied = usize::try_from(at).ok().and_then(|at| primary.get(at).cloned());
        let pair = (from, named.or(implied).unwrap_or_default());
        match found.last_mut() {
            Some((last, key)) if *last == id && key.table == child => key.columns.push(pair),
            _ => found.push((
                id,
                ForeignKey {
                    schema: schema.to_owned(),
                    table: child,
                    columns: vec![pair],
                    on_delete: match row.try_get::<String, _>(5)?.as_str() {
                        "CASCADE" => OnDelete::Cascade,
                        "SET NULL" | "SET DEFAULT" => OnDelete::Clears,
                        _ => OnDelete::Refuses,
                    },
                },
            )),
        }
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}
