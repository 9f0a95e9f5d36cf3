//! When an automatic cleanup may run: cooldown per level, and backoff while it is futile.

use std::time::Duration;

use crate::{
    pruner::{CleanupLevel, CleanupTrigger},
    record::CleanupRecord,
};

/// A cleanup that freed less than this share of the figure before was futile.
pub(crate) const FUTILE_PERCENT: u64 = 5;
/// The longest wait that futility leads to, unless the cooldown is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
struct Turn {
    started: Option<Duration>,
    wait: Duration,
    futile: bool,
}

/// Pure: told of starts and ends, asked whether one is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct AutomaticPolicy {
    cooldown: Duration,
    turns: [Turn; 2],
}

impl AutomaticPolicy {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self { cooldown, turns: [Turn { started: None, wait: cooldown, futile: false }; 2] }
    }

    /// The levels have waits of their own, so an escalation passes at once.
    pub(super) fn is_due(&self, level: CleanupLevel, now: Duration) -> bool {
        self.left(level, now).is_zero()
    }

    pub(super) fn left(&self, level: CleanupLevel, now: Duration) -> Duration {
        let turn = self.turns[index(level)];
        turn.started.map_or(Duration::ZERO, |at| (at + turn.wait).saturating_sub(now))
    }

    pub(super) fn started(&mut self, level: CleanupLevel, now: Duration) {
        self.turns[index(level)].started = Some(now);
    }

    /// What was futile under the last pressure says nothing of the next.
    pub(super) fn forget_futility(&mut self) {
        for turn in &mut self.turns {
            turn.wait = self.cooldown;
            turn.futile = false;
        }
    }

    /// A fresh rise to a level is an escalation, which no cooldown holds up, unless cleaning up
    /// for it was of no use the last time.
    pub(super) fn escalated(&mut self, level: CleanupLevel) {
        let turn = &mut self.turns[index(level)];
        if !turn.futile {
            turn.started = None;
        }
    }

    pub(super) fn was_futile(&self, level: CleanupLevel) -> bool {
        self.turns[index(level)].futile
    }

    pub(super) fn finished(&mut self, record: &CleanupRecord) {
        let turn = &mut self.turns[index(record.level)];
        match is_futile(record) {
            // What somebody asked for does not make the automatic ones rarer.
            Some(true) if record.trigger == CleanupTrigger::Threshold => {
                turn.wait = (turn.wait * 2).min(LONGEST_WAIT.max(self.cooldown));
                turn.futile = true;
            }
            Some(false) => {
                turn.wait = self.cooldown;
                turn.futile = false;
            }
            _ => {}
        }
    }
}

/// `None` when it was not measured.
pub(crate) fn is_futile(record: &CleanupRecord) -> Option<bool> {
    let (freed, before) = (record.freed_memory?, record.before_bytes?);
    Some(u128::from(freed) * 100 < u128::from(before) * u128::from(FUTILE_PERCENT))
}

fn index(level: CleanupLevel) -> usize {
    match level {
        CleanupLevel::Moderate => 0,
        CleanupLevel::Aggressive => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: CleanupLevel, freed: u64) -> CleanupRecord {
        CleanupRecord {
            id: String::new(),
            timestamp: 0,
            level,
            trigger: CleanupTrigger::Threshold,
            dry_run: false,
            freed_memory: Some(freed),
            before_bytes: Some(1_000),
            after_bytes: Some(1_000 - freed),
            duration_ms: 0,
            actions: Vec::new(),
            results: Vec::new(),
            detail: None,
        }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_level_has_its_own_cooldown() {
        let mut policy = AutomaticPolicy::new(s(30));
        policy.started(CleanupLevel::Moderate, s(0));
        assert!(!policy.is_due(CleanupLevel::Moderate, s(29)));
        assert!(policy.is_due(CleanupLevel::Aggressive, s(1)), "escalation passes");
        assert!(policy.is_due(CleanupLevel::Moderate, s(30)));
    }

    #[test]
    fn futile_cleanups_wait_twice_as_long_up_to_five_minutes() {
        let mut policy = AutomaticPolicy::new(s(30));
        for wait in [60, 120, 240, 300, 300] {
            policy.started(CleanupLevel::Aggressive, s(0));
            policy.finished(&record(CleanupLevel::Aggressive, 49));
            assert_eq!(policy.left(CleanupLevel::Aggressive, s(0)), s(wait));
        }
        policy.forget_futility();
        assert_eq!(policy.left(CleanupLevel::Aggressive, s(0)), s(30));
        policy.finished(&record(CleanupLevel::Aggressive, 49));
        policy.finished(&record(CleanupLevel::Aggressive, 50));
        assert_eq!(policy.left(CleanupLevel::Aggressive, s(0)), s(30));
    }

    #[test]
    fn a_fresh_rise_passes_the_cooldown_unless_the_last_cleanup_was_futile() {
        let mut policy = AutomaticPolicy::new(s(30));
        policy.started(CleanupLevel::Aggressive, s(0));
        policy.finished(&record(CleanupLevel::Aggressive, 500));
        policy.escalated(CleanupLevel::Aggressive);
        assert!(policy.is_due(CleanupLevel::Aggressive, s(5)));
        policy.started(CleanupLevel::Aggressive, s(5));
        policy.finished(&record(CleanupLevel::Aggressive, 10));
        policy.escalated(CleanupLevel::Aggressive);
        assert!(!policy.is_due(CleanupLevel::Aggressive, s(10)));
    }

    #[test]
    fn a_cooldown_over_five_minutes_is_never_shortened() {
        let mut policy = AutomaticPolicy::new(s(600));
        policy.started(CleanupLevel::Moderate, s(0));
        policy.finished(&record(CleanupLevel::Moderate, 0));
        assert_eq!(policy.left(CleanupLevel::Moderate, s(0)), s(600));
    }
}
