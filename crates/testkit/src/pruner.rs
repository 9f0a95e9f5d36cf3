//! A pruner that does as it is told and remembers what it was asked.

use std::{
    future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plimsoll_core::{CleanupLevel, Holding, PruneError, PruneRequest, Pruned, Pruner};
use tokio::sync::watch;

/// What a [`RecordingPruner`] does when it is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Succeeds and claims this.
    Claim(Pruned),
    /// Fails with this text.
    Fail(String),
    /// Panics with this text.
    Panic(String),
    /// Never returns, but can be dropped at its await point.
    Never,
    /// Succeeds and claims this, after this much of Tokio's time.
    After(Duration, Pruned),
    /// Succeeds and claims this, once [`RecordingPruner::let_go`] has been called.
    Held(Pruned),
}

/// A [`Pruner`] that records each request and answers as configured. Clones share their record.
///
/// ```
/// use plimsoll_core::{CleanupLevel, PruneRequest, Pruned, Pruner};
/// use plimsoll_testkit::{Answer, RecordingPruner};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let pruner = RecordingPruner::new(Answer::Claim(Pruned::entries(3).bytes(4096)));
/// let pruned = pruner.prune(PruneRequest::new(CleanupLevel::Aggressive)).await.expect("claims");
/// assert_eq!(pruned.bytes, Some(4096));
/// assert_eq!(pruner.requests()[0].level, CleanupLevel::Aggressive);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RecordingPruner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    started: watch::Sender<usize>,
    let_go: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    least_level: CleanupLevel,
    holding: Holding,
    preview: Option<Pruned>,
    requests: Vec<PruneRequest>,
    finished: usize,
    dropped: usize,
}

impl RecordingPruner {
    /// Answers every request with `answer`, from moderate cleanups on, and holds an unknown amount.
    pub fn new(answer: Answer) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    answer,
                    least_level: CleanupLevel::Moderate,
                    holding: Holding::default(),
                    preview: None,
                    requests: Vec::new(),
                    finished: 0,
                    dropped: 0,
                }),
                started: watch::Sender::new(0),
                let_go: watch::Sender::new(false),
            }),
        }
    }

    /// Runs from this cleanup level on. Default: moderate.
    #[must_use]
    pub fn runs_from(self, level: CleanupLevel) -> Self {
        self.lock().least_level = level;
        self
    }

    /// Says that it holds this much. Default: unknown.
    #[must_use]
    pub fn holding(self, holding: Holding) -> Self {
        self.lock().holding = holding;
        self
    }

    /// Answers a dry run with this. Default: unknown.
    #[must_use]
    pub fn preview(self, preview: Pruned) -> Self {
        self.lock().preview = Some(preview);
        self
    }

    /// Changes the answer to requests that start from now on.
    pub fn answer_with(&self, answer: Answer) {
        self.lock().answer = answer;
    }

    /// Lets every [`Answer::Held`] pass answer, those of the future as well.
    pub fn let_go(&self) {
        self.shared.let_go.send_replace(true);
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<PruneRequest> {
        self.lock().requests.clone()
    }

    /// Counts the passes that returned, with success or failure.
    pub fn finished(&self) -> usize {
        self.lock().finished
    }

    /// Counts the passes that ended before they returned: dropped at their await point, or panicked.
    pub fn dropped(&self) -> usize {
        self.lock().dropped
    }

    /// Waits until `count` passes have started since this pruner was made.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn started(&self, count: usize) {
        // The sender lives as long as `self`, so the wait ends with the count alone.
        let _ = self.shared.started.subscribe().wait_for(|started| *started >= count).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever a panicking pass left is still a true record.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn act(&self, answer: Answer) -> Result<Pruned, PruneError> {
        match answer {
            Answer::Claim(pruned) => Ok(pruned),
            Answer::Fail(text) => Err(text.into()),
            Answer::Panic(text) => panic!("{text}"),
            Answer::Never => future::pending().await,
            Answer::After(delay, pruned) => {
                tokio::time::sleep(delay).await;
                Ok(pruned)
            }
            Answer::Held(pruned) => {
                let _ = self.shared.let_go.subscribe().wait_for(|open| *open).await;
                Ok(pruned)
            }
        }
    }
}

