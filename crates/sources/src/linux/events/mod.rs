//! What the kernel tells without being asked: thresholds of usage, breaches of limits, stalls.
//!
//! Three kinds, since no one of them is enough:
//!
//! - version 1: thresholds of usage, the kernel's `cgroup-v1/memory.rst`, "Memory thresholds". The
//!   only one that tells of memory that grows, and it does so before a limit is met.
//! - version 2 has no such thing. `memory.events` counts breaches of `memory.high` and of the
//!   limits, and changes when one happens (`cgroup-v2.rst`, "Memory Interface Files").
//! - stalls, `accounting/psi.rst`: of the cgroup on version 2, else of the machine. A hint: without
//!   swap, memory that grows to the limit stalls nobody until it is too late, and on the machine
//!   the stall may be another's. It only makes the sampler look.
//!
//! All are re-made when the process turns out to be in another cgroup. A file that goes away is
//! left alone from then on: a descriptor that is ready for ever must not keep the thread running.

mod breaches;
mod stalls;
mod thresholds;
mod wanted;

use std::{io, os::fd::BorrowedFd, path::PathBuf, sync::Arc};

use plimsoll_core::{EventFigures, KernelEvents, Woken};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

pub(crate) use self::wanted::{Armed, Place, Wanted};
use self::{breaches::Breaches, stalls::Stalls, thresholds::Thresholds};

/// Waits for the events of one process; made by [`MemorySource::events`](plimsoll_core::MemorySource::events).
#[derive(Debug)]
pub(crate) struct SystemEvents {
    wanted: Arc<Wanted>,
    /// Where the machine's stalls are told.
    machine_stalls: PathBuf,
    place: Option<Place>,
    places_seen: Option<u64>,
    lines_seen: Option<u64>,
    thresholds: Heard<Thresholds>,
    breaches: Heard<Breaches>,
    stalls: Heard<Stalls>,
}

/// One kind of event.
#[derive(Debug)]
enum Heard<T> {
    /// Not to be had here by its nature.
    Inapplicable,
    Active(T),
    /// It should be there, and is not.
    Missing(&'static str, io::Error),
    /// Its file went away.
    Gone(&'static str),
}

impl<T> Heard<T> {
    /// `told` remembers that the reason was logged, so that a process that moves a lot does not
    /// fill the log.
    fn of(what: &'static str, opened: io::Result<T>, before: &Self) -> Self {
        match opened {
            Ok(active) => Self::Active(active),
            Err(error) => {
                if !matches!(before, Self::Missing(..)) {
                    tracing::info!(
                        %error,
                        "no kernel events from {what}; the sampler looks by its own period"
                    );
                }
                Self::Missing(what, error)
            }
        }
    }

    fn active(&self) -> Option<&T> {
        if let Self::Active(active) = self { Some(active) } else { None }
    }

    fn missing(&self) -> Option<String> {
        match self {
            Self::Inapplicable | Self::Active(_) => None,
            Self::Missing(what, error) => Some(format!("{what}: {error}")),
            Self::Gone(what) => Some(format!("{what}: gone")),
        }
    }
}

/// What a descriptor that is ready says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    /// Something happened, and can happen again.
    Event,
    /// Nothing more will come from it.
    Ended,
    /// Not a word.
    Nothing,
}

impl SystemEvents {
    pub(crate) fn new(wanted: Arc<Wanted>, machine_stalls: PathBuf) -> Self {
        let mut events = Self {
            wanted,
            machine_stalls,
            place: None,
            places_seen: None,
            lines_seen: None,
            thresholds: Heard::Inapplicable,
            breaches: Heard::Inapplicable,
            stalls: Heard::Inapplicable,
        };
        events.follow();
        events
    }

    /// Asks the kernel for what is wanted now; true when anything was asked anew.
    fn follow(&mut self) -> bool {
        let news = self.wanted.news(self.places_seen, self.lines_seen);
        let moved = news.place.is_some();
        if let Some((number, place)) = news.place {
            self.places_seen = Some(number);
            self.settle(place);
        }
        if let Some((number, lines)) = news.lines {
            self.lines_seen = Some(number);
            self.arm(&lines);
            self.wanted.taken(self.thresholds.active().map_or(0, |_| number));
            return true;
        }
        moved
    }

