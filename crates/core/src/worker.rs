//! The second thread: releases pages, keeps the history, judges the alerts, forecasts leaks, emits
//! the metrics.
//!
//! Apart from the sampler, because a release takes as long as it takes; apart from the runtime,
//! because all of this has to go on when that stalls. It is also who notices that the sampler
//! has.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use crate::{
    clock::saturating_millis,
    events::EventKind,
    history::Sample,
    level::PressureLevel,
    release::is_worth_a_pass,
    shared::Shared,
    telemetry::{Cursor, emit},
};

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked anew where memory goes; figures for it are taken with each sample.
const FORECAST_EVERY: Duration = Duration::from_secs(10);
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Alerts are judged this often while anything is wrong ...
const ALERTS_UNDER_PRESSURE: Duration = Duration::from_millis(250);
/// ... and this often while all is well.
const ALERTS_AT_REST: Duration = Duration::from_secs(1);

/// When what is due.
struct Agenda {
    sample: Duration,
    alerts: Duration,
    forecast: Duration,
    upkeep: Duration,
    release: Option<Duration>,
    level: PressureLevel,
}

/// The body of the worker thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut cursor = Cursor::default();
    let mut agenda = Agenda {
        sample: Duration::ZERO,
        alerts: Duration::ZERO,
        forecast: Duration::ZERO,
        upkeep: Duration::ZERO,
        release: shared.release_interval.map(|every| shared.clock.now() + every),
        level: PressureLevel::Healthy,
    };
    let _closing = Closing(shared);
    while !shared.sampler.is_stopped() {
        let now = shared.clock.now();
        // First what somebody may be waiting to be told: the edge, then the pages.
        let level = shared.level();
        if now >= agenda.alerts || level != agenda.level {
            agenda.level = level;
            survive("alerts", || shared.alerts.judge(shared));
            let calm = level == PressureLevel::Healthy && !shared.alerts.any_active();
            agenda.alerts = now + if calm { ALERTS_AT_REST } else { ALERTS_UNDER_PRESSURE };
        }
        serve_releases(shared, &mut agenda, now);
        if now >= agenda.sample {
            agenda.sample = now + SAMPLE_EVERY;
            take_sample(shared, now);
            let asks = now >= agenda.forecast;
            if asks {
                agenda.forecast = now + FORECAST_EVERY;
            }
            watch_for_leaks(shared, now, asks);
            survive("metrics", || emit(shared, &mut cursor));
        }
        if now >= agenda.upkeep {
            agenda.upkeep = now + UPKEEP_EVERY;
            shared.releaser.refresh_heaps(|| shared.clock.now());
            // Out of the lock: an upkeep may add another.
            for upkeep in shared.upkeep().clone() {
                survive("upkeep", || upkeep());
            }
        }
        if shared.level() != agenda.level {
            continue; // the wake for it may have been spent on a release
        }
        let due = [Some(agenda.sample), Some(agenda.alerts), Some(agenda.upkeep), agenda.release];
        let next = due.into_iter().flatten().min().unwrap_or(now + SAMPLE_EVERY);
        std::thread::park_timeout(next.saturating_sub(shared.clock.now()));
    }
}

/// Sinks, recorders and upkeep are the program's code: a panic in one must not end the thread
/// that gives pages back.
fn survive(what: &str, act: impl FnOnce()) {
    if std::panic::catch_unwind(AssertUnwindSafe(act)).is_err() {
        tracing::error!(what, "panicked on the worker thread; it goes on");
    }
}

/// However the thread ends, nobody waits for it, and what was given to it is dropped.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.releaser.close();
        self.0.upkeep().clear();
    }
}

/// Serves what is asked for, and the proactive pass when its time has come.
fn serve_releases(shared: &Shared, agenda: &mut Agenda, now: Duration) {
    let scheduled = match (agenda.release, shared.release_interval) {
        (Some(due), Some(every)) if now >= due => {
            agenda.release = Some(now + every);
            let worth = is_worth_a_pass(&shared.latest().reading);
            // Nobody waits for the report.
            worth.then(|| shared.releaser.ask(1))
        }
        _ => None,
    };
    shared.releaser.serve(
        || shared.fresh_reading_blocking().and_then(|reading| reading.rss_bytes),
        || shared.clock.now(),
        || shared.seen(),
    );
    drop(scheduled);
}

fn watch_for_leaks(shared: &Shared, now: Duration, asks: bool) {
    let critical = shared.evaluator().thresholds().marks.critical_bytes();
    let (live, figure) = {
        let latest = shared.latest();
        let live = latest.reading.heap.map(|heap| heap.allocated_bytes);
        (live, latest.evaluation.map(|evaluation| evaluation.figure))
    };
    // An old figure would look like memory that stands still.
    let figure = figure.filter(|_| !shared.is_stalled());
    let mut leak = shared.leak();
    leak.watched.observe(now, live, figure, critical);
    if asks {
        leak.told = leak.watched.forecast(critical);
    }
}

fn take_sample(shared: &Shared, now: Duration) {
    let sample = {
        let mut latest = shared.latest();
        let figure = latest.evaluation.map(|evaluation| evaluation.figure);
        Sample {
            timestamp: saturating_millis(shared.clock.wall()),
            figure: latest.peak.take().or(figure),
            rss: latest.reading.rss_bytes,
            heap_used: latest.reading.heap.map(|heap| heap.allocated_bytes),
            limit: latest.reading.limit_bytes,
            level: shared.ledger.level(),
            reserved: shared.ledger.reserved_bytes(),
            in_flight: shared.ledger.in_flight(),
            shed: shared.ledger.shed_total(),
        }
    };
    shared.history.push_sample(sample, now);
    shared.events.publish(EventKind::Sample, &sample);
}
