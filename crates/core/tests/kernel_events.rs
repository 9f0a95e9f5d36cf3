//! Kernel events in a running Plimsoll: they wake the sampler, and they end with it.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use plimsoll_core::{
    EventFigures, GrowthWatch, KernelEvents, MB, MemoryReading, MemorySource, Plimsoll,
    PressureLevel, SourceError, Thresholds, Woken,
};
use plimsoll_testkit::{ScriptHandle, ScriptedSource};

const LONG: Duration = Duration::from_secs(30);

/// What a test says in the kernel's place.
#[derive(Clone, Default)]
struct Kernel(Arc<State>);

#[derive(Default)]
struct State {
    said: Mutex<Option<Woken>>,
    heard: Condvar,
    watched: Mutex<Vec<u64>>,
    ended: AtomicBool,
    panics: AtomicBool,
}

/// No holder of a lock here panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("not poisoned")
}

impl Kernel {
    fn say(&self, what: Woken) {
        *locked(&self.0.said) = Some(what);
        self.0.heard.notify_all();
    }
}

struct Eventful {
    inner: ScriptedSource,
    kernel: Kernel,
}

impl MemorySource for Eventful {
    fn read(&mut self) -> Result<MemoryReading, SourceError> {
        self.inner.read()
    }

    fn describe(&self) -> String {
        "eventful".to_owned()
    }

    fn events(&mut self) -> Option<Box<dyn KernelEvents>> {
        Some(Box::new(Waits(self.kernel.clone())))
    }

    fn watch(&mut self, growth_bytes: &[u64]) -> GrowthWatch {
        *locked(&self.kernel.0.watched) = growth_bytes.to_vec();
        GrowthWatch::Unwatched
    }
}

struct Waits(Kernel);

impl KernelEvents for Waits {
    fn wait(&mut self) -> Woken {
        let state = &self.0.0;
        let said = state.heard.wait_while(locked(&state.said), |said| said.is_none());
        let mut said = said.expect("not poisoned");
        // A look is said once, the end for ever.
        let said = if *said == Some(Woken::Stopped) { *said } else { said.take() };
        // Out of the lock, which would be poisoned.
        assert!(!state.panics.load(Ordering::SeqCst), "told to panic");
        said.expect("waited for")
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let kernel = self.0.clone();
        Box::new(move || kernel.say(Woken::Stopped))
    }

    fn describe(&self) -> EventFigures {
        EventFigures::new(vec!["scripted events".to_owned()], Vec::new())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.ended.store(true, Ordering::SeqCst);
    }
}

fn started() -> (Plimsoll, ScriptHandle, Kernel) {
    let (inner, script) = ScriptedSource::with_rss(10 * MB);
    let kernel = Kernel::default();
    let plimsoll = Plimsoll::builder()
        .thresholds(Thresholds::new(200_000 * MB, 300_000 * MB).expect("ordered"))
        // Left to itself it would look again in ten minutes.
        .check_interval(Duration::from_secs(600))
        .start_with(Eventful { inner, kernel: kernel.clone() })
        .expect("starts");
    (plimsoll, script, kernel)
}

#[tokio::test]
async fn an_event_makes_the_sampler_look_and_the_level_follows_at_once() {
    let (plimsoll, script, kernel) = started();
    // The first look of the thread itself may still be to come.
    plimsoll.check().await.expect("readable");
    script.set_rss(400_000 * MB);
    assert_eq!(plimsoll.level(), PressureLevel::Healthy);
    let seen = tokio::task::spawn_blocking({
        let kernel = kernel.clone();
        move || {
            kernel.say(Woken::Look);
            script.wait_for_read(LONG)
        }
    });
    // A read that is over may not be published yet, but the next answer is.
    let _ = seen.await.expect("does not panic");
    plimsoll.check().await.expect("readable");
    assert_eq!(plimsoll.level(), PressureLevel::Critical);
    let events = plimsoll.report().events.expect("this source has events");
    assert_eq!((events.active.len(), events.missing.len()), (1, 0));
}

#[tokio::test]
async fn the_source_is_told_what_growth_is_worth_a_wake() {
    let (plimsoll, _, kernel) = started();
    // The source is told after the answer, so the second answer is the first one's proof.
    plimsoll.check().await.expect("readable");
    plimsoll.check().await.expect("readable");
    let watched = || locked(&kernel.0.watched).clone();
    assert_eq!(watched().last(), Some(&(299_990 * MB)));
    plimsoll.set_thresholds(Thresholds::new(100 * MB, 110 * MB).expect("ordered")).expect("taken");
    plimsoll.check().await.expect("readable");
    plimsoll.check().await.expect("readable");
    assert_eq!(watched().last(), Some(&(100 * MB)), "new lines are followed");
}

#[tokio::test]
async fn shutdown_ends_the_wait_for_events() {
    let (plimsoll, _, kernel) = started();
    plimsoll.shutdown().await;
    assert!(kernel.0.ended.load(Ordering::SeqCst), "the thread was joined");
}

#[tokio::test]
async fn the_last_handle_ends_the_wait_for_events() {
    let (plimsoll, _, kernel) = started();
    drop(plimsoll);
    while !kernel.0.ended.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_wait_that_panics_costs_the_events_and_nothing_else() {
    let (plimsoll, script, kernel) = started();
    kernel.0.panics.store(true, Ordering::SeqCst);
    kernel.say(Woken::Look);
    while !kernel.0.ended.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    script.set_rss(400_000 * MB);
    plimsoll.check().await.expect("the sampler goes on");
    assert_eq!(plimsoll.level(), PressureLevel::Critical);
    let events = plimsoll.report().events.expect("told");
    assert!(events.missing[0].contains("panicked"), "{events:?}");
    plimsoll.shutdown().await;
}
