//! The book, the sinks and the process around them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{counter, gauge};
use tokio::runtime::Handle;

use super::{
    book::{AlertBook, AlertConfig, SilenceError, UnknownAlert},
    rules::{AlertFacts, AlertName, CleanupFact},
    sink::{AlertSink, LogSink},
    sinks::{AlertSinks, SinkTest},
    state::{AlertChanges, AlertNotification, AlertPhase, AlertState, Silence},
};
use crate::{
    clock::Clock,
    events::{EventKind, Events},
    level::PressureLevel,
    reading::MemoryMetric,
    shared::Shared,
    thresholds::ThresholdOrigin,
};

/// Cleanups looked at: more than any rule needs, so that those asked for by hand between the
/// automatic ones hide none.
const CLEANUPS: usize = 10;
/// After this long a cleanup is history: one that failed and was not needed again must not keep
/// an alert firing for ever.
const JUDGED_FOR: Duration = Duration::from_secs(3_600);

/// The alerts of a running process: what is active, what was, silences and sinks; see
/// [`Plimsoll::alerts`](crate::Plimsoll::alerts).
pub struct AlertDesk {
    inner: Mutex<Inner>,
    /// Held from a change of the book until everybody is told, so that "resolved" never
    /// overtakes "firing". Taken before `inner`.
    telling: Mutex<()>,
    sinks: AlertSinks,
    clock: Clock,
}

struct Inner {
    book: AlertBook,
    /// Requests shed as of the last judgement.
    shed_total: u64,
    /// Connections removed at their deadline as of the last judgement.
    forced_total: u64,
}

