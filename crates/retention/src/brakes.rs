//! What keeps a rule from deleting more than anybody meant.

use std::time::Duration;

use crate::{
    database::Database,
    pace::LEAST_PAUSE,
    plan::{Cutoff, Plan},
};

/// Rows of one rule in one run.
const MOST_ROWS: u64 = 10_000;
/// Time of one rule in one run; the batch that is under way then ends.
const MOST_TIME: Duration = Duration::from_secs(30);
/// Tables up to this size may be emptied.
const SMALL_TABLE: u64 = 1_000;
/// Counting stops here.
const MOST_COUNTED: u64 = 10_000;
/// Keys named by a dry run.
const SAMPLES: i64 = 5;

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brakes {
    pub(crate) rows: u64,
    pub(crate) time: Duration,
    /// Between two batches, at least.
    pub(crate) pause: Duration,
}

impl Default for Brakes {
    fn default() -> Self {
        Self { rows: MOST_ROWS, time: MOST_TIME, pause: LEAST_PAUSE }
    }
}

/// Rows that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matching {
    pub(crate) rows: u64,
    /// Whether counting stopped there.
    pub(crate) capped: bool,
}

impl Matching {
    /// Counts up to [`MOST_COUNTED`].
    pub(crate) async fn capped(
        database: &Database,
        plan: &Plan,
        cutoff: Cutoff,
    ) -> Result<Self, sqlx::Error> {
        let most = MOST_COUNTED.cast_signed() + 1;
        let rows = database.count(plan.count_matching(database.dialect(), cutoff, most)).await?;
        Ok(Self { rows: rows.min(MOST_COUNTED), capped: rows > MOST_COUNTED })
    }

    pub(crate) async fn all(
        database: &Database,
        plan: &Plan,
        cutoff: Cutoff,
    ) -> Result<Self, sqlx::Error> {
        let statement = plan.count_matching(database.dialect(), cutoff, i64::MAX);
        Ok(Self { rows: database.count(statement).await?, capped: false })
    }
}

impl Brakes {
    /// Rows that a batch may take still; `None` when the run has to end.
    pub(crate) fn left(&self, selected: u64, spent: Duration) -> Option<u32> {
        let left = self.rows.saturating_sub(selected);
        (left > 0 && spent < self.time).then(|| u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Why the rule must not run: it would delete most of its table.
    pub(crate) async fn refuse(
        &self,
        database: &Database,
        plan: &Plan,
        matching: &Matching,
        cutoff: Cutoff,
    ) -> Result<Option<String>, sqlx::Error> {
        // Half of a table that is not small is more than this.
        if plan.allow_majority || matching.rows <= SMALL_TABLE / 2 {
            return Ok(None);
        }
        let matching = match matching.capped {
            true => Matching::all(database, plan, cutoff).await?.rows,
            false => matching.rows,
        };
        let enough = matching.saturating_mul(2).max(SMALL_TABLE + 1);
        let most = i64::try_from(enough).unwrap_or(i64::MAX);
        let all = database.count(plan.count_all(database.dialect(), most)).await?;
        let is_majority = all > SMALL_TABLE && matching.saturating_mul(2) > all;
        Ok(is_majority.then(|| {
            format!(
                "{matching} of {all} rows match, more than half of {}; if that is meant, say \
                 Rule::allow_majority",
                plan.full_table(),
            )
        }))
    }

    /// Keys of the oldest rows that match, composite ones with commas.
    pub(crate) async fn sample(
        &self,
        database: &Database,
        plan: &Plan,
        cutoff: Cutoff,
    ) -> Result<Vec<String>, sqlx::Error> {
        let statement = plan.sample(database.dialect(), cutoff, SAMPLES);
        let keys = database.keys(statement, plan.key.len()).await?;
        Ok(keys.into_iter().map(|columns| columns.join(",")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_its_rows_or_its_time() {
        let brakes = Brakes::default();
        let s = Duration::from_secs;
        assert_eq!(brakes.left(0, s(0)), Some(10_000));
        assert_eq!(brakes.left(9_999, s(29)), Some(1));
        assert_eq!(brakes.left(10_000, s(0)), None);
        assert_eq!(brakes.left(20_000, s(0)), None);
        assert_eq!(brakes.left(0, s(30)), None);
    }
}