impl Pruner for RecordingPruner {
    async fn prune(&self, request: PruneRequest) -> Result<Pruned, PruneError> {
        let answer = {
            let mut state = self.lock();
            state.requests.push(request);
            state.answer.clone()
        };
        let mut pass = Pass { pruner: self, returned: false };
        self.shared.started.send_modify(|started| *started += 1);
        let outcome = self.act(answer).await;
        pass.returned = true;
        outcome
    }

    fn least_level(&self) -> CleanupLevel {
        self.lock().least_level
    }

    fn holding(&self) -> Holding {
        self.lock().holding
    }

    fn preview(&self, _request: PruneRequest) -> Option<Pruned> {
        self.lock().preview.clone()
    }
}

/// Counts how a pass ended, by drop: that is the one thing every ending has in common.
struct Pass<'p> {
    pruner: &'p RecordingPruner,
    returned: bool,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.pruner.lock();
        if self.returned {
            state.finished += 1;
        } else {
            state.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    const REQUEST: CleanupLevel = CleanupLevel::Moderate;

    #[tokio::test]
    async fn a_claim_and_a_failure_are_finished_passes() {
        let pruner = RecordingPruner::new(Answer::Claim(Pruned::entries(2)));
        assert_eq!(pruner.prune(PruneRequest::new(REQUEST)).await.unwrap(), Pruned::entries(2));
        pruner.answer_with(Answer::Fail("disk full".to_owned()));
        let error = pruner.prune(PruneRequest::new(REQUEST)).await.unwrap_err();
        assert_eq!(error.to_string(), "disk full");
        assert_eq!((pruner.finished(), pruner.dropped(), pruner.requests().len()), (2, 0, 2));
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller_and_is_recorded() {
        let pruner = RecordingPruner::new(Answer::Panic("boom".to_owned()));
        let task = pruner.clone();
        let outcome =
            tokio::spawn(async move { task.prune(PruneRequest::new(REQUEST)).await }).await;
        assert!(outcome.unwrap_err().is_panic());
        assert_eq!((pruner.finished(), pruner.dropped()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_never_returns_can_be_dropped() {
        let pruner = RecordingPruner::new(Answer::Never);
        let pass = pruner.prune(PruneRequest::new(REQUEST));
        assert!(time::timeout(Duration::from_secs(3600), pass).await.is_err());
        assert_eq!((pruner.finished(), pruner.dropped()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_takes_its_time() {
        let pruner = RecordingPruner::new(Answer::After(Duration::from_secs(7), Pruned::nothing()));
        let start = time::Instant::now();
        pruner.prune(PruneRequest::new(REQUEST)).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test]
    async fn a_held_pass_waits_until_it_is_let_go() {
        let pruner = RecordingPruner::new(Answer::Held(Pruned::entries(1)));
        let task = pruner.clone();
        let pass = tokio::spawn(async move { task.prune(PruneRequest::new(REQUEST)).await });
        pruner.started(1).await;
        assert_eq!(pruner.finished(), 0);
        pruner.let_go();
        assert_eq!(pass.await.unwrap().unwrap(), Pruned::entries(1));
        assert_eq!(pruner.finished(), 1);
    }

    #[test]
    fn level_holding_and_preview_are_as_configured() {
        let holding = Holding::new(Some(4), Some(400));
        let pruner = RecordingPruner::new(Answer::Never)
            .runs_from(CleanupLevel::Aggressive)
            .holding(holding)
            .preview(Pruned::entries(4));
        assert_eq!(Pruner::least_level(&pruner), CleanupLevel::Aggressive);
        assert_eq!(Pruner::holding(&pruner), holding);
        let request = PruneRequest::new(CleanupLevel::Moderate);
        assert_eq!(Pruner::preview(&pruner, request), Some(Pruned::entries(4)));
    }
}