    fn settle(&mut self, place: Option<Place>) {
        self.breaches = match &place {
            Some(Place { breaches, .. }) if !breaches.is_empty() => {
                Heard::of("memory.events", Breaches::watch(breaches), &self.breaches)
            }
            _ => Heard::Inapplicable,
        };
        let stalls = match &place {
            Some(Place { stalls: Some(own), .. }) => Stalls::of_cgroup(own),
            _ => Stalls::of_machine(&self.machine_stalls),
        };
        self.stalls = Heard::of("memory pressure", stalls, &self.stalls);
        self.place = place;
        // Those of the cgroup before; the source names new ones after its next reading.
        self.thresholds = Heard::Inapplicable;
        self.wanted.taken(0);
    }

    fn arm(&mut self, lines: &[u64]) {
        let Some(usage) = self.place.as_ref().and_then(|place| place.usage.as_ref()) else {
            return;
        };
        // The new ones first: those before stay until they are replaced.
        let armed = Thresholds::arm(usage, lines);
        self.thresholds = Heard::of("usage thresholds of cgroup v1", armed, &self.thresholds);
    }

    /// Blocks until a descriptor is ready, and reads what it says.
    fn hear(&mut self) -> Ready {
        let [control, thresholds, breaches, stalls] = {
            let nothing = PollFlags::empty();
            // The kernel always reports errors, so a descriptor that is not there is left out by
            // standing for the first, unasked.
            let control = self.wanted.as_fd();
            let fds: [(BorrowedFd<'_>, PollFlags); 4] = [
                (control, PollFlags::IN),
                self.thresholds
                    .active()
                    .map_or((control, nothing), |it| (it.as_fd(), PollFlags::IN)),
                self.breaches.active().map_or((control, nothing), |it| (it.as_fd(), PollFlags::IN)),
                self.stalls.active().map_or((control, nothing), |it| (it.as_fd(), PollFlags::PRI)),
            ];
            let mut fds = fds.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
            match poll(&mut fds, None) {
                Ok(_) => fds.map(|fd| fd.revents()),
                Err(Errno::INTR) => return Ready::Nothing,
                // Out of memory, or descriptors were closed by force: who asks again is slowed.
                Err(_) => return Ready::Event,
            }
        };
        if control.contains(PollFlags::IN) {
            self.wanted.drain();
        }
        let mut heard = Ready::Nothing;
        let mut note = |ready: Ready| {
            if ready != Ready::Nothing {
                heard = Ready::Event;
            }
            ready == Ready::Ended
        };
        if let Heard::Active(active) = &self.thresholds
            && note(active.read(thresholds))
        {
            self.thresholds = Heard::Gone("usage thresholds of cgroup v1");
            self.wanted.taken(0);
        }
        if let Heard::Active(active) = &mut self.breaches
            && note(active.read(breaches))
        {
            self.breaches = Heard::Gone("memory.events");
        }
        if let Heard::Active(active) = &self.stalls
            && note(active.read(stalls))
        {
            self.stalls = Heard::Gone("memory pressure");
        }
        heard
    }
}

/// Whoever no longer waits hears of nothing, and the source must not rely on it.
impl Drop for SystemEvents {
    fn drop(&mut self) {
        self.wanted.taken(0);
    }
}

impl KernelEvents for SystemEvents {
    fn wait(&mut self) -> Woken {
        loop {
            if self.wanted.is_stopped() {
                return Woken::Stopped;
            }
            // A look after arming as well: what was passed meanwhile raises no event.
            if self.follow() || self.hear() == Ready::Event {
                return Woken::Look;
            }
        }
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let wanted = Arc::clone(&self.wanted);
        Box::new(move || wanted.stop())
    }

    fn describe(&self) -> EventFigures {
        let active = [
            self.thresholds.active().map(|_| "usage thresholds of cgroup v1"),
            self.breaches.active().map(|_| "memory.events"),
            self.stalls.active().map(Stalls::name),
        ];
        let missing = [self.thresholds.missing(), self.breaches.missing(), self.stalls.missing()];
        EventFigures::new(
            active.into_iter().flatten().map(str::to_owned).collect(),
            missing.into_iter().flatten().collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plimsoll_core::GrowthWatch;

    use super::*;

    #[test]
    fn lines_that_nobody_waits_for_any_more_are_not_relied_on() {
        let wanted = Arc::new(Wanted::new().unwrap());
        let mut armed = Armed::default();
        let mut follow = || armed.follow(&wanted, 100 << 20, &[64 << 20], None, Duration::ZERO);
        assert_eq!(follow(), GrowthWatch::Unwatched, "nobody has taken them");
        let events = SystemEvents::new(Arc::clone(&wanted), PathBuf::new());
        wanted.taken(1);
        assert_eq!(follow(), GrowthWatch::Watched);
        drop(events);
        assert_eq!(follow(), GrowthWatch::Unwatched);
    }
}