impl AlertDesk {
    pub(crate) fn new(
        config: AlertConfig,
        sinks: Vec<Arc<dyn AlertSink>>,
        runtime: &Handle,
        clock: &Clock,
    ) -> Self {
        Self {
            inner: Mutex::new(Inner {
                book: AlertBook::new(config),
                shed_total: 0,
                forced_total: 0,
            }),
            telling: Mutex::default(),
            sinks: AlertSinks::spawn(sinks, runtime),
            clock: clock.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The book is whole after each step, and none of its steps panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self) -> MutexGuard<'_, ()> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the rules against the state of the process, tells the sinks and the stream.
    pub(crate) fn judge(&self, shared: &Shared) {
        let (now, wall) = self.moment();
        let cleanups: Vec<_> = shared
            .history
            .ended_cleanups(CLEANUPS)
            .iter()
            .filter(|(_, ended)| now.saturating_sub(*ended) < JUDGED_FOR)
            .filter_map(|(record, ended)| CleanupFact::of(record, *ended))
            .collect();
        let largest = largest_pruner(shared, &cleanups);
        let mut facts = facts(shared, &cleanups);
        let stalled = stalled_rules(shared, wall);
        facts.stalled_rules = &stalled;
        facts.largest_pruner = largest.as_ref().map(|(name, bytes)| (name.as_str(), *bytes));

        let shed_total = shared.ledger.shed_total();
        let sockets = shared.sockets.report();
        let _telling = self.telling();
        let mut inner = self.lock();
        facts.shed = shed_total.saturating_sub(inner.shed_total);
        facts.shedding = facts.shed > 0;
        inner.shed_total = shed_total;
        let forced_total = sockets.map_or(inner.forced_total, |sockets| sockets.forced);
        facts.sockets_forced = forced_total.saturating_sub(inner.forced_total);
        inner.forced_total = forced_total;
        let changes = inner.book.evaluate(now, wall, &facts);
        drop(inner);
        self.tell(&shared.events, &changes);
    }

    fn tell(&self, events: &Events, changes: &AlertChanges) {
        for state in &changes.states {
            events.publish(EventKind::Alert, state);
        }
        for notification in &changes.notifications {
            self.sinks.send(notification);
        }
    }

    /// The alerts that are pending or firing.
    pub fn active(&self) -> Vec<AlertState> {
        self.lock().book.active()
    }

    /// Whether any alert is pending or firing.
    pub fn any_active(&self) -> bool {
        self.lock().book.any_active()
    }

    /// The alerts that have fired and are resolved, newest first; at most 200.
    pub fn history(&self) -> Vec<AlertState> {
        self.lock().book.history()
    }

    /// The silences in force.
    pub fn silences(&self) -> Vec<Silence> {
        self.lock().book.silences()
    }

    pub(crate) fn resolve(&self, events: &Events, id: &str) -> Result<(), UnknownAlert> {
        let (now, wall) = self.moment();
        let _telling = self.telling();
        let changes = self.lock().book.resolve(id, now, wall)?;
        self.tell(events, &changes);
        Ok(())
    }

    pub(crate) fn silence(
        &self,
        events: &Events,
        name: AlertName,
        span: Duration,
    ) -> Result<(), SilenceError> {
        let (now, wall) = self.moment();
        let _telling = self.telling();
        let changes = self.lock().book.silence(name, span, now, wall)?;
        self.tell(events, &changes);
        Ok(())
    }

    pub(crate) fn lift_silence(&self, events: &Events, name: AlertName) {
        let _telling = self.telling();
        let changes = self.lock().book.lift_silence(name);
        self.tell(events, &changes);
    }

    fn moment(&self) -> (Duration, Duration) {
        (self.clock.now(), self.clock.wall())
    }

    /// Sends a test notification to every sink and tells how each fared; takes at most 5 s.
    pub async fn test(&self) -> Vec<SinkTest> {
        let instance = self.lock().book.config().instance.clone();
        self.sinks.test(&AlertNotification::test(&instance, self.moment().1)).await
    }

    /// The sinks, with what became of the notifications.
    pub fn sinks(&self) -> &AlertSinks {
        &self.sinks
    }

    /// Waits until every sink has been told everything, at most for `deadline`; returns how many
    /// notifications are left then.
    pub(crate) async fn flush(&self, deadline: Duration) -> usize {
        self.sinks.flush(deadline).await
    }

    /// Tells the current metrics recorder which alerts fire and what became of notifications.
    pub(crate) fn emit(&self) {
        let active = self.active();
        for name in AlertName::ALL {
            let fires =
                active.iter().any(|state| state.name == name && state.state == AlertPhase::Firing);
            gauge!(
                "plimsoll_alerts_firing",
                "alertname" => name.as_str(), "severity" => name.severity().as_str()
            )
            .set(f64::from(u8::from(fires)));
        }
        let total = |sink: &str, outcome: &'static str, count: u64| {
            counter!(
                "plimsoll_alert_notifications_total",
                "sink" => sink.to_owned(), "outcome" => outcome
            )
            .absolute(count);
        };
        total(LogSink::NAME, "delivered", self.sinks.logged());
        for (sink, stats) in self.sinks.stats() {
            total(sink, "delivered", stats.delivered);
            total(sink, "failed", stats.failed);
            total(sink, "dropped", stats.dropped);
            total(sink, "withdrawn", stats.withdrawn);
        }
    }

    /// Bytes held by the book and the queues.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().book.bytes() + self.sinks.bytes()
    }
}

impl fmt::Debug for AlertDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertDesk")
            .field("active", &self.active())
            .field("sinks", &self.sinks)
            .finish_non_exhaustive()
    }
}

