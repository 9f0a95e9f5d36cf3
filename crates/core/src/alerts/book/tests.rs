use proptest::prelude::*;

use super::*;
use crate::{
    alerts::{AlertSink, CleanupFact, FnSink, LogSink, Severity},
    pruner::CleanupLevel,
    reading::MemoryMetric,
    thresholds::Thresholds,
    units::MB,
};

const SECOND: Duration = Duration::from_secs(1);
const EPOCH: Duration = Duration::from_secs(1_767_868_200);

/// A book, and a hand on its clock.
struct Desk {
    book: AlertBook,
    now: Duration,
}

impl Desk {
    fn new() -> Self {
        let config = AlertConfig {
            startup_grace: Duration::ZERO,
            instance: "shop@host".to_owned(),
            ..AlertConfig::default()
        };
        Self { book: AlertBook::new(config), now: Duration::ZERO }
    }

    fn wall(&self) -> Duration {
        EPOCH + self.now
    }

    /// One check; the clock stands.
    fn check(&mut self, facts: &AlertFacts<'_>) -> AlertChanges {
        self.book.evaluate(self.now, self.wall(), facts)
    }

    /// One check a second later; what the sinks are told.
    fn tick(&mut self, facts: &AlertFacts<'_>) -> Vec<(AlertName, NotificationKind)> {
        self.now += SECOND;
        told(&self.check(facts))
    }

    fn ticks(&mut self, count: u32, facts: &AlertFacts<'_>) -> Vec<(AlertName, NotificationKind)> {
        (0..count).flat_map(|_| self.tick(facts)).collect()
    }

    fn phases(&self) -> Vec<(AlertName, AlertPhase)> {
        self.book.active().into_iter().map(|state| (state.name, state.state)).collect()
    }
}

fn told(changes: &AlertChanges) -> Vec<(AlertName, NotificationKind)> {
    changes.notifications.iter().map(|told| (told.name, told.kind)).collect()
}

fn facts(level: PressureLevel) -> AlertFacts<'static> {
    let marks = Thresholds::default().resolve(None).unwrap();
    let mut facts = AlertFacts::new(level, MemoryMetric::WorkingSet, marks);
    facts.figure_bytes = Some(match level {
        PressureLevel::Healthy => 1_200 * MB,
        PressureLevel::Warning => 2_100 * MB,
        PressureLevel::Critical => 3_100 * MB,
    });
    facts
}

fn healthy() -> AlertFacts<'static> {
    facts(PressureLevel::Healthy)
}

fn warning() -> AlertFacts<'static> {
    facts(PressureLevel::Warning)
}

fn critical() -> AlertFacts<'static> {
    facts(PressureLevel::Critical)
}

fn cleanup(id: &str, freed: u64, ended_at: Duration) -> CleanupFact {
    CleanupFact {
        id: id.to_owned(),
        level: CleanupLevel::Moderate,
        automatic: true,
        measured: Some((2_000 * MB, freed)),
        actions: 3,
        failed: Vec::new(),
        ended_at,
    }
}

use AlertName::{
    CleanupFailed, CleanupIneffective, MemoryCritical, MemoryWarning, RetentionStalled,
    SamplerStalled, SheddingActive, SocketCleanupForced, ThresholdAboveLimit,
};
use AlertPhase::{Firing as IsFiring, Pending};
use NotificationKind::{Firing, Repeat, Resolved};

#[test]
fn a_quiet_process_has_no_alerts() {
    let mut desk = Desk::new();
    assert_eq!(desk.ticks(100, &healthy()), []);
    assert!(desk.book.active().is_empty() && desk.book.history().is_empty());
}

#[test]
fn a_warning_pends_for_one_check_fires_at_the_second_and_resolves_after_two_clear_ones() {
    let mut desk = Desk::new();
    assert_eq!(desk.tick(&warning()), []);
    assert_eq!(desk.phases(), [(MemoryWarning, Pending)]);
    assert_eq!(desk.tick(&warning()), [(MemoryWarning, Firing)]);
    assert_eq!(desk.phases(), [(MemoryWarning, IsFiring)]);
    assert_eq!(desk.tick(&healthy()), []);
    assert_eq!(desk.tick(&warning()), [], "one clear check is not the end");
    assert_eq!(desk.tick(&healthy()), []);
    assert_eq!(desk.tick(&healthy()), [(MemoryWarning, Resolved)]);
    assert_eq!(desk.phases(), []);

    let history = desk.book.history();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].state, AlertPhase::Resolved);
    assert_eq!(history[0].since, EPOCH + SECOND);
    assert_eq!(history[0].resolved_at, Some(EPOCH + 6 * SECOND));
}

