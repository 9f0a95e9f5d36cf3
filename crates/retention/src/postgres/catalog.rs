//! What PostgreSQL's catalog tells of tables.

use sqlx::{PgConnection, Row};

use crate::check::{ColumnFacts, ForeignKey, OnDelete};

pub(super) async fn current_schema(
    connection: &mut PgConnection,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT current_schema()::text").fetch_one(connection).await
}

/// The table's number; `None` when there is none of that name, or it is no table.
pub(super) async fn table(
    connection: &mut PgConnection,
    schema: &str,
    name: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT c.oid::bigint FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
    )
    .bind(schema)
    .bind(name)
    .fetch_optional(connection)
    .await
}

pub(super) async fn columns(
    connection: &mut PgConnection,
    table: i64,
) -> Result<Vec<ColumnFacts>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull \
         FROM pg_catalog.pg_attribute \
         WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ColumnFacts {
                name: row.try_get(0)?,
                kind: row.try_get(1)?,
                not_null: row.try_get(2)?,
            })
        })
        .collect()
}

/// Unique indexes over plain columns and all rows, the primary key first, each with its columns.
pub(super) async fn unique_keys(
    connection: &mut PgConnection,
    table: i64,
) -> Result<Vec<(bool, Vec<String>)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.at) \
         FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, at) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate \
           AND i.indpred IS NULL AND i.indexprs IS NULL AND k.at <= i.indnkeyatts \
         GROUP BY i.indexrelid, i.indisprimary ORDER BY i.indisprimary DESC, i.indexrelid",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// The leading columns of each index over all rows.
pub(super) async fn indexes(
    connection: &mut PgConnection,
    table: i64,
) -> Result<Vec<Vec<String>>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT array_agg(a.attname::text ORDER BY k.at) \
         FROM pg_catalog.pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, at) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indpred IS NULL \
           AND i.indexprs IS NULL AND k.at <= i.indnkeyatts \
         GROUP BY i.indexrelid",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The foreign keys that refer to the table.
pub(super) async fn foreign_keys(
    connection: &mut PgConnection,
    table: i64,
) -> Result<Vec<ForeignKey>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT n.nspname::text, t.relname::text, c.confdeltype::text, \
           array_agg(child.attname::text ORDER BY k.at), \
           array_agg(parent.attname::text ORDER BY k.at) \
         FROM pg_catalog.pg_constraint c \
         JOIN pg_catalog.pg_class t ON t.oid = c.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k(child, parent, at) \
         JOIN pg_catalog.pg_attribute child \
           ON child.attrelid = c.conrelid AND child.attnum = k.child \
         JOIN pg_catalog.pg_attribute parent \
           ON parent.attrelid = c.confrelid AND parent.attnum = k.parent \
         WHERE c.contype = 'f' AND c.confrelid = $1::oid \
         GROUP BY c.oid, n.nspname, t.relname, c.confdeltype",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let (children, parents): (Vec<String>, Vec<String>) =
                (row.try_get(3)?, row.try_get(4)?);
            Ok(ForeignKey {
                schema: row.try_get(0)?,
                table: row.try_get(1)?,
                columns: children.into_iter().zip(parents).collect(),
                on_delete: match row.try_get::<String, _>(2)?.as_str() {
                    "c" => OnDelete::Cascade,
                    "n" | "d" => OnDelete::Clears,
                    _ => OnDelete::Refuses,
                },
            })
        })
        .collect()
}
