//! The third thread: waits for the kernel to say that memory has moved, and wakes the sampler.
//!
//! It takes no reading and decides nothing. While the kernel is quiet it does not run at all.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    report::EventFigures,
    shared::Shared,
    source::{KernelEvents, Woken},
};

/// Time between two wakes at least, at first. The sampler looks this often by itself near a line,
/// so more wakes would tell it nothing new.
const SHORTEST_REST: Duration = Duration::from_millis(1);
/// ... and at most, while events keep coming: usage that moves to and fro over a threshold, a
/// page cache that is reclaimed all the time.
const LONGEST_REST: Duration = Duration::from_millis(16);
/// So long without an event, and the next one is news again.
const QUIET: Duration = Duration::from_millis(100);

/// How the rest of the program reaches the events thread.
#[derive(Default)]
pub(crate) struct EventsGate {
    stopper: OnceLock<Box<dyn Fn() + Send + Sync>>,
    figures: Mutex<Option<EventFigures>>,
}

impl EventsGate {
    pub(crate) fn stop(&self) {
        // Called from a drop, and it is the program's code.
        if let Some(stop) = self.stopper.get()
            && std::panic::catch_unwind(AssertUnwindSafe(stop)).is_err()
        {
            tracing::error!("the wait for kernel events could not be stopped");
        }
    }

    /// What is waited for; `None` where the source has no events.
    pub(crate) fn figures(&self) -> Option<EventFigures> {
        self.lock().clone()
    }

    fn note(&self, figures: EventFigures) {
        *self.lock() = Some(figures);
    }

    fn lock(&self) -> MutexGuard<'_, Option<EventFigures>> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread; what is returned resolves when it has ended. Without a thread the sampler does
/// without events, as where the kernel has none.
pub(crate) fn start(
    shared: &Arc<Shared>,
    events: Box<dyn KernelEvents>,
) -> Option<oneshot::Receiver<()>> {
    let _ = shared.kernel_events.stopper.set(events.stopper());
    shared.kernel_events.note(events.describe());
    let waiting = Arc::clone(shared);
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("plimsoll-events".to_owned());
    let started = thread.spawn(move || {
        run(&waiting, events);
        let _ = done.send(());
    });
    match started {
        Ok(_) => Some(ended),
        Err(error) => {
            let told = format!("no thread waits for kernel events: {error}");
            tracing::warn!("{told}; the sampler goes on without");
            shared.kernel_events.note(EventFigures::new(Vec::new(), vec![told]));
            None
        }
    }
}

fn run(shared: &Arc<Shared>, mut events: Box<dyn KernelEvents>) {
    let mut pace = Pace::default();
    while !shared.sampler.is_stopped() {
        // A source is the program's code: its panic costs the events, not the process.
        match std::panic::catch_unwind(AssertUnwindSafe(|| events.wait())) {
            Ok(Woken::Look) => shared.sampler.wake(),
            Ok(Woken::Stopped) => return,
            Err(_) => {
                let told = "the wait for kernel events panicked; the sampler goes on without";
                tracing::error!("{told}");
                shared.kernel_events.note(EventFigures::new(Vec::new(), vec![told.to_owned()]));
                return;
            }
        }
        shared.kernel_events.note(events.describe());
        // After the wake, so that the first event is never late.
        std::thread::park_timeout(pace.rest(shared.clock.now()));
    }
}

/// How long to leave the kernel alone after an event: doubled while they come without a pause.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Duration>,
    rest: Duration,
}

impl Pace {
    fn rest(&mut self, now: Duration) -> Duration {
        let again = self.last.is_some_and(|last| now.saturating_sub(last) < QUIET);
        self.rest = if again { (self.rest * 2).min(LONGEST_REST) } else { SHORTEST_REST };
        self.last = Some(now);
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_a_pause_are_heard_ever_less_often_and_news_at_once() {
        let mut pace = Pace::default();
        let mut now = Duration::ZERO;
        let mut heard = 0;
        while now < Duration::from_secs(1) {
            now += pace.rest(now) + Duration::from_micros(50);
            heard += 1;
        }
        assert!((60..=70).contains(&heard), "{heard} wakes a second");
        assert_eq!(pace.rest(now + QUIET), SHORTEST_REST);
    }
}
