//! Cleanup records and the answer of the aggressive route.

use serde::{Deserialize, Deserializer};

use super::{Status, lenient};

/// One cleanup, as in the history of the report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Record {
    /// Milliseconds since 1970.
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) timestamp: Option<i64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) level: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) trigger: Option<String>,
    /// Measured bytes.
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) freed_memory: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) before_bytes: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) after_bytes: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) duration_ms: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    actions: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient::list")]
    pub(crate) results: Vec<ActionResult>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) detail: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    dry_run: Option<bool>,
    #[serde(deserialize_with = "lenient::member")]
    status: Option<String>,
}

/// What one action did.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ActionResult {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) removed: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) freed_bytes: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) outcome: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) detail: Option<String>,
}

impl Record {
    /// Number of actions; `None` if the server tells neither them nor their results.
    pub(crate) fn action_count(&self) -> Option<usize> {
        let listed = self.actions.as_ref().map(Vec::len);
        listed.or_else(|| (!self.results.is_empty()).then_some(self.results.len()))
    }

    /// Each action with the server's words for it, such as `2 passes`, where it tells them.
    pub(crate) fn described(&self) -> Vec<(&ActionResult, Option<&str>)> {
        let mut actions = self.actions.as_deref().unwrap_or_default().iter();
        let ran = |result: &&ActionResult| result.outcome.as_deref() != Some("skipped");
        // Actions and results belong together by their order; what was skipped is no action.
        let is_paired = self.results.iter().filter(ran).count() == actions.len();
        let describe = |result| {
            let action = if is_paired && ran(&result) { actions.next() } else { None };
            let words = action.and_then(|action| {
                action.strip_prefix(result.name.as_deref()?)?.strip_prefix(": ")
            });
            (result, words)
        };
        self.results.iter().map(describe).collect()
    }

    /// True if nothing was changed.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run == Some(true)
            || (!self.results.is_empty()
                && self.results.iter().all(|result| result.outcome.as_deref() == Some("dryRun")))
    }

    /// The pressure level after it, where the answer says so.
    pub(crate) fn status(&self) -> Status {
        Status::of(self.status.as_deref())
    }

    /// The actions that failed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &ActionResult> {
        self.results.iter().filter(|result| is_failure(result.outcome.as_deref()))
    }

    /// True if the member that should hold a record holds something else.
    fn is_empty(&self) -> bool {
        self.timestamp.is_none()
            && self.freed_memory.is_none()
            && self.actions.is_none()
            && self.results.is_empty()
    }
}

/// `data` of a cleanup: the record itself, or an object that holds it as `cleanup`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Wrapped {
    #[serde(deserialize_with = "lenient::member")]
    cleanup: Option<Record>,
    #[serde(deserialize_with = "lenient::member")]
    status: Option<String>,
}

/// `data` of the aggressive route, and of a plain cleanup, which has no database part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aggressive {
    /// The database rules in the order they ran; none are registered if empty.
    pub(crate) rules: Vec<Rule>,
    /// The memory part.
    pub(crate) cleanup: Option<Record>,
}

/// One database rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) rule: Option<String>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) selected: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) deleted: Option<u64>,
    #[serde(deserialize_with = "lenient::figure")]
    pub(crate) reprieved: Option<u64>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) outcome: Option<String>,
    #[serde(deserialize_with = "lenient::member")]
    pub(crate) detail: Option<String>,
}

impl Rule {
    /// True if the rule failed. One that another instance runs, that waits for memory or that a
    /// shutdown ended did not.
    pub(crate) fn is_failure(&self) -> bool {
        is_failure(self.outcome.as_deref()) && self.waits().is_none()
    }

    /// Why it did less than it could, in the server's word.
    pub(crate) fn waits(&self) -> Option<&str> {
        let word = self.outcome.as_deref()?;
        (matches!(word, "paused" | "stopped") || word.starts_with("skipped:")).then_some(word)
    }
}

impl ActionResult {
    /// True if the action failed.
    pub(crate) fn is_failure(&self) -> bool {
        is_failure(self.outcome.as_deref())
    }
}

