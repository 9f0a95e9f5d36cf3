//! The cleanup engine in a running Plimsoll: order, isolation, single flight, measurement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{
    ActionOutcome, CleanupLevel, CleanupRecord, CleanupRegistry, CleanupTrigger, HeapFigures,
    HeapSource, Heard, MB, Plimsoll, PlimsollBuilder, PressureLevel, PruneError, PruneRequest,
    Pruned, ReleaseBackend, Thresholds,
};
use plimsoll_testkit::{Answer, RecordingPruner, ScriptHandle, ScriptedSource};

const MODERATE: CleanupLevel = CleanupLevel::Moderate;
const AGGRESSIVE: CleanupLevel = CleanupLevel::Aggressive;

fn builder(registry: &CleanupRegistry) -> PlimsollBuilder {
    Plimsoll::builder()
        .thresholds(Thresholds::new(200 * MB, 300 * MB).expect("ordered"))
        .registry(registry.clone())
        .pruner_deadline(Duration::from_millis(50))
}

fn started(builder: PlimsollBuilder, rss: u64) -> (Plimsoll, ScriptHandle) {
    let (source, script) = ScriptedSource::with_rss(rss);
    (builder.start_with(source).expect("starts"), script)
}

fn outcome(record: &CleanupRecord, name: &str) -> ActionOutcome {
    let result = record.results.iter().find(|result| result.name == name);
    result.unwrap_or_else(|| panic!("{name} is missing from {record:?}")).outcome
}

/// Waits for the next cleanup that ends.
async fn next_cleanup(plimsoll: &Plimsoll, seen: usize) -> CleanupRecord {
    let (_, mut listener) = plimsoll.listen(None);
    loop {
        let cleanups = plimsoll.cleanups(usize::MAX);
        if cleanups.len() > seen {
            return cleanups[cleanups.len() - seen - 1].clone();
        }
        assert!(!matches!(listener.next().await, Heard::Ended), "ended without a cleanup");
    }
}

#[tokio::test]
async fn a_pruner_that_panics_hangs_fails_or_lies_changes_neither_the_others_nor_the_figure() {
    let registry = CleanupRegistry::new();
    let (plimsoll, script) = started(builder(&registry), 100 * MB);
    let honest = {
        let script = script.clone();
        move |_| {
            script.set_rss(60 * MB);
            async { Ok(Pruned::entries(7).bytes(40 * MB)) }
        }
    };
    let _kept = [
        registry.register("panics", RecordingPruner::new(Answer::Panic("no".into()))),
        registry
            .register_fn("panics_at_once", |_| -> std::future::Ready<Result<Pruned, PruneError>> {
                panic!("before any future")
            }),
        registry.register("hangs", RecordingPruner::new(Answer::Never)),
        registry.register("fails", RecordingPruner::new(Answer::Fail("disk gone".into()))),
        registry.register(
            "lies",
            RecordingPruner::new(Answer::Claim(Pruned::entries(1).bytes(10_000 * MB))),
        ),
        registry.register_fn("honest", honest),
    ];
    let record = plimsoll.cleanup(AGGRESSIVE).await.expect("ran");
    assert_eq!(outcome(&record, "panics"), ActionOutcome::Panicked);
    assert_eq!(outcome(&record, "panics_at_once"), ActionOutcome::Panicked);
    assert_eq!(outcome(&record, "hangs"), ActionOutcome::TimedOut);
    assert_eq!(outcome(&record, "fails"), ActionOutcome::Failed);
    assert_eq!(outcome(&record, "lies"), ActionOutcome::Implausible);
    assert_eq!(outcome(&record, "honest"), ActionOutcome::Ok);
    assert_eq!(record.freed_memory, Some(40 * MB), "what was measured, not what was claimed");
    let lies = record.results.iter().find(|result| result.name == "lies").expect("listed");
    assert_eq!(lies.freed_bytes, None, "the claim is not passed on");
    let fails = record.results.iter().find(|result| result.name == "fails").expect("listed");
    assert!(fails.detail.as_deref().is_some_and(|detail| detail.contains("disk gone")));
}

