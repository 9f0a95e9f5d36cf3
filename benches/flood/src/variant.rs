use std::{fmt, str::FromStr, time::Duration};

use plimsoll_flood::{Guard, UnknownGuard};
use serde::{Serialize, Serializer};

use crate::allocator::Allocator;

/// One row of a table: what is in front of a server, and what its memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Variant {
    pub(crate) guard: Protector,
    pub(crate) allocator: Allocator,
}

impl Variant {
    /// The name of the program that serves; Fastify is none of ours.
    pub(crate) fn program(self) -> Option<String> {
        match self.guard {
            Protector::Guard(guard) if guard.is_attributed() => {
                Some(format!("{}-attributing", self.allocator.program()))
            }
            Protector::Guard(_) => Some(self.allocator.program()),
            Protector::Fastify(_) => None,
        }
    }
}

/// What protects a server: a guard of our server, or another server with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protector {
    Guard(Guard),
    /// Fastify with `@fastify/under-pressure`, looking this often.
    Fastify(Duration),
}

/// Fastify is told the same share of the limit as the guards that poll.
const FASTIFY_LINE_PERCENT: u64 = 80;

impl Protector {
    pub(crate) fn line_bytes(self, limit_bytes: u64) -> u64 {
        match self {
            Self::Guard(guard) => guard.line_bytes(limit_bytes),
            Self::Fastify(_) => limit_bytes / 100 * FASTIFY_LINE_PERCENT,
        }
    }

    pub(crate) fn sheds_by_usage(self) -> bool {
        match self {
            Self::Guard(guard) => guard.sheds_by_usage(),
            Self::Fastify(_) => true,
        }
    }

    /// Whether it is ours, and so has to live through everything.
    pub(crate) fn is_plimsoll(self) -> bool {
        matches!(
            self,
            Self::Guard(
                Guard::Plimsoll { .. }
                    | Guard::PlimsollTuned
                    | Guard::PlimsollLearned
                    | Guard::PlimsollHalfWatched
            )
        )
    }

    /// All rows of the tables, in their order.
    pub(crate) const NAMES: [&str; 13] = [
        "none",
        "poll:1000",
        "poll:10",
        "reserve",
        "memlim",
        "conc",
        "plimsoll",
        "plimsoll-half",
        "plimsoll-half-watched",
        "plimsoll-learned",
        "plimsoll-tuned",
        "fastify:1000",
        "fastify:10",
    ];
}

impl fmt::Display for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guard(guard) => guard.fmt(f),
            Self::Fastify(period) => f.pad(&format!("fastify:{}", period.as_millis())),
        }
    }
}

impl FromStr for Protector {
    type Err = UnknownGuard;

    fn from_str(text: &str) -> Result<Self, UnknownGuard> {
        match text.strip_prefix("fastify:").and_then(|ms| ms.parse().ok()) {
            Some(ms @ 1..=60_000) => Ok(Self::Fastify(Duration::from_millis(ms))),
            _ => text.parse().map(Self::Guard),
        }
    }
}

impl Serialize for Protector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_told_by_attribution_is_served_by_a_program_that_counts() {
        for name in Protector::NAMES {
            let guard: Protector = name.parse().unwrap();
            let program = Variant { guard, allocator: Allocator::Jemalloc }.program();
            let expected = match name {
                "plimsoll-half-watched" | "plimsoll-learned" => {
                    Some("flood-server-jemalloc-attributing")
                }
                name if name.starts_with("fastify") => None,
                _ => Some("flood-server-jemalloc"),
            };
            assert_eq!(program.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_row_is_read_back_from_its_name() {
        for name in Protector::NAMES {
            assert_eq!(name.parse::<Protector>().unwrap().to_string(), name);
        }
        assert!("fastify:0".parse::<Protector>().is_err());
    }
}
