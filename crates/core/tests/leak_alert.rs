//! From readings to forecast, report and alert, on a clock that the test moves.

use std::time::Duration;

use plimsoll_core::{
    Clock, EventKind, HeapFigures, Heard, Listener, MB, Plimsoll, PlimsollBuilder, Thresholds,
    alerts::{AlertName, FnSink, NotificationKind},
};
use plimsoll_testkit::ScriptedSource;
use tokio::sync::mpsc;

const STEP: Duration = Duration::from_secs(20);

fn thresholds() -> Thresholds {
    Thresholds::new(2_000 * MB, 3_000 * MB).expect("ordered")
}

fn builder(clock: &Clock) -> PlimsollBuilder {
    Plimsoll::builder().thresholds(thresholds()).automatic_cleanup(false).clock(clock.clone())
}

/// Moves the clock, and waits until the worker has taken its sample of that moment.
async fn step(plimsoll: &Plimsoll, clock: &Clock, listener: &mut Listener) {
    clock.advance(STEP);
    plimsoll.check().await.expect("readable");
    // New thresholds, also the same ones, wake the worker, whose wait is in real time.
    plimsoll.set_thresholds(thresholds()).expect("ordered");
    loop {
        match listener.next().await {
            Heard::Event(event) if event.kind == EventKind::Sample => return,
            Heard::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_leak_is_told_in_report_and_alert_and_its_end_too() {
    let (told, mut notifications) = mpsc::unbounded_channel();
    let sink = FnSink::new("test", move |notification| {
        // The test may have ended by the time that a shutdown is told.
        let _ = told.send(notification);
        std::future::ready(Ok(()))
    });
    let clock = Clock::manual(Duration::from_secs(1_767_868_200));
    let (source, script) = ScriptedSource::with_rss(600 * MB);
    let plimsoll = builder(&clock).alert_sink(sink).start_with(source).expect("starts");
    let (_, mut listener) = plimsoll.listen(None);
    let mut live = 500 * MB;
    for _ in 0..200 {
        live += 10 * MB;
        script.update(|reading| {
            reading.rss_bytes = Some(live + 100 * MB);
            reading.heap = Some(HeapFigures::new(live, live + 50 * MB));
        });
        step(&plimsoll, &clock, &mut listener).await;
        if plimsoll.report().forecast.is_some_and(|forecast| forecast.leak_suspected) {
            break;
        }
    }
    let json = serde_json::to_value(plimsoll.report()).expect("plain data");
    let forecast = &json["forecast"];
    assert_eq!(forecast["leakSuspected"], true, "{forecast}");
    assert_eq!(forecast["method"], "theil-sen");
    assert_eq!(forecast["slopeBytesPerSecond"].as_f64().map(f64::round), Some(500_000.0));
    let seconds = forecast["criticalInSeconds"].as_u64().expect("it rises");
    let truth = (3_000 * MB - live - 100 * MB) / 500_000;
    assert!(seconds.abs_diff(truth) <= 200, "{seconds} told, {truth} true");

    let firing = loop {
        step(&plimsoll, &clock, &mut listener).await;
        match notifications.try_recv() {
            Ok(notification) if notification.name == AlertName::MemoryLeakSuspected => {
                break notification;
            }
            _ => tokio::task::yield_now().await,
        }
    };
    assert_eq!(firing.kind, NotificationKind::Firing);
    assert!(firing.summary.contains(": critical in about "), "{}", firing.summary);
    assert!(firing.summary.contains(" min at this rate"), "{}", firing.summary);

    script.set_heap(HeapFigures::new(500 * MB, 550 * MB));
    script.set_rss(600 * MB);
    let resolved = loop {
        step(&plimsoll, &clock, &mut listener).await;
        match notifications.try_recv() {
            // The clock outruns the sinks, so that a repeat may come before.
            Ok(notification)
                if notification.name == AlertName::MemoryLeakSuspected
                    && notification.kind != NotificationKind::Repeat =>
            {
                break notification;
            }
            _ => tokio::task::yield_now().await,
        }
    };
    assert_eq!((resolved.id, resolved.kind), (firing.id, NotificationKind::Resolved));
    plimsoll.shutdown().await;
}

#[tokio::test]
async fn without_evidence_there_is_no_forecast() {
    let clock = Clock::manual(Duration::ZERO);
    let (source, _script) = ScriptedSource::with_rss(600 * MB);
    let plimsoll = builder(&clock).start_with(source).expect("starts");
    assert!(plimsoll.forecast().is_none());
    let json = serde_json::to_value(plimsoll.report()).expect("plain data");
    assert!(
        json["forecast"].is_null()
            && json.as_object().is_some_and(|it| it.contains_key("forecast"))
    );
    plimsoll.shutdown().await;
}