#[test]
fn a_warning_that_clears_while_pending_is_forgotten() {
    let mut desk = Desk::new();
    desk.tick(&warning());
    desk.now += SECOND;
    let changes = desk.check(&healthy());
    assert_eq!(changes.states[0].state, AlertPhase::Resolved, "the stream hears of its end");
    assert_eq!(told(&changes), []);
    assert!(desk.book.history().is_empty());
}

#[test]
fn a_critical_level_fires_at_once_also_during_startup() {
    let mut desk = Desk::new();
    desk.book = AlertBook::default();
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
    assert_eq!(desk.phases(), [(MemoryCritical, IsFiring)], "and no second alert beside it");
}

#[test]
fn a_warning_stays_pending_until_the_startup_grace_is_over() {
    let mut desk = Desk::new();
    desk.book = AlertBook::default();
    assert_eq!(desk.ticks(30, &warning()), []);
    assert_eq!(desk.phases(), [(MemoryWarning, Pending)]);
    assert_eq!(desk.tick(&warning()), [(MemoryWarning, Firing)]);
}

#[test]
fn escalation_is_told_at_once_and_quiets_the_warning() {
    let mut desk = Desk::new();
    desk.ticks(2, &warning());
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
    assert_eq!(desk.phases(), [(MemoryCritical, IsFiring), (MemoryWarning, IsFiring)]);
    let reminders = desk.ticks(1_300, &critical());
    assert_eq!(reminders, [(MemoryCritical, Repeat); 2], "no reminder of the warning");
    assert_eq!(desk.ticks(2, &healthy()), [(MemoryCritical, Resolved), (MemoryWarning, Resolved)]);
}

#[test]
fn a_warning_left_of_a_critical_level_waits_for_the_cooldown() {
    let mut desk = Desk::new();
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
    assert_eq!(desk.ticks(2, &warning()), [(MemoryCritical, Resolved)]);
    assert_eq!(desk.ticks(27, &warning()), []);
    assert_eq!(desk.tick(&warning()), [(MemoryWarning, Firing)], "30 s after the critical one");
}

#[test]
fn within_the_cooldown_firing_is_held_back_counted_and_told_later() {
    let mut desk = Desk::new();
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
    assert_eq!(desk.ticks(2, &healthy()), [(MemoryCritical, Resolved)]);
    // Comes and goes within the cooldown: nobody is told, neither of the begin nor of the end.
    assert_eq!(desk.ticks(3, &critical()), []);
    assert_eq!(desk.book.active()[0].suppressed, 1);
    assert_eq!(desk.ticks(2, &healthy()), []);
    assert_eq!(desk.book.history().len(), 2);
    // Comes to stay: told once the cooldown is over.
    assert_eq!(desk.ticks(22, &critical()), []);
    desk.now += SECOND;
    let changes = desk.check(&critical());
    assert_eq!(told(&changes), [(MemoryCritical, Firing)]);
    assert_eq!(changes.notifications[0].suppressed, 2);
    assert_eq!(desk.book.active()[0].suppressed, 0);
}

#[test]
fn reminders_come_each_repeat_interval_with_fresh_figures() {
    let mut desk = Desk::new();
    desk.tick(&critical());
    assert_eq!(desk.ticks(599, &critical()), []);
    desk.now += SECOND;
    let mut more = critical();
    more.figure_bytes = Some(3_300 * MB);
    let changes = desk.check(&more);
    assert_eq!(told(&changes), [(MemoryCritical, Repeat)]);
    assert!(changes.notifications[0].summary.contains("3300MB"));
    assert!(changes.states.is_empty());

    desk.book.config.repeat_interval = Duration::ZERO;
    assert_eq!(desk.ticks(2_000, &critical()), [], "zero sends none");
}

