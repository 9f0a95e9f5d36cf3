//! Reads a cgroup's usage each millisecond.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::Instant;

use plimsoll_testkit::GroupUsage;

const PERIOD: Duration = Duration::from_millis(1);

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) usage: u64,
    pub(crate) in_flight: i64,
}

/// A thread that samples; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

impl Sampler {
    pub(crate) fn start(usage: GroupUsage, start: Instant, in_flight: Arc<AtomicI64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Relaxed) {
                if let Some(usage) = usage.bytes() {
                    let at = Instant::now().saturating_duration_since(start);
                    samples.push(Sample { at, usage, in_flight: in_flight.load(Relaxed) });
                }
                thread::park_timeout(PERIOD);
            }
            samples
        });
        Self { stop, thread: Some(thread) }
    }

    pub(crate) fn finish(mut self) -> Vec<Sample> {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Vec<Sample>> {
        self.stop.store(true, Relaxed);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end();
    }
}