impl Aggressive {
    /// Failed actions and rules, and how many there were.
    pub(crate) fn failed_of_total(&self) -> (usize, usize) {
        let results = self.cleanup.as_ref().map_or(&[] as &[_], |cleanup| &cleanup.results);
        let failed = self.rules.iter().filter(|rule| rule.is_failure()).count()
            + results.iter().filter(|result| result.is_failure()).count();
        (failed, self.rules.len() + results.len())
    }
}

impl<'de> Deserialize<'de> for Aggressive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Database {
            #[serde(deserialize_with = "lenient::list")]
            rules: Vec<Rule>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Parts {
            #[serde(deserialize_with = "lenient::member")]
            database: Option<Database>,
            #[serde(deserialize_with = "lenient::member")]
            memory: Option<serde_json::Value>,
        }

        let data = serde_json::Value::deserialize(deserializer)?;
        let parts: Parts = serde_json::from_value(data.clone()).unwrap_or_default();
        Ok(Self {
            rules: parts.database.unwrap_or_default().rules,
            cleanup: find_record(parts.memory.unwrap_or(data)),
        })
    }
}

/// Finds the record in its own object or in the member `cleanup`, with the status beside it.
fn find_record(data: serde_json::Value) -> Option<Record> {
    let wrapped: Wrapped = serde_json::from_value(data.clone()).ok()?;
    let mut record = match wrapped.cleanup {
        Some(record) => record,
        None => serde_json::from_value(data).ok()?,
    };
    record.status = record.status.or(wrapped.status);
    (!record.is_empty()).then_some(record)
}

/// An outcome that is not told is not known to be a failure.
fn is_failure(outcome: Option<&str>) -> bool {
    outcome.is_some_and(|outcome| !matches!(outcome, "ok" | "dryRun" | "skipped"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(data: serde_json::Value) -> Aggressive {
        serde_json::from_value(data).unwrap()
    }

    #[test]
    fn the_record_is_found_in_every_place_it_can_stand() {
        let record = json!({"freedMemory": 5, "actions": ["a", "b"], "status": "warning"});
        for data in [
            record.clone(),
            json!({"cleanup": record}),
            json!({"cleanup": {"freedMemory": 5, "actions": ["a", "b"]}, "status": "warning"}),
            json!({"dryRun": false, "database": null, "memory": {"cleanup": record}}),
            json!({"database": {"rules": []}, "memory": record}),
        ] {
            let cleanup = read(data.clone()).cleanup.expect("found");
            assert_eq!(cleanup.action_count(), Some(2), "{data}");
            assert_eq!(cleanup.status(), Status::Warning, "{data}");
        }
        assert!(read(json!({"id": "running"})).cleanup.is_none());
        assert!(read(json!([])).cleanup.is_none());
    }

    #[test]
    fn words_of_an_action_go_to_its_result() {
        let data = json!({
            "actions": ["a: 3 removed", "release_memory: 2 passes"],
            "results": [
                {"name": "a", "outcome": "ok"},
                {"name": "b", "outcome": "skipped"},
                {"name": "release_memory", "outcome": "ok"},
            ],
        });
        let record = read(data.clone()).cleanup.unwrap();
        let words: Vec<_> = record.described().into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, [Some("3 removed"), None, Some("2 passes")]);

        let mut unpaired = data;
        unpaired["actions"].as_array_mut().unwrap().pop();
        let record = read(unpaired).cleanup.unwrap();
        assert!(record.described().iter().all(|(_, words)| words.is_none()));
    }

    #[test]
    fn every_outcome_but_three_is_a_failure() {
        let data = json!({
            "database": {"rules": [{"rule": "a", "outcome": "failed"}, {"rule": "b", "outcome": "ok"}]},
            "memory": {"cleanup": {"results": [
                {"outcome": "ok"}, {"outcome": "skipped"}, {"outcome": "dryRun"}, {"outcome": null},
                {"outcome": "timedOut"}, {"outcome": "panicked"},
            ]}},
        });
        assert_eq!(read(data).failed_of_total(), (3, 8));
    }
}