#[tokio::test]
async fn growth_meanwhile_is_said_and_never_a_negative_number() {
    let registry = CleanupRegistry::new();
    let (plimsoll, script) = started(builder(&registry), 100 * MB);
    let _grows = registry.register_fn("grows", move |_| {
        script.set_rss(112 * MB);
        async { Ok(Pruned::nothing()) }
    });
    let record = plimsoll.cleanup(MODERATE).await.expect("ran");
    assert_eq!(record.freed_memory, Some(0));
    assert_eq!(record.detail.as_deref(), Some("grew 12MB"));
    assert!(record.message().starts_with("Freed 0MB (grew 12MB)"), "{}", record.message());
}

#[tokio::test]
async fn who_asks_while_one_runs_joins_it_and_gets_the_same_record() {
    let registry = CleanupRegistry::new();
    let (plimsoll, _) = started(builder(&registry).pruner_deadline(Duration::from_secs(60)), MB);
    let pruner = RecordingPruner::new(Answer::Held(Pruned::entries(1)));
    let _held = registry.register("held", pruner.clone());
    let first = plimsoll.start_cleanup(MODERATE, CleanupTrigger::Api).expect("started");
    pruner.started(1).await;
    let second = plimsoll.start_cleanup(AGGRESSIVE, CleanupTrigger::Cli).expect("joined");
    assert_eq!(first.id(), second.id());
    assert!(plimsoll.report().cleanup_in_progress);
    let dropped = plimsoll.start_cleanup(MODERATE, CleanupTrigger::Api).expect("joined");
    drop(dropped.finished());
    pruner.let_go();
    let (first, second) = tokio::join!(first.finished(), second.finished());
    assert_eq!(first.expect("ran"), second.expect("ran"));
    assert_eq!(pruner.requests().len(), 1);
    assert!(!plimsoll.report().cleanup_in_progress);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_is_not_history() {
    let registry = CleanupRegistry::new();
    let (plimsoll, _) = started(builder(&registry), MB);
    let pruner =
        RecordingPruner::new(Answer::Claim(Pruned::entries(9))).preview(Pruned::entries(5));
    let _kept = registry.register("events", pruner.clone());
    let record = plimsoll.preview_cleanup(MODERATE, CleanupTrigger::Api).await.expect("told");
    assert!(record.dry_run);
    assert_eq!(outcome(&record, "events"), ActionOutcome::DryRun);
    assert_eq!(record.actions[0], "events: would remove 5");
    assert!(pruner.requests().is_empty() && plimsoll.cleanups(9).is_empty());
}

#[tokio::test]
async fn warning_cleans_up_mildly_and_critical_at_once_aggressively() {
    let registry = CleanupRegistry::new();
    let (plimsoll, script) = started(builder(&registry), 100 * MB);
    let pruner = RecordingPruner::new(Answer::Claim(Pruned::nothing()));
    let late = RecordingPruner::new(Answer::Claim(Pruned::nothing())).runs_from(AGGRESSIVE);
    let _kept =
        [registry.register("events", pruner.clone()), registry.register("late", late.clone())];
    script.set_rss(250 * MB);
    plimsoll.check().await.expect("read");
    assert_eq!(plimsoll.level(), PressureLevel::Warning);
    let first = next_cleanup(&plimsoll, 0).await;
    assert_eq!((first.level, first.trigger), (MODERATE, CleanupTrigger::Threshold));
    assert!(late.requests().is_empty(), "not at moderate");
    // The target is the way down to the release line of warning, 190 MB.
    assert_eq!(pruner.requests()[0].target_bytes, Some(60 * MB));
    script.set_rss(350 * MB);
    plimsoll.check().await.expect("read");
    let second = next_cleanup(&plimsoll, 1).await;
    assert_eq!(second.level, AGGRESSIVE, "the cooldown of moderate does not hold it up");
    assert_eq!(late.requests().len(), 1);
    plimsoll.check().await.expect("read");
    plimsoll.check().await.expect("read");
    assert_eq!(plimsoll.cleanups(9).len(), 2, "one per level until the cooldown is over");
}

#[tokio::test]
async fn bytes_on_their_way_out_are_not_pruned_for_again() {
    let registry = CleanupRegistry::new();
    let (plimsoll, script) = started(builder(&registry), 100 * MB);
    let pruner = RecordingPruner::new(Answer::Claim(Pruned::entries(1).bytes(50 * MB)));
    let _kept = registry.register("events", pruner.clone());
    script.set_rss(250 * MB);
    plimsoll.check().await.expect("read");
    next_cleanup(&plimsoll, 0).await;
    // Nothing of the 50 MB has gone yet when the level rises: 350 - 190 - 50.
    script.set_rss(350 * MB);
    plimsoll.check().await.expect("read");
    next_cleanup(&plimsoll, 1).await;
    let targets: Vec<_> = pruner.requests().iter().map(|request| request.target_bytes).collect();
    assert_eq!(targets, [Some(60 * MB), Some(110 * MB)]);
}

/// A heap whose figure the test sets; releasing it does nothing.
#[derive(Clone)]
struct SetHeap(Arc<std::sync::atomic::AtomicU64>);

impl ReleaseBackend for SetHeap {
    fn name(&self) -> &'static str {
        "set"
    }

    fn release(&self) {}

    fn heap(&self) -> Option<HeapFigures> {
        let allocated = self.0.load(Ordering::SeqCst);
        Some(HeapFigures::new(allocated, allocated))
    }
}

