//! The state machine: pending, firing, resolved, and who is told when.

use std::{collections::VecDeque, mem, time::Duration};

use super::{
    rules::{self, AlertFacts, AlertName, Memory, Verdict},
    state::{AlertChanges, AlertNotification, AlertPhase, AlertState, NotificationKind, Silence},
};
use crate::{
    env::{DEFAULT_ALERT_COOLDOWN, DEFAULT_ALERT_REPEAT_INTERVAL},
    level::PressureLevel,
    units::quoted,
};

/// The longest that a rule can be silenced: a silence that is forgotten must end by itself.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3_600);
/// Checks in a row that must find a condition clear before its alert resolves.
const CHECKS_TO_RESOLVE: u32 = 2;
/// Resolved alerts kept.
const HISTORY: usize = 200;
/// The summary of an alert that goes on is written anew at most this often; near a threshold
/// checks come every few milliseconds.
const SUMMARY_AGE: Duration = Duration::from_secs(1);

/// How often notifications may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlertConfig {
    /// Time between the notifications of two alerts of the same rule. Default: 30 s.
    pub cooldown: Duration,
    /// Time between reminders while an alert fires; zero sends none. Default: 10 min.
    pub repeat_interval: Duration,
    /// Time after the first check in which memory warnings stay pending; everything else fires
    /// at once. Default: 30 s.
    pub startup_grace: Duration,
    /// Which process this is, such as `shop@host`, for the notifications. Default: empty.
    pub instance: String,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self {
            cooldown: DEFAULT_ALERT_COOLDOWN,
            repeat_interval: DEFAULT_ALERT_REPEAT_INTERVAL,
            startup_grace: Duration::from_secs(30),
            instance: String::new(),
        }
    }
}

/// All alerts of a process: which are pending or firing, which were, and who was to be told.
///
/// Pure: told the time and the facts, it returns what changed. An evaluation in which nothing
/// changes allocates nothing. Decisions use `now`, monotonic; `wall`, the time since 1970, is
/// only shown.
///
/// - An alert fires after the checks that its rule asks for and resolves after two clear ones.
/// - Firing is notified unless the rule was notified within the cooldown or is silenced; then it
///   is counted as suppressed and sent once the cooldown or the silence is over, if the alert
///   still fires. While it fires it is notified again each repeat interval.
/// - A critical level is notified at once, however recent the warning; the warning it grew from
///   stays quiet meanwhile.
/// - Resolved is notified if, and only if, firing was.
#[derive(Clone, Debug)]
pub struct AlertBook {
    config: AlertConfig,
    slots: [Slot; AlertName::ALL.len()],
    history: VecDeque<AlertState>,
    started: Option<Duration>,
    elevated_since: Option<Duration>,
    sequence: u64,
}

/// What is known of one rule.
#[derive(Clone, Debug, Default)]
struct Slot {
    episode: Option<Episode>,
    /// When firing was last notified, over all episodes.
    notified_at: Option<Duration>,
    /// Notifications held back since then.
    suppressed: u64,
    silenced: Option<SilencedUntil>,
    /// Resolved by hand while the condition held, with the cleanup that it was about.
    acknowledged: Option<Option<Box<str>>>,
}

#[derive(Clone, Copy, Debug)]
struct SilencedUntil {
    now: Duration,
    wall: Duration,
}

/// One alert, from the first check that found its condition to its end.
#[derive(Clone, Debug)]
struct Episode {
    id: String,
    since: Duration,
    since_wall: Duration,
    /// Checks that found the condition.
    checks: u32,
    firing: bool,
    /// Checks in a row that found it clear, and the first of them.
    clear: Option<(u32, Duration)>,
    /// Whether firing was notified.
    told: bool,
    /// Whether a notification that is due was counted as suppressed.
    held_back: bool,
    /// When the next reminder counts from.
    reminded_at: Duration,
    summary: String,
    summary_at: Duration,
    cleanup_id: Option<Box<str>>,
    shed: u64,
}

/// The time of one step.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: Duration,
    wall: Duration,
}

impl AlertBook {
    /// Opens an empty book.
    pub fn new(config: AlertConfig) -> Self {
        Self {
            config,
            slots: Default::default(),
            history: VecDeque::new(),
            started: None,
            elevated_since: None,
            sequence: 0,
        }
    }