#[test]
fn a_silence_holds_back_until_it_ends_but_not_the_end_of_what_was_told() {
    let mut desk = Desk::new();
    let wall = desk.wall();
    desk.book.silence(MemoryCritical, 10 * SECOND, desk.now, wall).unwrap();
    assert_eq!(desk.book.silences(), [Silence::new(MemoryCritical, EPOCH + 10 * SECOND)]);
    assert_eq!(desk.ticks(9, &critical()), []);
    let state = &desk.book.active()[0];
    assert_eq!((state.suppressed, state.silenced_until), (1, Some(EPOCH + 10 * SECOND)));
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
    assert_eq!(desk.book.silences(), []);

    desk.book.silence(MemoryCritical, LONGEST_SILENCE, desk.now, wall).unwrap();
    assert_eq!(desk.ticks(1_300, &critical()), []);
    assert_eq!(desk.book.active()[0].suppressed, 2, "two reminders");
    assert_eq!(desk.ticks(2, &healthy()), [(MemoryCritical, Resolved)]);
    assert_eq!(desk.ticks(5, &critical()), []);
    desk.book.lift_silence(MemoryCritical);
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
}

#[test]
fn a_silence_must_end_within_a_day() {
    let mut book = AlertBook::default();
    for span in [Duration::ZERO, LONGEST_SILENCE + Duration::from_nanos(1), Duration::MAX] {
        let refused = book.silence(MemoryWarning, span, SECOND, SECOND).unwrap_err();
        assert!(refused.to_string().ends_with("at most 24 h"), "{refused}");
    }
    assert!(book.silence(MemoryWarning, LONGEST_SILENCE, Duration::MAX, Duration::MAX).is_ok());
}

#[test]
fn an_alert_resolved_by_hand_comes_back_only_after_its_condition_has_gone() {
    let mut desk = Desk::new();
    desk.tick(&critical());
    let id = desk.book.active()[0].id.clone();
    let changes = desk.book.resolve(&id, desk.now + 5 * SECOND, desk.wall()).unwrap();
    assert_eq!(told(&changes), [(MemoryCritical, Resolved)]);
    assert_eq!(changes.notifications[0].summary, "resolved by hand after 5 s");
    assert_eq!(changes.states[0].state, AlertPhase::Resolved);
    assert_eq!(desk.ticks(100, &critical()), []);
    assert_eq!(desk.phases(), []);
    desk.tick(&healthy());
    assert_eq!(desk.tick(&critical()), [(MemoryCritical, Firing)]);
    assert_ne!(desk.book.active()[0].id, id);

    assert!(desk.book.resolve(&id, desk.now, EPOCH).unwrap().is_empty(), "resolved already");
    let refused = desk.book.resolve("nope", desk.now, EPOCH).unwrap_err();
    assert!(refused.to_string().contains("\"nope\""), "{refused}");
}

#[test]
fn three_automatic_cleanups_in_vain_are_ineffective() {
    let mut desk = Desk::new();
    desk.ticks(5, &warning());
    let at = |seconds| Duration::from_secs(seconds);
    let old = cleanup("old", 0, at(0));
    let vain = [cleanup("c", 99 * MB, at(4)), cleanup("b", 0, at(3)), cleanup("a", 1, at(2))];
    let ineffective = |desk: &mut Desk, cleanups: &[CleanupFact], level| {
        let mut facts = facts(level);
        facts.cleanups = cleanups;
        facts.largest_pruner = Some(("cache", 900 * MB));
        desk.tick(&facts).contains(&(CleanupIneffective, Firing))
    };
    let level = PressureLevel::Warning;
    let [newest, second, third] = vain.clone();
    for cleanups in [
        vec![newest.clone(), second.clone()],
        vec![newest.clone(), second.clone(), old],
        vec![newest.clone(), second.clone(), cleanup("5 %", 100 * MB, at(2))],
        vec![newest.clone(), cleanup("good", 500 * MB, at(3)), second.clone(), third.clone()],
        vec![newest, second.clone(), CleanupFact { automatic: false, ..third.clone() }],
        vec![CleanupFact { measured: None, ..third.clone() }, second, third],
    ] {
        assert!(!ineffective(&mut desk, &cleanups, level), "{cleanups:?}");
    }
    assert!(!ineffective(&mut Desk::new(), &vain, PressureLevel::Healthy));
    assert!(ineffective(&mut desk, &vain, level));
    let state = desk.book.active().into_iter().find(|state| state.name == CleanupIneffective);
    let state = state.unwrap();
    assert_eq!(state.cleanup_id.as_deref(), Some("c"));
    assert_eq!(
        state.summary,
        "the last 3 automatic cleanups freed less than 5 % each, workingSet 2100MB now: likely \
         live data, not garbage; cache holds most (900MB); raise the thresholds, or look at the \
         routes and sockets that hold it"
    );
}