#[tokio::test]
async fn a_claim_that_no_heap_bears_out_spares_nobody_next_time() {
    let registry = CleanupRegistry::new();
    let heap = SetHeap(Arc::new((200 * MB).into()));
    let builder = builder(&registry).release_backend(Arc::new(heap.clone()));
    let (plimsoll, script) = started(builder, 100 * MB);
    let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
    let _kept = registry.register_fn("events", {
        let requests = Arc::clone(&requests);
        move |request: PruneRequest| {
            requests.lock().expect("no panic").push(request.target_bytes);
            // Of the 50 MB that it claims the heap has 20 less.
            heap.0.fetch_sub(20 * MB, Ordering::SeqCst);
            async { Ok(Pruned::entries(1).bytes(50 * MB)) }
        }
    });
    for (seen, rss) in [250 * MB, 350 * MB].into_iter().enumerate() {
        script.set_rss(rss);
        plimsoll.check().await.expect("read");
        next_cleanup(&plimsoll, seen).await;
    }
    assert_eq!(*requests.lock().expect("no panic"), [Some(60 * MB), Some(140 * MB)]);
    let heaps = plimsoll.report().release.heaps;
    assert_eq!((heaps[0].name, heaps[0].heap_used), ("set", Some(160 * MB)));
    assert!(heaps[0].passes >= 4, "{heaps:?}");
}

#[tokio::test]
async fn pruners_are_spared_once_the_target_is_met() {
    let registry = CleanupRegistry::new();
    let (plimsoll, script) = started(builder(&registry), 100 * MB);
    let enough = RecordingPruner::new(Answer::Claim(Pruned::entries(1).bytes(60 * MB)));
    let spared = RecordingPruner::new(Answer::Claim(Pruned::entries(1).bytes(60 * MB)));
    let _kept =
        [registry.register("enough", enough.clone()), registry.register("spared", spared.clone())];
    script.set_rss(250 * MB);
    plimsoll.check().await.expect("read");
    let record = next_cleanup(&plimsoll, 0).await;
    // Credited though the figure has not fallen yet: no byte is pruned for twice.
    assert_eq!(outcome(&record, "spared"), ActionOutcome::Skipped);
    assert!(spared.requests().is_empty() && enough.requests().len() == 1);
    // Whoever asks gets all that the level allows.
    plimsoll.cleanup(MODERATE).await.expect("ran");
    assert_eq!((spared.requests().len(), spared.requests()[0].target_bytes), (1, None));
}

