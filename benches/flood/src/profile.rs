//! What a flood consists of.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use plimsoll_flood::MB;
use serde::Serialize;

/// How requests arrive, and what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// 200 requests a second by the clock, whatever the answers
    Open,
    /// The same, and the memory is touched after the request was admitted
    Late,
    /// 150 in the same instant, every 2 s
    Burst,
    /// 200 a second of 1, 4, 1, 16, 1 and 4 MB in turn
    Mix,
    /// 256 connections that ask again at once
    Hammer,
}

/// One request of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) mb: u64,
}

const OPEN_PERIOD: Duration = Duration::from_millis(5);
/// About as many requests as fit into the smallest usual limit at once.
const OPEN_CONNECTIONS: usize = 64;
const BURST_PERIOD: Duration = Duration::from_secs(2);
const BURST_SIZE: usize = 150;
const HAMMER_CONNECTIONS: usize = 256;
const MIX_MB: [u64; 6] = [1, 4, 1, 16, 1, 4];
/// What a request takes unless the profile mixes.
pub(crate) const REQUEST_MB: u64 = 4;
/// How long every request holds what it takes.
pub(crate) const HOLD: Duration = Duration::from_secs(1);

impl Profile {
    pub(crate) const ALL: [Self; 5] =
        [Self::Open, Self::Late, Self::Burst, Self::Mix, Self::Hammer];

    /// The arrivals by the clock; `None` when each connection waits for its answer.
    pub(crate) fn arrivals(self, seconds: u64) -> Option<Vec<Arrival>> {
        let end = Duration::from_secs(seconds);
        let every = |period: Duration| {
            (0_u32..).map(move |turn| period * turn).take_while(move |at| *at < end)
        };
        match self {
            Self::Open | Self::Late => {
                Some(every(OPEN_PERIOD).map(|at| Arrival { at, mb: REQUEST_MB }).collect())
            }
            Self::Burst => {
                let burst = |at| [Arrival { at, mb: REQUEST_MB }; BURST_SIZE];
                Some(every(BURST_PERIOD).flat_map(burst).collect())
            }
            Self::Mix => {
                let sizes = MIX_MB.into_iter().cycle();
                Some(every(OPEN_PERIOD).zip(sizes).map(|(at, mb)| Arrival { at, mb }).collect())
            }
            Self::Hammer => None,
        }
    }

    /// Connections that are open before the flood begins; an open loop adds what it needs.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::Hammer => HAMMER_CONNECTIONS,
            Self::Burst => BURST_SIZE,
            Self::Open | Self::Late | Self::Mix => OPEN_CONNECTIONS,
        }
    }

    /// The target of a request.
    pub(crate) fn path(self, mb: u64) -> String {
        let style = if self == Self::Late { "late" } else { "now" };
        format!("/alloc?mb={mb}&style={style}")
    }

    /// Bytes that could be served in a flood by a server that always has `room` in use.
    pub(crate) fn best_bytes(self, room: u64, seconds: u64) -> u64 {
        let always = room * seconds;
        match self.arrivals(seconds) {
            // Each burst fills the room once.
            Some(arrivals) if self == Self::Burst => {
                let bursts = arrivals.len() / BURST_SIZE;
                let burst = REQUEST_MB * MB * BURST_SIZE as u64;
                room.min(burst) * bursts as u64
            }
            Some(arrivals) => {
                always.min(arrivals.iter().map(|arrival| arrival.mb * MB).sum::<u64>())
            }
            None => always,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Late => "late",
            Self::Burst => "burst",
            Self::Mix => "mix",
            Self::Hammer => "hammer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_has_its_arrivals_by_the_clock() {
        let open = Profile::Open.arrivals(10).unwrap();
        assert_eq!(open.len(), 2_000);
        assert_eq!(open[1], Arrival { at: Duration::from_millis(5), mb: 4 });
        let burst = Profile::Burst.arrivals(3).unwrap();
        assert_eq!(burst.len(), 300);
        assert_eq!((burst[149].at, burst[150].at), (Duration::ZERO, Duration::from_secs(2)));
        let mix = Profile::Mix.arrivals(1).unwrap();
        assert_eq!(mix.iter().take(7).map(|a| a.mb).collect::<Vec<_>>(), [1, 4, 1, 16, 1, 4, 1]);
        assert!(Profile::Hammer.arrivals(1).is_none());
    }

    #[test]
    fn nothing_can_be_served_that_was_not_asked_for() {
        assert_eq!(Profile::Open.best_bytes(200 * MB, 10), 2_000 * MB);
        assert_eq!(Profile::Open.best_bytes(2_000 * MB, 10), 8_000 * MB);
        assert_eq!(Profile::Burst.best_bytes(200 * MB, 10), 1_000 * MB);
        assert_eq!(Profile::Hammer.best_bytes(200 * MB, 10), 2_000 * MB);
    }
}
