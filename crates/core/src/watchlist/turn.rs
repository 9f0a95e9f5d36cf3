//! Whose turn an entry is, who holds it, and which turn is cancelled: the part that threads race for.

#[cfg(all(test, loom))]
use loom::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// One request after the other has its turn, each with a number of its own, so that a cancellation
/// which comes late hits nobody.
#[derive(Debug, Default)]
pub(super) struct Turn {
    number: AtomicU64,
    /// The request and its spawned tasks; free at 0.
    holders: AtomicU32,
    /// 0 for a request that must not be cancelled, else 1 for the lowest priority and so on.
    rank: AtomicU8,
    /// The turn that is cancelled; no turn has the number 0.
    cancelled: AtomicU64,
}

impl Turn {
    /// Begins the next turn of an entry that nobody holds; returns its number.
    pub(super) fn begin(&self, rank: u8) -> u64 {
        let number = self.number.load(Relaxed) + 1;
        // So that a scan which reads it reads no rank of the turn before.
        self.number.store(number, Release);
        self.holders.store(1, Relaxed);
        self.rank.store(rank, Release);
        number
    }

    /// The turn that is on.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    pub(super) fn join(&self) {
        self.holders.fetch_add(1, Relaxed);
    }

    /// Lets go of it; true for the last one, who puts the entry back.
    pub(super) fn leave(&self) -> bool {
        self.holders.fetch_sub(1, AcqRel) == 1
    }

    /// Whether it may be cancelled at all.
    pub(super) fn is_open(&self) -> bool {
        self.rank.load(Relaxed) > 0
    }

    /// It is not to be chosen any more.
    pub(super) fn spare(&self) {
        self.rank.store(0, Relaxed);
    }

    /// Its rank and number, if it may be cancelled and is not yet. Should it end before it is
    /// cancelled, the number is nobody's.
    pub(super) fn candidate(&self) -> Option<(u8, u64)> {
        let number = self.number.load(Acquire);
        let rank = self.rank.load(Acquire);
        let open =
            rank > 0 && self.holders.load(Relaxed) > 0 && self.cancelled.load(Relaxed) != number;
        open.then_some((rank, number))
    }

    pub(super) fn cancel(&self, number: u64) {
        self.cancelled.store(number, Release);
    }

    /// Takes back a cancellation that nobody has taken notice of.
    pub(super) fn forgive(&self) {
        self.cancelled.store(0, Relaxed);
    }

    pub(super) fn is_cancelled(&self, number: u64) -> bool {
        self.cancelled.load(Acquire) == number
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    /// A scan that looks for somebody to cancel, as the sampler does.
    fn scan(turn: Arc<Turn>) -> thread::JoinHandle<Option<u64>> {
        thread::spawn(move || {
            let (_, number) = turn.candidate()?;
            turn.cancel(number);
            Some(number)
        })
    }

    #[test]
    fn whoever_may_not_be_cancelled_never_is_in_the_place_of_the_one_before() {
        loom::model(|| {
            let turn = Arc::new(Turn::default());
            let first = turn.begin(1);
            let scanned = scan(Arc::clone(&turn));
            turn.spare();
            assert!(turn.leave());
            let second = turn.begin(0);
            assert!(!turn.is_cancelled(second));
            let chosen = scanned.join().unwrap();
            assert!(chosen.is_none_or(|number| number == first), "{chosen:?}");
            assert!(!turn.is_cancelled(second));
        });
    }

    #[test]
    fn a_late_cancellation_of_one_turn_is_none_of_the_next() {
        loom::model(|| {
            let turn = Arc::new(Turn::default());
            let first = turn.begin(2);
            let scanned = scan(Arc::clone(&turn));
            turn.spare();
            assert!(turn.leave());
            let second = turn.begin(2);
            let chosen = scanned.join().unwrap();
            assert_eq!(turn.is_cancelled(second), chosen == Some(second));
            assert!(chosen.is_none_or(|number| number == first || number == second));
        });
    }

    #[test]
    fn exactly_one_of_a_request_and_its_tasks_is_the_last() {
        loom::model(|| {
            let turn = Arc::new(Turn::default());
            turn.begin(1);
            turn.join();
            let task = Arc::clone(&turn);
            let task = thread::spawn(move || task.leave());
            let (request, task) = (turn.leave(), task.join().unwrap());
            assert!(request != task, "request: {request}, task: {task}");
        });
    }
}