struct FreesPages(ScriptHandle);

impl ReleaseBackend for FreesPages {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn release(&self) {
        self.0.update(|reading| reading.rss_bytes = Some(120 * MB));
    }
}

#[tokio::test]
async fn what_is_free_already_goes_before_anything_is_pruned() {
    let registry = CleanupRegistry::new();
    let (source, script) = ScriptedSource::with_rss(100 * MB);
    let plimsoll = builder(&registry)
        .release_backend(Arc::new(FreesPages(script.clone())))
        .start_with(source)
        .expect("starts");
    let pruner = RecordingPruner::new(Answer::Claim(Pruned::entries(1)));
    let _kept = registry.register("events", pruner.clone());
    script.set_rss(250 * MB);
    plimsoll.check().await.expect("read");
    let record = next_cleanup(&plimsoll, 0).await;
    assert_eq!(outcome(&record, "events"), ActionOutcome::Skipped);
    assert!(pruner.requests().is_empty(), "freed pages were enough");
    assert_eq!(record.results.last().map(|result| result.name.as_str()), Some("release_memory"));
}

#[tokio::test]
async fn without_automatic_cleanup_only_who_asks_gets_one() {
    let registry = CleanupRegistry::new();
    let (plimsoll, script) = started(builder(&registry).automatic_cleanup(false), 100 * MB);
    script.set_rss(350 * MB);
    plimsoll.check().await.expect("read");
    plimsoll.check().await.expect("read");
    assert_eq!(plimsoll.level(), PressureLevel::Critical);
    assert!(!plimsoll.report().cleanup_in_progress && plimsoll.cleanups(9).is_empty());
    plimsoll.cleanup(MODERATE).await.expect("ran");
    assert_eq!(plimsoll.cleanups(9).len(), 1);
}

#[tokio::test]
async fn after_shutdown_a_cleanup_is_refused_and_a_running_one_was_waited_for() {
    let registry = CleanupRegistry::new();
    let (plimsoll, _) = started(builder(&registry).pruner_deadline(Duration::from_secs(60)), MB);
    let pruner = RecordingPruner::new(Answer::Held(Pruned::entries(1)));
    let _held = registry.register("held", pruner.clone());
    let ticket = plimsoll.start_cleanup(MODERATE, CleanupTrigger::Api).expect("started");
    pruner.started(1).await;
    pruner.let_go();
    plimsoll.shutdown().await;
    ticket.finished().await.expect("waited for");
    assert!(plimsoll.cleanup(MODERATE).await.is_err());
    plimsoll.shutdown().await;
}

#[test]
fn a_runtime_that_ends_in_the_middle_leaves_an_error_and_no_cleanup_running() {
    let registry = CleanupRegistry::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("made");
    let entered = runtime.enter();
    let (plimsoll, _) = started(builder(&registry).pruner_deadline(Duration::from_secs(60)), MB);
    drop(entered);
    let pruner = RecordingPruner::new(Answer::Never);
    let _held = registry.register("never", pruner.clone());
    let ticket = plimsoll.start_cleanup(MODERATE, CleanupTrigger::Api).expect("started");
    runtime.block_on(pruner.started(1));
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("made");
    assert!(other.block_on(ticket.finished()).is_err());
    assert!(!plimsoll.report().cleanup_in_progress);
}

struct Heap;

impl HeapSource for Heap {
    fn figures(&self) -> Option<HeapFigures> {
        Some(HeapFigures::new(30 * MB, 50 * MB))
    }
}

