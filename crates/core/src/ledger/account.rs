//! The sum of promises, kept without a line that every request writes.
//!
//! `granted` is what was promised to requests and what threads hold as *credit*: bytes granted
//! to a thread ahead of its requests. Far from a line a request is charged to the credit of the
//! thread that it runs on, and given back to the credit of the thread that it ends on, with
//! plain loads and stores: only the owner of a credit writes it. The shared sum is touched once
//! for many requests. So at every moment
//!
//! ```text
//! granted = promised to requests + sum of all credits
//! ```
//!
//! and since a credit is only ever granted under a cap, what is promised stays under it too.
//!
//! Near a line credit would make the sum inexact: bytes that one thread holds and another needs.
//! There [`Terms::most_credit`] is 0 and no credit is used: every request is charged to the sum itself, and a thread
//! returns its credit with its first step. What can be missing then is the credit of threads
//! that take no step at all, which the size of a credit bounds.

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes granted to requests and to threads.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Account {
    granted: AtomicU64,
}

/// Bytes that one thread may promise without asking. Written by its thread alone.
#[derive(Debug)]
pub(crate) struct Credit {
    bytes: AtomicU64,
}

/// On what terms bytes are granted without a question; written by the sampler.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Below this sum every request is admitted without another question.
    pub(super) unquestioned: AtomicU64,
    /// What a credit holds after any step is below this; 0 near a line. One more than the most
    /// that a thread may keep, so that one comparison is all there is to ask on either way: a
    /// charge that the credit does not cover wraps, and is above it as well.
    credit_limit: AtomicU64,
}

impl Terms {
    #[inline]
    pub(super) fn most_credit(&self) -> u64 {
        self.credit_limit.load(Relaxed).saturating_sub(1)
    }

    /// By the sampler alone.
    pub(super) fn set_most_credit(&self, bytes: u64) {
        self.credit_limit.store(if bytes == 0 { 0 } else { bytes + 1 }, Relaxed);
    }

    pub(super) fn unquestioned(&self) -> u64 {
        self.unquestioned.load(Relaxed)
    }
}

impl Default for Terms {
    /// Everything is admitted, each thread by a credit of the size that most have.
    fn default() -> Self {
        Self {
            unquestioned: AtomicU64::new(u64::MAX),
            credit_limit: AtomicU64::new(super::MOST_CREDIT_BYTES + 1),
        }
    }
}

impl Default for Credit {
    fn default() -> Self {
        Self { bytes: AtomicU64::new(0) }
    }
}

impl Default for Account {
    fn default() -> Self {
        Self { granted: AtomicU64::new(0) }
    }
}

impl Credit {
    /// Of no thread: no step on it succeeds, since it is above any limit by more than any cost.
    pub(super) fn of_nobody() -> Self {
        Self { bytes: AtomicU64::new(3 << 62) }
    }

    /// Holds `bytes` from now on if that is below `limit`.
    #[inline]
    fn set_below(&self, bytes: u64, limit: u64) -> bool {
        let below = bytes < limit;
        if below {
            self.bytes.store(bytes, Relaxed);
        }
        below
    }

    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

impl Account {
    /// Promises `cost` bytes, at most 2^63, out of `credit`, which the caller owns; false when that
    /// needs more than its credit.
    #[inline]
    pub(super) fn charge_credit(credit: &Credit, cost: u64, terms: &Terms) -> bool {
        credit.set_below(credit.bytes().wrapping_sub(cost), terms.credit_limit.load(Relaxed))
    }

    /// Gives `bytes` back to `credit`, which the caller owns; false when they are too many for it.
    #[inline]
    pub(super) fn return_to_credit(credit: &Credit, bytes: u64, terms: &Terms) -> bool {
        credit.set_below(credit.bytes().wrapping_add(bytes), terms.credit_limit.load(Relaxed))
    }

    /// Promises `cost` bytes if that needs no question. To be called by the owner of `credit`.
    pub(super) fn charge(&self, credit: &Credit, cost: u64, terms: &Terms) -> bool {
        if Self::charge_credit(credit, cost, terms) {
            return true;
        }
        if cost > super::LARGEST_COST_BYTES {
            return false;
        }
        let most = terms.most_credit();
        let share = most / 2;
        if credit.bytes() > most {
            // Granted on older terms: what is too much would grow with each request from here on.
            self.keep(credit, share);
            if Self::charge_credit(credit, cost, terms) {
                return true;
            }
        }
        let unquestioned = terms.unquestioned();
        if cost > share {
            // A large request, or near a line.
            return self.grant_up_to(cost, unquestioned);
        }
        if self.grant_up_to(share, unquestioned) {
            // Less than `cost` was left, so this stays below what most may be kept.
            credit.bytes.store(credit.bytes() + share - cost, Relaxed);
            return true;
        }
        self.settle(credit);
        self.grant_up_to(cost, unquestioned)
    }

