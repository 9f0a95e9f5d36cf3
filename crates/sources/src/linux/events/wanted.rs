//! What the source wants to hear of, shared with the thread that waits for it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use plimsoll_core::GrowthWatch;
use rustix::event::{EventfdFlags, eventfd};

use super::thresholds::drain;

/// A threshold this far beyond where it should be is asked for anew: memory would pass the line
/// unheard. The kept cache, which lines follow, is itself not more exact.
const LATE_BYTES: u64 = 1024 * 1024;
/// ... or this share of the way that is left.
const LATE_SHARE: u64 = 16;
/// One that comes too early costs a look, so it may be further off.
const EARLY_BYTES: u64 = 4 * 1024 * 1024;
const EARLY_SHARE: u64 = 4;
/// The thresholds follow a cache that moves, and the kernel takes milliseconds for each: not more
/// often than this.
const REARM_EVERY: Duration = Duration::from_millis(250);

/// Where events come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// `memory.usage_in_bytes` of version 1, for thresholds.
    pub(crate) usage: Option<PathBuf>,
    /// `memory.events` of version 2, the cgroup's own first.
    pub(crate) breaches: Vec<PathBuf>,
    /// `memory.pressure` of version 2.
    pub(crate) stalls: Option<PathBuf>,
}

/// Set by the source after its readings, followed by the thread that waits.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Ready to read when there is news.
    control: OwnedFd,
    stopped: AtomicBool,
    /// The set of lines that the kernel has taken; 0 for none.
    taken: AtomicU64,
    set: Mutex<Set>,
}

#[derive(Debug, Default)]
struct Set {
    place: Option<Place>,
    /// Counts the places.
    places: u64,
    lines: Vec<u64>,
    /// Counts the sets of lines; 0 before the first.
    armed: u64,
}

/// What has changed since it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) place: Option<(u64, Option<Place>)>,
    pub(crate) lines: Option<(u64, Vec<u64>)>,
}