#[test]
fn a_failed_cleanup_fires_until_one_succeeds_and_again_for_another_failure() {
    let mut desk = Desk::new();
    let failed = |id: &str| CleanupFact {
        failed: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        actions: 6,
        ..cleanup(id, 0, Duration::ZERO)
    };
    let run = |desk: &mut Desk, cleanup: &CleanupFact| {
        let mut facts = healthy();
        facts.cleanups = std::slice::from_ref(cleanup);
        desk.tick(&facts)
    };
    assert_eq!(run(&mut desk, &failed("c1")), [(CleanupFailed, Firing)]);
    let state = desk.book.active().remove(0);
    assert_eq!(
        state.summary,
        "4 of 6 actions of cleanup c1 failed: a, b, c, ...; see its results for the reasons"
    );
    assert_eq!(run(&mut desk, &failed("c2")), []);
    assert_eq!(desk.book.active()[0].cleanup_id.as_deref(), Some("c2"));

    desk.book.resolve(&state.id, desk.now, EPOCH).unwrap();
    assert_eq!(run(&mut desk, &failed("c2")), [], "the failure that was resolved by hand");
    assert_eq!(desk.phases(), []);
    desk.now += 60 * SECOND;
    assert_eq!(run(&mut desk, &failed("c3")), [(CleanupFailed, Firing)], "another one is news");
    let good = cleanup("c4", 0, Duration::ZERO);
    assert_eq!(run(&mut desk, &good), []);
    assert_eq!(run(&mut desk, &good), [(CleanupFailed, Resolved)]);
}

#[test]
fn shedding_in_bursts_is_one_alert() {
    let mut desk = Desk::new();
    let mut burst = healthy();
    burst.shed = 7;
    assert_eq!(desk.tick(&burst), [(SheddingActive, Firing)]);
    for _ in 0..10 {
        assert_eq!(desk.ticks(4, &healthy()), []);
        assert_eq!(desk.tick(&burst), []);
    }
    assert_eq!(
        desk.book.active()[0].summary,
        "77 requests refused since this began, workingSet 1200MB"
    );
    assert_eq!(desk.ticks(5, &healthy()), []);
    assert_eq!(desk.tick(&healthy()), [(SheddingActive, Resolved)]);
}

#[test]
fn forced_sockets_are_one_alert_until_there_was_none_for_a_minute() {
    let mut desk = Desk::new();
    let mut forced = healthy();
    forced.sockets_forced = 3;
    assert_eq!(desk.tick(&forced), [(SocketCleanupForced, Firing)]);
    assert!(desk.book.active()[0].summary.contains("the log names the tasks"));
    assert_eq!(desk.ticks(50, &healthy()), []);
    assert_eq!(desk.tick(&forced), []);
    assert_eq!(desk.ticks(60, &healthy()), []);
    assert_eq!(desk.tick(&healthy()), [(SocketCleanupForced, Resolved)]);
}

#[test]
fn without_readings_the_memory_alerts_stay_as_they_are() {
    let mut desk = Desk::new();
    desk.tick(&critical());
    let mut stalled = healthy();
    stalled.stalled = true;
    stalled.reading_age = Duration::from_secs(42);
    assert_eq!(desk.tick(&stalled), [(SamplerStalled, Firing)]);
    assert_eq!(desk.ticks(100, &stalled), []);
    assert_eq!(desk.phases(), [(MemoryCritical, IsFiring), (SamplerStalled, IsFiring)]);
    let stalled = desk.book.active().remove(1);
    assert_eq!(stalled.severity, Severity::Critical);
    assert!(stalled.summary.contains("no usable memory reading for 42 s"));
    let resolved = desk.ticks(2, &healthy());
    assert_eq!(resolved, [(MemoryCritical, Resolved), (SamplerStalled, Resolved)]);
}