    /// Holds the rules against the facts of one check.
    pub fn evaluate(
        &mut self,
        now: Duration,
        wall: Duration,
        facts: &AlertFacts<'_>,
    ) -> AlertChanges {
        let moment = Moment { now, wall };
        self.started.get_or_insert(now);
        if !facts.stalled {
            self.elevated_since = match facts.level {
                PressureLevel::Healthy => None,
                _ => Some(self.elevated_since.unwrap_or(now)),
            };
        }
        let mut changes = AlertChanges::default();
        for name in AlertName::ALL {
            self.step(name, moment, facts, &mut changes);
            self.notify(name, moment, facts, &mut changes);
        }
        changes
    }

    fn step(
        &mut self,
        name: AlertName,
        moment: Moment,
        facts: &AlertFacts<'_>,
        changes: &mut AlertChanges,
    ) {
        let memory = self.memory(name);
        match rules::judge(name, facts, memory) {
            Verdict::Holds(cleanup_id) => self.holds(name, cleanup_id, moment, facts, changes),
            Verdict::Clear => {
                self.slot(name).acknowledged = None;
                let Some(episode) = &mut self.slot(name).episode else { return };
                let (checks, from) = episode.clear.unwrap_or((0, moment.now));
                episode.clear = Some((checks + 1, from));
                let quiet = moment.now.saturating_sub(from) >= name.quiet_to_resolve();
                if !episode.firing || (checks + 1 >= CHECKS_TO_RESOLVE && quiet) {
                    let lasted = moment.now.saturating_sub(episode.since);
                    let summary = rules::resolved_summary(name, facts, lasted);
                    self.close(name, moment.wall, summary, changes);
                }
            }
            Verdict::Unknown => {}
        }
    }

    fn holds(
        &mut self,
        name: AlertName,
        cleanup_id: Option<&str>,
        moment: Moment,
        facts: &AlertFacts<'_>,
        changes: &mut AlertChanges,
    ) {
        let memory = self.memory(name);
        let in_grace = name.waits_for_startup()
            && moment.now.saturating_sub(self.started.unwrap_or_default())
                < self.config.startup_grace;
        if let Some(acknowledged) = &self.slot(name).acknowledged {
            // A failure of another cleanup is news; the other rules are about a condition that
            // lasts, so only its end is.
            if name != AlertName::CleanupFailed || acknowledged.as_deref() == cleanup_id {
                return;
            }
            self.slot(name).acknowledged = None;
        }
        let begins = self.slot(name).episode.is_none();
        if begins {
            let id = self.next_id(name, moment.wall);
            self.slot(name).episode = Some(Episode::new(id, moment));
        }
        let Some(episode) = &mut self.slot(name).episode else { return };
        episode.clear = None;
        episode.checks = episode.checks.saturating_add(1);
        episode.shed = episode.shed.saturating_add(facts.shed);
        let fires = !episode.firing && !in_grace && episode.checks >= name.checks_to_fire();
        episode.firing |= fires;
        let other_cleanup = episode.cleanup_id.as_deref() != cleanup_id;
        if other_cleanup {
            episode.cleanup_id = cleanup_id.map(Box::from);
        }
        let old = moment.now.saturating_sub(episode.summary_at) >= SUMMARY_AGE;
        if begins || fires || other_cleanup || old {
            episode.summary = rules::summary(name, facts, memory, episode.shed);
            episode.summary_at = moment.now;
        }
        if begins || fires || other_cleanup {
            changes.states.extend(self.state(name));
        }
    }

    /// Tells the sinks what is due of one rule.
    fn notify(
        &mut self,
        name: AlertName,
        moment: Moment,
        facts: &AlertFacts<'_>,
        changes: &mut AlertChanges,
    ) {
        let Moment { now, .. } = moment;
        if self.slot(name).silenced.is_some_and(|silenced| silenced.now <= now) {
            self.slot(name).silenced = None;
            changes.states.extend(self.state(name));
        }
        // One condition, one notification: what is critical needs no reminder of a warning.
        if name == AlertName::MemoryWarning && self.critical(facts) {
            return;
        }
        let memory = self.memory(name);
        let cooling = self.cooling(name, now);
        let repeat_interval = self.config.repeat_interval;
        let slot = self.slot(name);
        let silenced = slot.silenced.is_some();
        let Some(episode) = slot.episode.as_mut().filter(|episode| episode.firing) else { return };
        let repeats = episode.told
            && !repeat_interval.is_zero()
            && now.saturating_sub(episode.reminded_at) >= repeat_interval;
        if episode.told && !repeats {
            return;
        }
        if silenced || (cooling && !repeats) {
            // A reminder that is held back is over; firing stays due until it can be told.
            if repeats || !mem::replace(&mut episode.held_back, true) {
                slot.suppressed += 1;
                episode.reminded_at = now;
            }
            return;
        }
        let kind = if repeats { NotificationKind::Repeat } else { NotificationKind::Firing };
        episode.told = true;
        episode.reminded_at = now;
        episode.summary = rules::summary(name, facts, memory, episode.shed);
        episode.summary_at = now;
        slot.notified_at = Some(now);
        let summary = episode.summary.clone();
        let suppressed = mem::take(&mut slot.suppressed);
        changes.notifications.extend(self.notification(name, kind, summary, suppressed, None));
    }