fn facts<'a>(shared: &Shared, cleanups: &'a [CleanupFact]) -> AlertFacts<'a> {
    let thresholds = shared.evaluator().thresholds();
    let latest = shared.latest().clone();
    let (metric, marks) = match latest.evaluation {
        Some(evaluation) => (evaluation.metric, evaluation.marks),
        None => (MemoryMetric::WorkingSet, thresholds.marks),
    };
    let limit = latest.reading.limit_bytes;
    let mut facts = AlertFacts::new(shared.level(), metric, marks);
    facts.figure_bytes = latest.evaluation.map(|evaluation| evaluation.figure);
    facts.limit_bytes = limit;
    facts.live_bytes = latest.reading.heap.map(|heap| heap.allocated_bytes);
    // The defaults stay clear of the limit by themselves.
    facts.above_limit =
        thresholds.origin != ThresholdOrigin::Default && marks.any_above_limit(limit);
    facts.reading_age = shared.reading_age().unwrap_or_default();
    facts.stalled = shared.is_stalled();
    facts.forecast = shared.forecast();
    facts.cleanups = cleanups;
    facts
}

/// Rules that are behind since before three intervals, or since the start.
fn stalled_rules(shared: &Shared, wall: Duration) -> Vec<(String, u64)> {
    let Some(runner) = shared.retention.get() else { return Vec::new() };
    let since = wall.saturating_sub(shared.clock.now());
    let report = runner.report();
    let stalled = report.stalled(since, wall);
    stalled.into_iter().map(|(rule, rows)| (rule.to_owned(), rows)).collect()
}

/// Asks the pruners only when an alert may need it: what they answer is the program's code.
fn largest_pruner(shared: &Shared, cleanups: &[CleanupFact]) -> Option<(String, u64)> {
    if shared.level() == PressureLevel::Healthy || cleanups.is_empty() {
        return None;
    }
    let held = shared.registry.figures().into_iter().filter_map(|pruner| {
        let bytes = pruner.bytes.filter(|bytes| *bytes > 0)?;
        Some((pruner.name, bytes))
    });
    held.max_by_key(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use crate::{
        Heard, MB, MemoryReading, MemorySource, Plimsoll, SourceError, Thresholds,
        alerts::{AlertName, FnSink, NotificationKind},
        events::EventKind,
    };

    struct Fixed;

    impl MemorySource for Fixed {
        fn read(&mut self) -> Result<MemoryReading, SourceError> {
            Ok(MemoryReading { rss_bytes: Some(1_500 * MB), ..Default::default() })
        }

        fn describe(&self) -> String {
            "always the same".to_owned()
        }
    }

    #[tokio::test]
    async fn a_critical_level_reaches_sink_stream_and_history_and_so_does_its_end() {
        let (told, mut notifications) = mpsc::unbounded_channel();
        let sink = FnSink::new("test", move |notification| {
            // The test may have ended by the time that a shutdown is told.
            let _ = told.send(notification);
            std::future::ready(Ok(()))
        });
        let plimsoll = Plimsoll::builder()
            .thresholds(Thresholds::new(MB, 2 * MB).unwrap())
            .alert_sink(sink)
            .start_with(Fixed)
            .unwrap();
        let firing = notifications.recv().await.unwrap();
        let (name, kind) = (firing.name, firing.kind);
        assert_eq!((name, kind), (AlertName::MemoryCritical, NotificationKind::Firing));
        assert!(firing.summary.starts_with("rss 1500MB ≥ critical 2MB"), "{}", firing.summary);
        assert!(plimsoll.alerts().active().iter().any(|state| state.id == firing.id));

        let (_, mut listener) = plimsoll.listen(None);
        plimsoll.set_thresholds(Thresholds::default()).unwrap();
        let resolved = notifications.recv().await.unwrap();
        assert_eq!((resolved.id, resolved.kind), (firing.id, NotificationKind::Resolved));
        loop {
            match listener.next().await {
                Heard::Event(event) if event.kind == EventKind::Alert => {
                    assert!(event.json.contains("\"state\":\"resolved\""), "{}", event.json);
                    break;
                }
                Heard::Ended => panic!("the stream ended before the alert"),
                _ => {}
            }
        }
        assert!(plimsoll.alerts().active().is_empty());
        assert_eq!(plimsoll.alerts().history().len(), 1);
        assert_eq!(plimsoll.alerts().test().await.len(), 2);
        plimsoll.shutdown().await;
    }
}