impl Wanted {
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let control = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            control,
            stopped: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            set: Mutex::default(),
        })
    }

    /// The process is in this cgroup now, if in any.
    pub(crate) fn set_place(&self, place: Option<Place>) {
        let mut set = self.lock();
        set.place = place;
        set.places += 1;
        set.lines.clear();
        drop(set);
        self.poke();
    }

    /// Returns the number of this set.
    fn set_lines(&self, lines: &[u64]) -> u64 {
        let mut set = self.lock();
        set.lines.clear();
        set.lines.extend_from_slice(lines);
        set.armed += 1;
        let number = set.armed;
        drop(set);
        self.poke();
        number
    }

    /// Notes which set of lines the kernel has taken, 0 when none is left.
    pub(super) fn taken(&self, number: u64) {
        self.taken.store(number, Ordering::SeqCst);
    }

    pub(super) fn news(&self, places_seen: Option<u64>, lines_seen: Option<u64>) -> News {
        let set = self.lock();
        let moved = places_seen != Some(set.places);
        let rearmed = !set.lines.is_empty() && lines_seen != Some(set.armed);
        News {
            place: moved.then(|| (set.places, set.place.clone())),
            lines: rearmed.then(|| (set.armed, set.lines.clone())),
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.poke();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    pub(super) fn drain(&self) {
        drain(&self.control);
    }

    fn poke(&self) {
        // Fails only when the counter is full, and then it is ready anyway.
        let _ = rustix::io::write(&self.control, &1_u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thresholds that were asked for last, kept by the source so that it can tell without a lock
/// whether they still serve.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    lines: Vec<u64>,
    number: u64,
    due: Duration,
}

impl Armed {
    /// They belong to a cgroup that the process has left.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
        self.due = Duration::ZERO;
    }

    /// Asks for thresholds at `usage` and each growth beyond it, unless those there are near; says
    /// whether the kernel will tell of all of them. It will not where usage cannot get: cache that
    /// the kernel reclaims from `reclaims_at` on makes room for memory without usage moving.
    pub(crate) fn follow(
        &mut self,
        wanted: &Wanted,
        usage: u64,
        growth: &[u64],
        reclaims_at: Option<u64>,
        now: Duration,
    ) -> GrowthWatch {
        let serve = growth.iter().all(|&growth| self.serves(usage, growth));
        if !serve && now >= self.due {
            self.due = now + REARM_EVERY;
            self.lines.clear();
            self.lines.extend(growth.iter().map(|&growth| usage.saturating_add(growth)));
            self.number = wanted.set_lines(&self.lines);
        }
        let reached = growth.last().is_some_and(|furthest| {
            reclaims_at.is_none_or(|line| usage.saturating_add(*furthest) < line)
        });
        if serve && reached && wanted.taken.load(Ordering::SeqCst) == self.number {
            GrowthWatch::Watched
        } else {
            GrowthWatch::Unwatched
        }
    }

    fn serves(&self, usage: u64, growth: u64) -> bool {
        let line = usage.saturating_add(growth);
        let late = LATE_BYTES.max(growth / LATE_SHARE);
        let early = EARLY_BYTES.max(growth / EARLY_SHARE);
        self.lines.iter().any(|&armed| {
            // Not one that is passed already: it would not be heard on the way up.
            armed > usage
                && armed <= line.saturating_add(late)
                && armed.saturating_add(early) >= line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn follow(armed: &mut Armed, wanted: &Wanted, usage: u64, growth: &[u64], now: Duration) {
        armed.follow(wanted, usage, growth, None, now);
    }

    fn armed() -> (Armed, Wanted) {
        let (mut armed, wanted) = (Armed::default(), Wanted::new().unwrap());
        follow(&mut armed, &wanted, 100 * MIB, &[64 * MIB, 128 * MIB], Duration::ZERO);
        (armed, wanted)
    }

    fn lines(wanted: &Wanted) -> (u64, Vec<u64>) {
        wanted.news(None, None).lines.expect("asked for")
    }

    #[test]
    fn lines_that_stay_where_they_are_are_asked_for_once() {
        let (mut armed, wanted) = armed();
        assert_eq!(lines(&wanted), (1, vec![164 * MIB, 228 * MIB]));
        let later = Duration::from_secs(10);
        for usage in [90, 99, 100, 101, 120, 163] {
            follow(
                &mut armed,
                &wanted,
                usage * MIB,
                &[(164 - usage) * MIB, (228 - usage) * MIB],
                later,
            );
        }
        follow(&mut armed, &wanted, 164 * MIB, &[64 * MIB], later);
        assert_eq!(lines(&wanted).0, 1, "one that is passed is not wanted, the other is there");
    }

    #[test]
    fn lines_follow_a_cache_that_moves_far_enough_and_not_more_often_than_they_may() {
        let (mut armed, wanted) = armed();
        let growth = |cache: u64| [(64 + cache) * MIB, (128 + cache) * MIB];
        follow(&mut armed, &wanted, 100 * MIB, &growth(10), Duration::from_secs(1));
        assert_eq!(lines(&wanted).0, 1, "a little early");
        follow(&mut armed, &wanted, 100 * MIB, &growth(60), Duration::from_secs(1));
        assert_eq!(lines(&wanted), (2, vec![224 * MIB, 288 * MIB]));
        follow(&mut armed, &wanted, 100 * MIB, &growth(0), Duration::from_millis(1_249));
        assert_eq!(lines(&wanted).0, 2, "not yet");
        follow(&mut armed, &wanted, 100 * MIB, &growth(0), Duration::from_millis(1_250));
        assert_eq!(lines(&wanted).0, 3, "too late by far");
    }

    #[test]
    fn nothing_above_asks_for_nothing() {
        let (mut armed, wanted) = (Armed::default(), Wanted::new().unwrap());
        follow(&mut armed, &wanted, 100 * MIB, &[], Duration::from_secs(1));
        assert!(wanted.news(None, None).lines.is_none());
    }

    #[test]
    fn growth_is_watched_once_the_kernel_has_taken_it_and_usage_can_get_there() {
        let (mut armed, wanted) = armed();
        let mut ask = |growth: &[u64], reclaims_at| {
            armed.follow(&wanted, 100 * MIB, growth, reclaims_at, Duration::ZERO)
        };
        let both = [64 * MIB, 128 * MIB];
        assert_eq!(ask(&both, None), GrowthWatch::Unwatched, "not taken yet");
        wanted.taken(1);
        assert_eq!(ask(&both, None), GrowthWatch::Watched);
        assert_eq!(ask(&both, Some(256 * MIB)), GrowthWatch::Watched);
        assert_eq!(ask(&both, Some(200 * MIB)), GrowthWatch::Unwatched, "reclaimed before");
        assert_eq!(ask(&[20 * MIB], None), GrowthWatch::Unwatched, "another line");
        assert_eq!(ask(&[], None), GrowthWatch::Unwatched, "nothing above");
        wanted.taken(0);
        assert_eq!(ask(&both, None), GrowthWatch::Unwatched, "its cgroup went away");
    }

    #[test]
    fn another_place_makes_the_lines_be_asked_for_again() {
        let (mut armed, wanted) = armed();
        wanted.set_place(Some(Place::default()));
        armed.forget();
        let news = wanted.news(Some(0), Some(1));
        assert_eq!(news.place, Some((1, Some(Place::default()))));
        assert!(news.lines.is_none());
        follow(&mut armed, &wanted, 100 * MIB, &[64 * MIB], Duration::ZERO);
        assert_eq!(lines(&wanted), (2, vec![164 * MIB]));
    }
}