    fn critical(&self, facts: &AlertFacts<'_>) -> bool {
        let fires = self.slots[AlertName::MemoryCritical as usize]
            .episode
            .as_ref()
            .is_some_and(|episode| episode.firing);
        fires || (!facts.stalled && facts.level == PressureLevel::Critical)
    }

    /// Whether the rule was notified too short a time ago. A warning that is left of a critical
    /// level counts from that one; the other way round nothing is waited for.
    fn cooling(&self, name: AlertName, now: Duration) -> bool {
        let own = self.slots[name as usize].notified_at;
        let last = match name {
            AlertName::MemoryWarning => {
                own.max(self.slots[AlertName::MemoryCritical as usize].notified_at)
            }
            _ => own,
        };
        last.is_some_and(|last| now.saturating_sub(last) < self.config.cooldown)
    }

    /// Ends an episode: into the history if it fired, and to the sinks if they know of it.
    fn close(
        &mut self,
        name: AlertName,
        wall: Duration,
        summary: String,
        changes: &mut AlertChanges,
    ) {
        let told = self.slot(name).episode.as_ref().is_some_and(|episode| episode.told);
        if told {
            let kind = NotificationKind::Resolved;
            changes.notifications.extend(self.notification(name, kind, summary, 0, Some(wall)));
        }
        let Some(mut state) = self.state(name) else { return };
        let fired = state.state == AlertPhase::Firing;
        state.state = AlertPhase::Resolved;
        state.resolved_at = Some(wall);
        self.slot(name).episode = None;
        if fired {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(state.clone());
        }
        changes.states.push(state);
    }

    /// Resolves a pending or firing alert by hand. It comes back once its condition has cleared
    /// and returned (a failed cleanup also when another one fails). An alert that is resolved
    /// already changes nothing.
    ///
    /// # Errors
    /// Refuses an id that is neither active nor in the history.
    pub fn resolve(
        &mut self,
        id: &str,
        now: Duration,
        wall: Duration,
    ) -> Result<AlertChanges, UnknownAlert> {
        let mut changes = AlertChanges::default();
        let active = AlertName::ALL.into_iter().find_map(|name| {
            let episode = self.slots[name as usize].episode.as_ref()?;
            (episode.id == id).then(|| (name, episode.since, episode.cleanup_id.clone()))
        });
        match active {
            Some((name, since, cleanup_id)) => {
                let lasted = now.saturating_sub(since).as_secs();
                let summary = format!("resolved by hand after {lasted} s");
                self.close(name, wall, summary, &mut changes);
                self.slot(name).acknowledged = Some(cleanup_id);
                Ok(changes)
            }
            None if self.history.iter().any(|state| state.id == id) => Ok(changes),
            None => Err(UnknownAlert { id: quoted(id) }),
        }
    }

    /// Holds back the notifications of a rule for a while; its alerts are still listed, and one
    /// that was notified is still notified as resolved. A second silence replaces the first.
    ///
    /// # Errors
    /// Refuses zero and more than [`LONGEST_SILENCE`].
    pub fn silence(
        &mut self,
        name: AlertName,
        span: Duration,
        now: Duration,
        wall: Duration,
    ) -> Result<AlertChanges, SilenceError> {
        if span.is_zero() || span > LONGEST_SILENCE {
            return Err(SilenceError { span });
        }
        let until =
            SilencedUntil { now: now.saturating_add(span), wall: wall.saturating_add(span) };
        self.slot(name).silenced = Some(until);
        Ok(AlertChanges { states: Vec::from_iter(self.state(name)), ..Default::default() })
    }

