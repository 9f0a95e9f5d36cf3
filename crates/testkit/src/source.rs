//! A memory source that reads what a test wrote.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plimsoll_core::{HeapFigures, MemoryReading, MemorySource, SourceError};

/// A [`MemorySource`] whose figures a [`ScriptHandle`] sets.
///
/// Starts with every figure unknown: a metric is there once it has been set.
///
/// ```
/// use plimsoll_core::MemorySource;
/// use plimsoll_testkit::ScriptedSource;
///
/// let (mut source, script) = ScriptedSource::new();
/// script.set_rss(100_000_000);
/// assert_eq!(source.read().expect("readable").rss_bytes, Some(100_000_000));
///
/// script.fail(true);
/// assert!(source.read().is_err());
/// ```
#[derive(Debug)]
pub struct ScriptedSource {
    script: ScriptHandle,
}

impl ScriptedSource {
    /// Makes a source and the handle that sets its figures.
    pub fn new() -> (Self, ScriptHandle) {
        let script = ScriptHandle::default();
        (Self { script: script.clone() }, script)
    }

    /// Starts with this resident set, in bytes, and nothing else known.
    pub fn with_rss(bytes: u64) -> (Self, ScriptHandle) {
        let (source, script) = Self::new();
        script.set_rss(bytes);
        (source, script)
    }
}

impl MemorySource for ScriptedSource {
    fn read(&mut self) -> Result<MemoryReading, SourceError> {
        let mut script = self.script.lock();
        script.reads += 1;
        let answer = if script.failing {
            Err(SourceError::new("the scripted source, which was told to fail"))
        } else {
            Ok(script.reading)
        };
        drop(script);
        self.script.shared.read_happened.notify_all();
        answer
    }

    fn describe(&self) -> String {
        "scripted".to_owned()
    }
}

/// Sets the figures of a [`ScriptedSource`]. Clones set the same ones, from any thread.
///
/// A setter takes a lock for as long as it takes to store a number, and so does a reading.
#[derive(Clone, Debug, Default)]
pub struct ScriptHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Script>,
    read_happened: Condvar,
}

#[derive(Debug, Default)]
struct Script {
    reading: MemoryReading,
    failing: bool,
    reads: u64,
}

impl ScriptHandle {
    /// Sets the resident set, in bytes; `None` makes it unknown.
    pub fn set_rss(&self, bytes: impl Into<Option<u64>>) {
        self.lock().reading.rss_bytes = bytes.into();
    }

    /// Sets the working set of the cgroup, in bytes; `None` makes it unknown.
    pub fn set_working_set(&self, bytes: impl Into<Option<u64>>) {
        self.lock().reading.working_set_bytes = bytes.into();
    }

    /// Sets the memory limit, in bytes; `None` takes it away.
    pub fn set_limit(&self, bytes: impl Into<Option<u64>>) {
        self.lock().reading.limit_bytes = bytes.into();
    }

    /// Sets the allocator's figures; `None` makes them unknown.
    pub fn set_heap(&self, heap: impl Into<Option<HeapFigures>>) {
        self.lock().reading.heap = heap.into();
    }

    /// Changes several figures between two readings, so that no reading sees half of it.
    ///
    /// ```
    /// # use plimsoll_core::MemorySource;
    /// # use plimsoll_testkit::ScriptedSource;
    /// let (mut source, script) = ScriptedSource::new();
    /// script.update(|reading| {
    ///     reading.rss_bytes = Some(200);
    ///     reading.limit_bytes = Some(400);
    /// });
    /// assert_eq!(source.read().expect("readable").limit_bytes, Some(400));
    /// ```
    pub fn update(&self, change: impl FnOnce(&mut MemoryReading)) {
        change(&mut self.lock().reading);
    }

    /// Makes every reading fail from now on, or succeed again.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// Counts the readings taken so far, failed ones included.
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Blocks until another reading has been taken after this call, and says whether it was within
    /// `timeout`.
    ///
    /// For a sampler on its own thread: after it returns true, what was set before the call has been
    /// read. Do not call it on an async worker.
    pub fn wait_for_read(&self, timeout: Duration) -> bool {
        let script = self.lock();
        let before = script.reads;
        let (script, _) = self
            .shared
            .read_happened
            .wait_timeout_while(script, timeout, |script| script.reads == before)
            .unwrap_or_else(PoisonError::into_inner);
        script.reads > before
    }

    // Plain figures are valid whatever a panicking holder left, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nothing_is_known_until_it_is_set() {
        let (mut source, _script) = ScriptedSource::new();
        assert_eq!(source.read().unwrap(), MemoryReading::default());
    }

    #[test]
    fn clones_of_the_handle_set_the_same_figures() {
        let (mut source, script) = ScriptedSource::new();
        let other = script.clone();
        script.set_rss(1);
        other.set_limit(2);
        other.set_working_set(u64::MAX);
        script.set_heap(HeapFigures::new(3, 4));
        let reading = source.read().unwrap();
        assert_eq!(reading.rss_bytes, Some(1));
        assert_eq!(reading.limit_bytes, Some(2));
        assert_eq!(reading.working_set_bytes, Some(u64::MAX));
        assert_eq!(reading.heap, Some(HeapFigures::new(3, 4)));
        script.set_rss(None);
        assert_eq!(source.read().unwrap().rss_bytes, None);
    }

    #[test]
    fn a_failed_reading_is_counted_and_ends_when_told() {
        let (mut source, script) = ScriptedSource::new();
        script.fail(true);
        let error = source.read().unwrap_err();
        assert!(error.to_string().contains("told to fail"), "{error}");
        script.fail(false);
        assert!(source.read().is_ok());
        assert_eq!(script.reads(), 2);
    }

    #[test]
    fn a_waiter_is_woken_by_a_reading_and_gives_up_without_one() {
        let (mut source, script) = ScriptedSource::new();
        assert!(!script.wait_for_read(Duration::ZERO));
        let waiter = thread::spawn(move || script.wait_for_read(Duration::from_secs(30)));
        // The waiter may not have begun to wait: only a reading after that counts for it.
        while !waiter.is_finished() {
            source.read().unwrap();
            thread::yield_now();
        }
        assert!(waiter.join().unwrap());
    }
}
