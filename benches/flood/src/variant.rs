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
            Self::Guard(Guard::Plimsoll { .. } | Guard::PlimsollTuned | Guard::PlimsollLearned)
        )
    }

    /// All rows of the tables, in their order.
    ///
    /// ATTRIBUTION: `plimsoll-learned` comes here when the servers can learn costs.
    pub(crate) const NAMES: [&str; 11] = [
        "none",
        "poll:1000",
        "poll:10",
        "reserve",
        "memlim",
        "conc",
        "plimsoll",
        "plimsoll-half",
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
    fn every_row_is_read_back_from_its_name() {
        for name in Protector::NAMES {
            assert_eq!(name.parse::<Protector>().unwrap().to_string(), name);
        }
        assert!("fastify:0".parse::<Protector>().is_err());
    }
}