#[test]
fn thresholds_near_the_limit_are_told_with_the_thresholds_in_force() {
    let mut desk = Desk::new();
    let mut near = healthy();
    near.above_limit = true;
    near.limit_bytes = Some(2_147_483_648);
    assert_eq!(desk.tick(&near), [(ThresholdAboveLimit, Firing)]);
    let state = desk.book.active().remove(0);
    assert!(
        state.summary.starts_with(
            "warning 2000MB or critical 3000MB is at or above 95 % of the memory limit of 2147MB"
        ),
        "{}",
        state.summary
    );
}

#[test]
fn a_memory_alert_says_what_to_act_on() {
    let mut desk = Desk::new();
    desk.tick(&critical());
    let done = [cleanup("c1", 40 * MB, SECOND)];
    let mut full = critical();
    full.limit_bytes = Some(4_000 * MB);
    full.live_bytes = Some(2_900 * MB);
    full.cleanups = &done;
    full.shedding = true;
    desk.now += SECOND;
    let changes = desk.check(&full);
    let state = changes.states.iter().find(|state| state.name == MemoryCritical).unwrap();
    assert_eq!(
        state.summary,
        "workingSet 3100MB ≥ critical 3000MB (limit 4000MB), live 2900MB; moderate cleanup freed \
         40MB; shedding on"
    );
    assert_eq!(state.cleanup_id.as_deref(), Some("c1"));
    desk.tick(&healthy());
    desk.now += SECOND;
    let changes = desk.check(&healthy());
    assert_eq!(
        changes.notifications[0].to_string(),
        "✅ MemoryCritical resolved shop@host: workingSet 1200MB, back below critical 3000MB \
         after 3 s"
    );
}

#[test]
fn a_level_that_is_kept_below_its_threshold_is_not_told_to_be_above() {
    let mut desk = Desk::new();
    desk.tick(&critical());
    let mut kept = critical();
    kept.figure_bytes = Some(2_950 * MB);
    desk.now += Duration::from_secs(60);
    desk.check(&kept);
    let summaries: Vec<_> = desk.book.active().into_iter().map(|state| state.summary).collect();
    assert!(
        summaries
            .iter()
            .any(|said| said.starts_with("workingSet 2950MB just under critical 3000MB")),
        "{summaries:?}"
    );
}

#[test]
fn the_history_is_bounded_and_newest_first() {
    let mut desk = Desk::new();
    for _ in 0..HISTORY + 50 {
        desk.tick(&critical());
        desk.ticks(2, &healthy());
    }
    let history = desk.book.history();
    assert_eq!(history.len(), HISTORY);
    assert!(history.windows(2).all(|pair| pair[0].since > pair[1].since));
    assert!(desk.book.bytes() < 200_000, "{}", desk.book.bytes());
}

#[test]
fn a_step_of_the_wall_clock_changes_no_decision() {
    let mut desk = Desk::new();
    desk.tick(&critical());
    let back = desk.book.evaluate(desk.now + SECOND, Duration::ZERO, &critical());
    assert!(back.is_empty());
    let far = desk.book.evaluate(desk.now + SECOND, Duration::MAX, &critical());
    assert!(far.is_empty());
}

#[test]
fn names_read_back_and_an_unknown_one_lists_them() {
    for (place, name) in AlertName::ALL.into_iter().enumerate() {
        assert_eq!(name as usize, place, "slots are found by their place");
        assert_eq!(name.as_str().parse(), Ok(name));
        assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
    }
    let refused = "memory".parse::<AlertName>().unwrap_err().to_string();
    assert!(refused.starts_with("unknown alert \"memory\"; accepted are MemoryCritical, "));
}

#[tokio::test]
async fn a_closure_is_a_sink() {
    let sink = FnSink::new("mine", |told: AlertNotification| async move {
        assert_eq!(told.kind, NotificationKind::Test);
        Ok(())
    });
    assert_eq!((sink.name(), LogSink.name()), ("mine", "log"));
    assert!(sink.deliver(AlertNotification::test("", EPOCH)).await.is_ok());
    assert!(LogSink.deliver(AlertNotification::test("", EPOCH)).await.is_ok());
}

