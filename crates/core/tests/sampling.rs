//! Readings, levels and admission in a running Plimsoll.

use std::time::Duration;

use plimsoll_core::{
    Clock, GuardMode, MB, MemoryMetric, Plimsoll, PlimsollBuilder, PressureLevel, Priority,
    StartError, Thresholds,
};
use plimsoll_testkit::{ScriptHandle, ScriptedSource};

fn builder() -> PlimsollBuilder {
    Plimsoll::builder().thresholds(Thresholds::new(200 * MB, 300 * MB).expect("ordered"))
}

fn started(builder: PlimsollBuilder, rss: u64) -> (Plimsoll, ScriptHandle) {
    let (source, script) = ScriptedSource::with_rss(rss);
    (builder.start_with(source).expect("starts"), script)
}

#[tokio::test]
async fn new_thresholds_are_judged_at_once_and_a_refused_pair_changes_nothing() {
    let (plimsoll, _) = started(builder(), 250 * MB);
    assert_eq!(plimsoll.level(), PressureLevel::Warning);
    let change = plimsoll
        .set_thresholds(Thresholds::new(100 * MB, 200 * MB).expect("ordered"))
        .expect("accepted");
    assert_eq!(
        (change.status, plimsoll.level()),
        (PressureLevel::Critical, PressureLevel::Critical)
    );
    assert_eq!((change.previous.warning, change.thresholds.warning), (200, 100));
    let before = plimsoll.report().threshold_bytes;
    let inverted = plimsoll.update_thresholds(Some("400MB".parse().expect("a size")), None);
    assert!(inverted.is_err());
    assert!(plimsoll.update_thresholds(Some("70%".parse().expect("a share")), None).is_err());
    assert_eq!(plimsoll.report().threshold_bytes, before);
    plimsoll
        .set_thresholds(Thresholds::new(400 * MB, 500 * MB).expect("ordered"))
        .expect("accepted");
    assert_eq!(plimsoll.level(), PressureLevel::Healthy, "at once, without release band or dwell");
}

#[tokio::test]
async fn a_source_that_fails_is_an_error_with_an_age_and_the_last_figures_stay() {
    let clock = Clock::manual(Duration::from_secs(1_000_000));
    let (plimsoll, script) = started(builder().clock(clock.clone()), 250 * MB);
    script.fail(true);
    clock.advance(Duration::from_secs(3));
    assert!(plimsoll.check().await.is_none());
    let report = plimsoll.report();
    let error = report.reading_error.expect("told");
    assert_eq!(error.age_ms, Some(3_000));
    assert!(error.message.starts_with("cannot read "), "{}", error.message);
    assert_eq!((report.bytes.rss, report.status), (Some(250 * MB), PressureLevel::Warning));
    assert!(plimsoll.failed_readings() > 0);
    script.fail(false);
    plimsoll.check().await.expect("reads again");
    assert!(plimsoll.report().reading_error.is_none());
}

#[tokio::test]
async fn a_verdict_that_nobody_renews_stops_refusing() {
    let clock = Clock::manual(Duration::from_secs(1_000_000));
    let (plimsoll, script) = started(builder().clock(clock.clone()), 350 * MB);
    let admission = plimsoll.admission(GuardMode::Enforce);
    let reserve = || admission.reserve(MB, None, || Some(Priority::Normal), false);
    assert!(reserve().is_err());
    script.fail(true);
    plimsoll.check().await;
    assert!(reserve().is_err(), "the last verdict holds for a while");
    clock.advance(Duration::from_secs(60));
    assert!(plimsoll.is_stalled());
    assert!(reserve().is_ok(), "but not for ever");
    assert_eq!(plimsoll.admitted_unchecked(), 1);
}

#[tokio::test]
async fn reservations_that_outrun_the_readings_wake_the_sampler() {
    // The interval alone would look again in ten minutes.
    let (plimsoll, script) = started(builder().check_interval(Duration::from_secs(600)), 10 * MB);
    let admission = plimsoll.admission(GuardMode::Enforce);
    plimsoll.check().await.expect("read");
    script.set_rss(290 * MB);
    // An eighth of the 190 MB to warning is what may be promised unseen.
    let _held = admission.reserve(60 * MB, None, || Some(Priority::Normal), false).expect("fits");
    let woken = tokio::task::spawn_blocking(move || script.wait_for_read(Duration::from_secs(10)));
    assert!(woken.await.expect("not cancelled"), "no reading came");
}