    /// Gives `bytes` back, promised by whichever thread. To be called by the owner of `credit`.
    pub(super) fn give_back(&self, credit: &Credit, bytes: u64, terms: &Terms) {
        if Self::return_to_credit(credit, bytes, terms) {
            return;
        }
        let keep = (terms.most_credit() / 2).min(credit.bytes());
        let returned = bytes + (credit.bytes() - keep);
        credit.bytes.store(keep, Relaxed);
        self.granted.fetch_sub(returned, Relaxed);
    }

    /// Returns the whole credit. To be called by its owner.
    pub(super) fn settle(&self, credit: &Credit) {
        self.keep(credit, 0);
    }

    /// Returns what a credit holds beyond `bytes`. To be called by its owner.
    fn keep(&self, credit: &Credit, bytes: u64) {
        if let Some(more) = credit.bytes().checked_sub(bytes).filter(|more| *more > 0) {
            credit.bytes.store(bytes, Relaxed);
            self.granted.fetch_sub(more, Relaxed);
        }
    }

    /// Adds `bytes` if the sum then stays within `cap`. A loop rather than an add that is taken
    /// back: a sum that is too high for a moment would refuse others who fit.
    pub(super) fn grant_up_to(&self, bytes: u64, cap: u64) -> bool {
        let mut granted = self.granted.load(Relaxed);
        loop {
            let Some(after) = granted.checked_add(bytes).filter(|after| *after <= cap) else {
                return false;
            };
            match self.granted.compare_exchange_weak(granted, after, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => granted = now,
            }
        }
    }

    /// Gives back bytes of a thread that has no credit.
    pub(super) fn return_bytes(&self, bytes: u64) {
        self.granted.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Relaxed)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    const CAP: u64 = 10;

    #[derive(Default)]
    struct World {
        account: Account,
        terms: Terms,
        credits: [Credit; 2],
        /// What requests hold, as they count themselves.
        held: AtomicU64,
    }

    fn world(most_credit: u64) -> Arc<World> {
        let world = World::default();
        world.terms.unquestioned.store(CAP, Relaxed);
        world.terms.set_most_credit(most_credit);
        Arc::new(world)
    }

    impl World {
        /// One request on thread `own`; returns whether it was admitted.
        fn admit(&self, own: usize, cost: u64) -> bool {
            if !self.account.charge(&self.credits[own], cost, &self.terms) {
                return false;
            }
            let held = self.held.fetch_add(cost, Relaxed) + cost;
            assert!(held <= CAP, "{held} bytes promised under a cap of {CAP}");
            let granted = self.account.granted();
            assert!(granted <= CAP, "{granted} bytes granted under a cap of {CAP}");
            true
        }

        fn end(&self, own: usize, cost: u64) {
            self.held.fetch_sub(cost, Relaxed);
            self.account.give_back(&self.credits[own], cost, &self.terms);
        }

        fn nothing_is_lost(&self) {
            let credits: u64 = self.credits.iter().map(Credit::bytes).sum();
            assert_eq!(self.account.granted(), credits + self.held.load(Relaxed));
        }
    }

    #[test]
    fn two_threads_that_admit_and_end_never_pass_the_cap_and_lose_nothing() {
        loom::model(|| {
            // The larger two do not fit together.
            let world = world(6);
            let other = Arc::clone(&world);
            let thread = thread::spawn(move || {
                for cost in [3, 6] {
                    if other.admit(1, cost) {
                        other.end(1, cost);
                    }
                }
            });
            for cost in [2, 5] {
                if world.admit(0, cost) {
                    world.end(0, cost);
                }
            }
            thread.join().unwrap();
            world.nothing_is_lost();
        });
    }

    #[test]
    fn a_request_that_ends_on_another_thread_is_given_back_once() {
        loom::model(|| {
            let world = world(6);
            assert!(world.admit(0, 3));
            let other = Arc::clone(&world);
            let thread = thread::spawn(move || {
                other.end(1, 3);
                other.admit(1, 6)
            });
            let admitted = world.admit(0, 4);
            let theirs = thread.join().unwrap();
            world.nothing_is_lost();
            let left = u64::from(admitted) * 4 + u64::from(theirs) * 6;
            assert_eq!(world.held.load(Relaxed), left);
        });
    }

    #[test]
    fn a_line_that_comes_near_meanwhile_ends_all_credit_of_threads_that_go_on() {
        loom::model(|| {
            let world = world(6);
            assert!(world.admit(0, 1));
            let other = Arc::clone(&world);
            let thread = thread::spawn(move || {
                if other.admit(1, 2) {
                    other.end(1, 2);
                }
                // A step after the sampler's, whichever way the first one went.
                other.terms.most_credit() == 0
            });
            world.terms.set_most_credit(0);
            world.end(0, 1);
            let seen = thread.join().unwrap();
            world.nothing_is_lost();
            assert_eq!(world.credits[0].bytes(), 0);
            if seen && world.admit(1, 1) {
                assert_eq!(world.credits[1].bytes(), 0);
                world.end(1, 1);
            }
            world.nothing_is_lost();
        });
    }
}
