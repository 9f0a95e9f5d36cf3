//! From rules to a runner.

use std::{collections::HashSet, sync::Arc, time::Duration};

use plimsoll_core::{GuardMode, Plimsoll, env::DEFAULT_RETENTION_INTERVAL};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    brakes::Brakes,
    database::Database,
    error::{RefusedRules, RetentionError},
    plan::{Checked, Plan},
    retention::{Inner, Retention},
    rule::{Parsed, Rule},
    run::Surroundings,
    schedule,
    state::State,
};

/// The interval that a builder accepts, as `RETENTION_INTERVAL` does.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(7 * 86_400);

/// Rules for one database that do not run yet; see [`Retention::sqlite`] and
/// [`Retention::postgres`].
#[must_use = "nothing runs until it is started"]
#[derive(Debug)]
pub struct RetentionBuilder {
    database: Database,
    rules: Vec<Rule>,
    interval: Option<Duration>,
    scheduled: bool,
    brakes: Brakes,
}

impl RetentionBuilder {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            rules: Vec::new(),
            interval: None,
            scheduled: true,
            brakes: Brakes::default(),
        }
    }

    /// Adds a rule. Rules run in the order in which they were added, so what a table refers to
    /// comes after it.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets the time from one run to the next, 1 s to 7 days; each wait is up to a fifth longer or
    /// shorter, so that instances drift apart. Default: `RETENTION_INTERVAL` where Plimsoll was
    /// told to read the environment, else 5 min.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Runs the rules only when somebody asks.
    pub fn unscheduled(mut self) -> Self {
        self.scheduled = false;
        self
    }

    #[cfg(test)]
    pub(crate) fn database_mut(&mut self) -> &mut Database {
        &mut self.database
    }

    #[cfg(test)]
    pub(crate) fn scheduled(mut self) -> Self {
        self.scheduled = true;
        self
    }

    #[cfg(test)]
    pub(crate) fn brakes(mut self, brakes: Brakes) -> Self {
        self.brakes = brakes;
        self
    }

    /// Holds every rule against the database, attaches the rules to `plimsoll`, and starts the
    /// schedule. Reads the catalog, and writes nothing.
    ///
    /// # Errors
    /// Tells every mistake of every rule at once; then, and when the database does not answer or
    /// rules are attached already, nothing runs.
    pub async fn start(self, plimsoll: &Plimsoll) -> Result<Retention, RetentionError> {
        let runtime = Handle::try_current().map_err(|_| RetentionError::NoRuntime)?;
        let interval = self
            .interval
            .or(plimsoll.settings().retention_interval)
            .unwrap_or(DEFAULT_RETENTION_INTERVAL);
        if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
            return Err(RetentionError::Interval { given: interval });
        }
        let (plans, warnings) = self.check().await?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let (stop, _) = watch::channel(false);
        let state = State::new(self.database.word(), interval, &plans);
        let around = Surroundings {
            database: self.database,
            clock: plimsoll.clock().clone(),
            // It refuses nothing: this only hears the level.
            admission: plimsoll.admission(GuardMode::Off),
            stop,
            state,
            brakes: self.brakes,
        };
        let inner = Arc::new(Inner::new(around, plans, warnings, interval, runtime.clone()));
        plimsoll.attach_retention(Arc::clone(&inner) as _)?;
        if self.scheduled {
            runtime.spawn(schedule::keep(Arc::clone(&inner)));
        }
        Ok(Retention::of(inner))
    }

    /// The rules as plans, with what should be known of them.
    async fn check(&self) -> Result<(Vec<Plan>, Vec<String>), RetentionError> {
        if self.rules.is_empty() {
            return Err(RetentionError::NoRules);
        }
        let mut refused = Vec::new();
        let mut parsed: Vec<Parsed> = Vec::new();
        for rule in &self.rules {
            match rule.parse() {
                Ok(rule) => parsed.push(rule),
                Err(wrong) => refused.push((rule.title().to_owned(), wrong)),
            }
        }
        let mut names = HashSet::new();
        if let Some(twice) = parsed.iter().find(|rule| !names.insert(rule.name.as_str())) {
            return Err(RetentionError::SameName { name: twice.name.clone() });
        }
        let (mut plans, mut warnings) = (Vec::new(), Vec::new());
        for rule in &parsed {
            match self.database.check(rule).await? {
                Ok(Checked { plan, warnings: found }) => {
                    let named = |text| format!("rule {:?}: {text}", plan.name);
                    warnings.extend(found.into_iter().map(named));
                    plans.push(plan);
                }
                Err(wrong) => refused.push((rule.name.clone(), wrong)),
            }
        }
        if refused.is_empty() {
            Ok((plans, warnings))
        } else {
            Err(RetentionError::Rules(RefusedRules(refused)))
        }
    }
}
