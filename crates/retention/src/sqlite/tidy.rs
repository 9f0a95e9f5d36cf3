//! What is due after rows were deleted.

use plimsoll_core::Clock;

use super::Sqlite;

/// Above this share of free pages, in percent, some are given back to the file system.
const FREE_PAGES_PERCENT: i64 = 20;
const INCREMENTAL: i64 = 2;

impl Sqlite {
    /// Moves the log into the database as far as nobody is disturbed by that, and gives pages
    /// back where the database was made for it. Never VACUUM: that rewrites the whole file.
    pub(crate) async fn tidy(&self, clock: &Clock) {
        let began = clock.now();
        if let Err(error) = self.try_tidy().await {
            tracing::warn!(%error, "tidying up after deleting rows failed");
        }
        tracing::debug!(took = ?clock.now().saturating_sub(began), "tidied up after deleting rows");
    }

    async fn try_tidy(&self) -> Result<(), sqlx::Error> {
        let _gate = self.gate.lock().await;
        let mut connection = self.pool.acquire().await?;
        let mut number = async |pragma: &'static str| -> Result<i64, sqlx::Error> {
            sqlx::query_scalar(pragma).fetch_one(&mut *connection).await
        };
        let mode = number("PRAGMA auto_vacuum").await?;
        let free = number("PRAGMA freelist_count").await?;
        let all = number("PRAGMA page_count").await?;
        if mode == INCREMENTAL && free.saturating_mul(100) > all.saturating_mul(FREE_PAGES_PERCENT)
        {
            // Each row that is fetched frees a page.
            sqlx::query("PRAGMA incremental_vacuum(2000)").fetch_all(&mut *connection).await?;
        }
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_all(&mut *connection).await?;
        Ok(())
    }
}