/// What one step of a random story brings.
fn step() -> impl Strategy<Value = (u64, u8, bool, u64, bool)> {
    (1_u64..20_000, 0_u8..3, proptest::bool::weighted(0.1), 0_u64..3, proptest::bool::weighted(0.1))
}

proptest! {
    #[test]
    fn every_story_told_to_the_sinks_makes_sense(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut desk = Desk::new();
        // Which alert of each rule the sinks believe to be firing, and when they were told.
        let mut open: std::collections::BTreeMap<AlertName, String> = Default::default();
        let mut begun: std::collections::BTreeMap<AlertName, Duration> = Default::default();
        for (millis, level, stalled, shed, by_hand) in steps {
            desk.now += Duration::from_millis(millis);
            let mut facts = facts(PressureLevel::from_u8(level));
            facts.stalled = stalled;
            facts.shed = shed / 2;
            let mut changes = desk.check(&facts);
            if by_hand && let Some(state) = desk.book.active().first() {
                let resolved = desk.book.resolve(&state.id, desk.now, desk.wall()).unwrap();
                changes.notifications.extend(resolved.notifications);
            }
            for told in changes.notifications {
                prop_assert!(!told.summary.is_empty());
                match told.kind {
                    NotificationKind::Firing => {
                        let last = begun.insert(told.name, desk.now);
                        prop_assert!(last.is_none_or(|last| desk.now - last >= 30 * SECOND));
                        prop_assert!(open.insert(told.name, told.id).is_none());
                    }
                    NotificationKind::Repeat => {
                        prop_assert_eq!(open.get(&told.name), Some(&told.id));
                    }
                    _ => prop_assert_eq!(open.remove(&told.name), Some(told.id)),
                }
            }
            let firing = |name| desk.phases().contains(&(name, IsFiring));
            prop_assert!(open.keys().all(|name| firing(*name)), "{:?}", open);
            prop_assert!(desk.book.active().len() <= AlertName::ALL.len());
        }
    }
}

#[test]
fn a_leak_is_told_with_its_rate_and_the_time_left_until_it_is_over() {
    let forecast = |leak_suspected, critical_in_seconds| {
        let mut facts = facts(PressureLevel::Healthy);
        facts.forecast = Some(crate::forecast::Forecast {
            slope_bytes_per_second: 250_400.0,
            critical_in_seconds,
            leak_suspected,
            window_seconds: 1_200,
            method: "theil-sen",
        });
        facts
    };
    let mut desk = Desk::new();
    assert_eq!(desk.ticks(3, &forecast(false, Some(2_400))), []);
    for (seconds, words) in [
        (Some(2_400), "by 250 kB a second: critical in about 40 min at this rate;"),
        (Some(0), "by 250 kB a second, critical now;"),
        (Some(14_000), "critical in about 4 h at this rate;"),
        (None, "by 250 kB a second;"),
    ] {
        let mut desk = Desk::new();
        desk.tick(&forecast(true, seconds));
        let active = desk.book.active();
        assert_eq!(active[0].name, AlertName::MemoryLeakSuspected);
        assert!(active[0].summary.contains(words), "{}", active[0].summary);
    }
    let leak = AlertName::MemoryLeakSuspected;
    assert_eq!(desk.tick(&forecast(true, Some(60))), [(leak, NotificationKind::Firing)]);
    let mut unread = forecast(false, None);
    unread.stalled = true;
    unread.reading_age = Duration::from_secs(99);
    // Without readings nobody knows whether it is over.
    assert!(!desk.ticks(3, &unread).iter().any(|(name, _)| *name == leak));
    let told = desk.ticks(3, &forecast(false, None));
    assert!(told.contains(&(leak, NotificationKind::Resolved)), "{told:?}");
}

#[test]
fn database_rules_that_are_behind_are_named_until_they_have_caught_up() {
    let mut desk = Desk::new();
    let late = [("empty_threads".to_owned(), 118), ("sessions".to_owned(), 0)];
    let mut behind = healthy();
    behind.stalled_rules = &late;
    assert_eq!(desk.tick(&behind), [(RetentionStalled, Firing)]);
    let summary = desk.book.active().remove(0).summary;
    assert!(summary.contains("empty_threads (118 rows wait), sessions;"), "{summary}");
    assert_eq!(desk.ticks(2, &healthy()), [(RetentionStalled, Resolved)]);
}