#[tokio::test]
async fn the_report_derives_what_follows_from_the_heap() {
    let (plimsoll, _) =
        started(builder(&CleanupRegistry::new()).heap_source(Arc::new(Heap)), 80 * MB);
    let bytes = plimsoll.report().bytes;
    assert_eq!((bytes.heap_used, bytes.heap_total), (Some(30 * MB), Some(50 * MB)));
    assert_eq!((bytes.external, bytes.retained), (Some(30 * MB), Some(20 * MB)));
}

#[tokio::test]
async fn a_pruner_is_told_its_level_deadline_and_trigger() {
    let registry = CleanupRegistry::new();
    let (plimsoll, _) = started(builder(&registry), MB);
    let pruner = RecordingPruner::new(Answer::Claim(Pruned::nothing()));
    let _kept = registry.register("events", pruner.clone());
    let ticket = plimsoll.start_cleanup(AGGRESSIVE, CleanupTrigger::Schedule).expect("started");
    ticket.finished().await.expect("ran");
    let expected: PruneRequest = pruner.requests()[0];
    assert_eq!((expected.level, expected.trigger), (AGGRESSIVE, CleanupTrigger::Schedule));
    assert_eq!(expected.deadline, Duration::from_millis(50));
}

#[test]
fn a_pass_that_blocks_its_thread_is_not_started_again() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("made");
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let entered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&entered);
    runtime.block_on(async move {
        let registry = CleanupRegistry::new();
        let (plimsoll, _) = started(builder(&registry), MB);
        let _stuck = registry.register_fn("stuck", move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            // Ends when the test drops its end.
            let _ = blocked.lock().expect("not poisoned").recv();
            async { Ok(Pruned::nothing()) }
        });
        for _ in 0..3 {
            let record = plimsoll.cleanup(MODERATE).await.expect("ran");
            assert_eq!(outcome(&record, "stuck"), ActionOutcome::TimedOut);
        }
    });
    drop(unblock);
    assert_eq!(entered.load(Ordering::SeqCst), 1, "runtime workers blocked by one pruner");
}

#[tokio::test]
async fn a_pruner_whose_claims_never_show_does_not_starve_the_others() {
    let registry = CleanupRegistry::new();
    let builder = builder(&registry).cleanup_cooldown(Duration::ZERO);
    let (plimsoll, script) = started(builder, 100 * MB);
    let liar = RecordingPruner::new(Answer::Claim(Pruned::entries(1).bytes(150 * MB)));
    let honest = RecordingPruner::new(Answer::Claim(Pruned::entries(1).bytes(MB)));
    let _kept = [registry.register("liar", liar), registry.register("honest", honest.clone())];
    script.set_rss(340 * MB);
    for seen in 0..4 {
        plimsoll.check().await.expect("read");
        next_cleanup(&plimsoll, seen).await;
    }
    assert!(honest.requests().len() >= 3, "ran {} times in 4 cleanups", honest.requests().len());
}

#[tokio::test]
async fn made_up_counts_of_entries_do_not_overflow() {
    let registry = CleanupRegistry::new();
    let (plimsoll, _) = started(builder(&registry), MB);
    let liar = || RecordingPruner::new(Answer::Claim(Pruned::entries(u64::MAX)));
    let _kept = [registry.register("liar", liar()), registry.register("liar", liar())];
    for _ in 0..2 {
        plimsoll.cleanup(MODERATE).await.expect("ran");
    }
    plimsoll.telemetry().emit();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_over_a_cleanup_that_hangs_still_ends_the_event_streams() {
    let registry = CleanupRegistry::new();
    let (plimsoll, _) = started(builder(&registry).pruner_deadline(Duration::from_secs(600)), MB);
    let pruner = RecordingPruner::new(Answer::Never);
    let _hangs = registry.register("hangs", pruner.clone());
    let (_, mut listener) = plimsoll.listen(None);
    let _running = plimsoll.start_cleanup(MODERATE, CleanupTrigger::Api).expect("started");
    plimsoll.shutdown().await;
    while !matches!(listener.next().await, Heard::Ended) {}
}
