//! Clients that mean harm, and memory that no request declares.

mod attacks;
mod neighbour;
mod run;

use std::{fmt, time::Duration};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use self::run::{Attacked, HEAD, row, run};

/// What is done to the server while honest clients go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Adversary {
    /// Bodies of 8 MB that take most of the time to arrive, their length declared
    SlowUploads,
    /// The same without a length, in chunks
    ChunkedUploads,
    /// A kilobyte is declared and 8 MB are sent
    LyingUploads,
    /// Answers of 8 MB that are made at once and read slowly
    SlowReaders,
    /// Answers of 8 MB that are made as they are read, and read slowly
    SlowStreamReaders,
    /// 10,000 connections that say nothing
    IdleConnections,
    /// HTTP/2 streams that are opened and reset at once
    RapidReset,
    /// A task that grows beside all requests, and can be pruned
    Background,
    /// The same, and nothing lets go of it
    StuckBackground,
    /// Page cache, to more than the limit
    PageCache,
    /// Programs in a cgroup of their own that stall the machine for want of memory
    NeighbourPressure,
    /// Memory that was freed just before and that the allocator merely holds
    Retained,
}

/// Requests of an attack take together so many times the limit.
const TIMES_THE_LIMIT: u64 = 2;
const BODY_MB: u64 = 8;

impl Adversary {
    /// Whether an unguarded server is expected to die of it, so that it is worth showing.
    pub(crate) fn kills(self) -> bool {
        !matches!(
            self,
            Self::LyingUploads
                | Self::SlowStreamReaders
                | Self::PageCache
                | Self::NeighbourPressure
                | Self::Retained
        )
    }

    /// More options of the server.
    fn server_options(self) -> &'static [&'static str] {
        if self == Self::Background { &["--prune-background"] } else { &[] }
    }

    /// Connections that an attack opens on a server with this limit.
    fn connections(self, limit_bytes: u64) -> usize {
        let bodies = limit_bytes * TIMES_THE_LIMIT / (BODY_MB * plimsoll_flood::MB);
        match self {
            Self::IdleConnections => 10_000,
            Self::RapidReset => 4,
            Self::Background | Self::StuckBackground | Self::PageCache => 1,
            Self::NeighbourPressure | Self::Retained => 0,
            _ => usize::try_from(bodies).unwrap_or(usize::MAX),
        }
    }
}

/// For how long a body is on its way, of an attack of this length.
fn slowly(seconds: u64) -> Duration {
    Duration::from_secs(seconds) * 3 / 4
}

impl fmt::Display for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}