#[tokio::test]
async fn requests_end_before_the_next_may_start_at_the_line() {
    let (plimsoll, script) = started(builder(), 100 * MB);
    let admission = plimsoll.admission(GuardMode::Enforce);
    let reserve = |bytes| admission.reserve(bytes, None, || Some(Priority::Normal), false);
    let first = reserve(150 * MB).expect("fits below critical");
    // Touched late: usage shows nothing of it yet, and still it counts.
    plimsoll.check().await.expect("read");
    assert!(reserve(60 * MB).is_err());
    // Touched: the same bytes are not counted twice.
    script.set_rss(250 * MB);
    plimsoll.check().await.expect("read");
    let second = reserve(49 * MB).expect("fits");
    assert!(reserve(2 * MB).is_err());
    drop((first, second));
    assert_eq!(plimsoll.report().guard.reserved_bytes, 0);
}

#[tokio::test]
async fn a_metric_that_is_not_known_here_stops_the_start() {
    let (source, _) = ScriptedSource::with_rss(MB);
    let error = builder().metric(MemoryMetric::WorkingSet).start_with(source).expect_err("refused");
    assert!(matches!(error, StartError::Metric { .. }));
    assert_eq!(
        error.to_string(),
        "memory metric workingSet is not available here; available are rss"
    );
}

#[test]
fn without_a_runtime_nothing_starts_and_the_error_says_so() {
    let (source, _) = ScriptedSource::with_rss(MB);
    assert!(matches!(builder().start_with(source), Err(StartError::NoRuntime)));
}

#[tokio::test]
async fn the_container_limit_sets_the_defaults_and_its_change_moves_them() {
    let (source, script) = ScriptedSource::with_rss(10 * MB);
    script.set_working_set(20 * MB);
    script.set_limit(256_000_000);
    let plimsoll = Plimsoll::builder().start_with(source).expect("starts");
    let report = plimsoll.report();
    assert_eq!(report.metric, MemoryMetric::WorkingSet);
    assert_eq!(
        (report.threshold_bytes.warning, report.threshold_bytes.critical),
        (179_200_000, 217_600_000)
    );
    script.set_limit(512_000_000);
    plimsoll.check().await.expect("read");
    assert_eq!(plimsoll.report().threshold_bytes.warning, 358_400_000);
}

#[tokio::test]
async fn the_last_handle_stops_the_threads_and_admission_stays_open() {
    let (plimsoll, script) = started(builder(), 350 * MB);
    let admission = plimsoll.admission(GuardMode::Enforce);
    let (_, mut listener) = plimsoll.listen(None);
    drop(plimsoll);
    assert!(admission.reserve(MB, None, || Some(Priority::Normal), false).is_ok());
    while !matches!(listener.next().await, plimsoll_core::Heard::Ended) {}
    let _ = script;
}

#[tokio::test]
async fn a_cache_that_grows_while_requests_never_cease_leaves_less_room_for_promises() {
    let clock = Clock::manual(Duration::from_secs(1_000_000));
    let builder = builder().automatic_cleanup(false).clock(clock.clone());
    let (plimsoll, script) = started(builder, 50 * MB);
    let admission = plimsoll.admission(GuardMode::Enforce);
    let reserve = |bytes| admission.reserve(bytes, None, || Some(Priority::Normal), false);
    let mut held = vec![reserve(MB).expect("fits")]; // never idle
    for grown in (50..=241).step_by(10).chain([241; 4]) {
        script.set_rss(grown * MB); // nobody promised it
        clock.advance(Duration::from_millis(100));
        plimsoll.check().await.expect("read");
    }
    for _ in 0..20 {
        clock.advance(Duration::from_millis(100));
        plimsoll.check().await.expect("read");
        held.extend(reserve(10 * MB).ok());
    }
    let promised = 241 + plimsoll.report().guard.reserved_bytes / MB - 1;
    // The sum was 441 when only idle readings counted.
    assert!(promised <= 310, "promised up to {promised} MB with critical at 300");
}

#[tokio::test]
async fn new_thresholds_do_not_revive_a_verdict_that_has_expired() {
    let clock = Clock::manual(Duration::from_secs(1_000_000));
    let (plimsoll, script) = started(builder().clock(clock.clone()), 350 * MB);
    let admission = plimsoll.admission(GuardMode::Enforce);
    script.fail(true);
    plimsoll.check().await;
    clock.advance(Duration::from_secs(600));
    plimsoll
        .set_thresholds(Thresholds::new(210 * MB, 300 * MB).expect("ordered"))
        .expect("accepted");
    assert!(plimsoll.is_stalled());
    assert!(admission.reserve(MB, None, || Some(Priority::Normal), false).is_ok());
}

#[test]
fn a_runtime_without_a_timer_is_refused_at_the_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("made");
    let _entered = runtime.enter();
    let (source, _) = ScriptedSource::with_rss(MB);
    assert!(matches!(builder().start_with(source), Err(StartError::NoTimer)));
}