    /// Ends the silence of a rule before its time; without one nothing changes.
    pub fn lift_silence(&mut self, name: AlertName) -> AlertChanges {
        let lifted = self.slot(name).silenced.take().and_then(|_| self.state(name));
        AlertChanges { states: Vec::from_iter(lifted), ..Default::default() }
    }

    /// The alerts that are pending or firing.
    pub fn active(&self) -> Vec<AlertState> {
        AlertName::ALL.into_iter().filter_map(|name| self.state(name)).collect()
    }

    /// The alerts that have fired and are resolved, newest first; at most 200.
    pub fn history(&self) -> Vec<AlertState> {
        self.history.iter().rev().cloned().collect()
    }

    /// The silences in force as of the last evaluation.
    pub fn silences(&self) -> Vec<Silence> {
        let silence =
            |name: AlertName| Some(Silence::new(name, self.slots[name as usize].silenced?.wall));
        AlertName::ALL.into_iter().filter_map(silence).collect()
    }

    /// The settings that the book was opened with.
    pub fn config(&self) -> &AlertConfig {
        &self.config
    }

    /// Whether any alert is pending or firing.
    pub fn any_active(&self) -> bool {
        self.slots.iter().any(|slot| slot.episode.is_some())
    }

    /// Bytes held, the history above all.
    pub fn bytes(&self) -> u64 {
        let texts: usize =
            self.history.iter().map(|state| state.id.len() + state.summary.len()).sum();
        let history = self.history.capacity() * size_of::<AlertState>();
        (size_of::<Self>() + history + texts) as u64
    }

    fn slot(&mut self, name: AlertName) -> &mut Slot {
        &mut self.slots[name as usize]
    }

    fn memory(&self, name: AlertName) -> Memory {
        let active = self.slots[name as usize].episode.is_some();
        Memory { elevated_since: self.elevated_since, active }
    }

    fn next_id(&mut self, name: AlertName, wall: Duration) -> String {
        self.sequence += 1;
        format!("{name}-{}-{}", wall.as_millis(), self.sequence)
    }

    fn state(&self, name: AlertName) -> Option<AlertState> {
        let slot = &self.slots[name as usize];
        let episode = slot.episode.as_ref()?;
        Some(AlertState {
            id: episode.id.clone(),
            name,
            severity: name.severity(),
            state: if episode.firing { AlertPhase::Firing } else { AlertPhase::Pending },
            summary: episode.summary.clone(),
            since: episode.since_wall,
            resolved_at: None,
            cleanup_id: episode.cleanup_id.as_deref().map(str::to_owned),
            suppressed: slot.suppressed,
            silenced_until: slot.silenced.map(|silenced| silenced.wall),
        })
    }

    fn notification(
        &self,
        name: AlertName,
        kind: NotificationKind,
        summary: String,
        suppressed: u64,
        resolved_at: Option<Duration>,
    ) -> Option<AlertNotification> {
        let episode = self.slots[name as usize].episode.as_ref()?;
        Some(AlertNotification {
            id: episode.id.clone(),
            name,
            severity: name.severity(),
            kind,
            instance: self.config.instance.clone(),
            summary,
            since: episode.since_wall,
            resolved_at,
            cleanup_id: episode.cleanup_id.as_deref().map(str::to_owned),
            suppressed,
        })
    }
}

impl Default for AlertBook {
    fn default() -> Self {
        Self::new(AlertConfig::default())
    }
}

impl Episode {
    fn new(id: String, moment: Moment) -> Self {
        Self {
            id,
            since: moment.now,
            since_wall: moment.wall,
            checks: 0,
            firing: false,
            clear: None,
            told: false,
            held_back: false,
            reminded_at: moment.now,
            summary: String::new(),
            summary_at: moment.now,
            cleanup_id: None,
            shed: 0,
        }
    }
}

/// An id that no alert has, or that is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no alert has the id {id}; accepted are the ids of the list of alerts")]
pub struct UnknownAlert {
    id: String,
}

/// A silence that would end never, or at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a silence of {span:?} is out of range; accepted is more than 0 and at most {} h",
    LONGEST_SILENCE.as_secs() / 3_600
)]
pub struct SilenceError {
    span: Duration,
}

#[cfg(test)]
mod tests;
