use std::{sync::mpsc, time::Duration};

use http::Method;
use plimsoll_core::{
    Clock, EventKind, Heard, Listener, MB, MemoryReading, MemorySource, Plimsoll, SourceError,
    Thresholds,
};
use plimsoll_monitor::MonitorRouteLayer;
use tower::{Layer, ServiceExt};

use crate::support::{App, Server, empty, far_thresholds, local, still};

/// A server whose time stands still, at critical.
struct Critical {
    server: Server,
    clock: Clock,
    events: Listener,
}

impl Critical {
    /// With the sample of the first second behind it.
    async fn start() -> Self {
        let clock = still();
        let builder = Plimsoll::builder()
            .clock(clock.clone())
            .automatic_cleanup(false)
            .thresholds(Thresholds::new(MB, 1_000 * MB).unwrap());
        let server = Server::with(builder, |layer| layer);
        let (missed, events) = server.plimsoll.listen(Some(0));
        let missed = missed.expect("nothing is forgotten yet");
        let mut critical = Self { server, clock, events };
        if missed.iter().all(|event| event.kind != EventKind::Sample) {
            critical.sampled().await;
        }
        critical
    }

    /// Lets a second pass, and waits for the sample that is taken in it.
    async fn second(&mut self) {
        self.clock.advance(Duration::from_secs(1));
        self.critical_at(1_000);
        self.sampled().await;
    }

    /// Changing the thresholds wakes the thread that takes the samples.
    fn critical_at(&self, mb: u64) {
        self.server.plimsoll.set_thresholds(Thresholds::new(MB, mb * MB).unwrap()).unwrap();
    }

    async fn sampled(&mut self) {
        loop {
            match self.events.next().await {
                Heard::Event(event) if event.kind == EventKind::Sample => return,
                Heard::Ended => panic!("ended"),
                _ => {}
            }
        }
    }

    async fn readyz(&self) -> u16 {
        self.server.get("/readyz").await.status().as_u16()
    }
}

#[tokio::test]
async fn readiness_is_refused_at_sustained_critical_but_not_for_ever() {
    let mut critical = Critical::start().await;
    critical.server.script.set_rss(10 * MB);
    critical.server.plimsoll.check().await.unwrap();
    critical.critical_at(20_000);
    critical.second().await;
    critical.server.script.set_rss(1_400 * MB);
    critical.server.plimsoll.check().await.unwrap();
    assert_eq!(critical.server.plimsoll.level().as_str(), "critical");
    assert_eq!(critical.readyz().await, 200, "it may pass");
    critical.second().await;
    critical.second().await;
    let refusal = critical.server.get("/readyz?verbose").await;
    assert_eq!(refusal.status(), 503);
    assert_eq!(refusal.header("retry-after"), "5");
    assert_eq!(refusal.text(), "[-]memory critical\n[+]shutdown ok\nreadyz check failed\n");
    assert_eq!(critical.server.get("/livez").await.text(), "ok", "memory is no reason to restart");

    let mut answers = Vec::new();
    for _ in 0..90 {
        critical.second().await;
        answers.push(critical.readyz().await);
    }
    let refused = answers.iter().take_while(|status| **status == 503).count();
    assert_eq!(refused, 59, "a minute, with the first refusal: {answers:?}");
    assert!(answers[59..89].iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(answers[89], 503, "{answers:?}");

    critical.critical_at(20_000);
    assert_eq!(critical.readyz().await, 200);
    assert_eq!(critical.server.get("/readyz").await.text(), "ok");
}

#[tokio::test]
async fn readiness_ends_with_a_shutdown_and_liveness_does_not() {
    let server = Server::start();
    assert_eq!(server.get("/readyz").await.status(), 200);
    server.plimsoll.shutdown().await;
    let answer = server.get("/readyz").await;
    assert_eq!((answer.status().as_u16(), answer.text()), (503, "not ready: shutting down"));
    assert_eq!(server.get("/livez").await.status(), 200);
    server.get("/readyz?verbose=maybe").await.problem(400, "malformed-request");
}

/// Reads once, and then not again until it is let go.
struct Stuck {
    reads: u32,
    gate: mpsc::Receiver<()>,
}

impl MemorySource for Stuck {
    fn read(&mut self) -> Result<MemoryReading, SourceError> {
        self.reads += 1;
        if self.reads > 1 {
            // An error says that the gate is open for good.
            let _ = self.gate.recv();
        }
        let mut reading = MemoryReading::default();
        reading.rss_bytes = Some(MB);
        Ok(reading)
    }

    fn describe(&self) -> String {
        "stuck".to_owned()
    }
}

#[tokio::test]
async fn liveness_fails_when_nobody_looks_any_more() {
    let (open, gate) = mpsc::channel();
    let clock = still();
    let source = Stuck { reads: 0, gate };
    let plimsoll = Plimsoll::builder().clock(clock.clone()).start_with(source).unwrap();
    let app = MonitorRouteLayer::new(&plimsoll).layer(App);
    let livez = async || {
        let request = local(Method::GET, "/livez").body(empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(livez().await, 200);
    clock.advance(Duration::from_secs(29));
    assert!(plimsoll.is_stalled());
    assert_eq!(livez().await, 200, "stalled, but not for long");
    clock.advance(Duration::from_secs(2));
    assert_eq!(livez().await, 503);
    drop(open);
    assert!(plimsoll.check().await.is_some());
    assert_eq!(livez().await, 200);
}

#[tokio::test]
async fn a_source_that_fails_is_no_reason_for_a_restart() {
    let clock = still();
    let server = Server::with(Plimsoll::builder().clock(clock.clone()), |layer| layer);
    server.script.fail(true);
    for _ in 0..5 {
        clock.advance(Duration::from_secs(31));
        assert!(server.plimsoll.check().await.is_none());
        assert!(server.plimsoll.is_stalled());
        assert_eq!(server.get("/livez").await.status(), 200);
    }
}

#[tokio::test]
async fn a_long_check_interval_is_no_stall() {
    let clock = still();
    let interval = Duration::from_secs(600);
    let builder = Plimsoll::builder()
        .clock(clock.clone())
        .check_interval(interval)
        .thresholds(far_thresholds());
    let server = Server::with(builder, |layer| layer);
    for _ in 0..2 {
        clock.advance(Duration::from_secs(250));
        assert_eq!(server.get("/livez").await.status(), 200);
    }
}
