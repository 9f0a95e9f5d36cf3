use std::{fmt, str::FromStr, time::Duration};

/// Bytes of one MB.
pub const MB: u64 = 1_000_000;

/// What stands between the flood and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guard {
    /// Nothing: the control.
    None,
    /// Sheds while the resident set, read each period, is above 80 % of the limit.
    Poll(Duration),
    /// Reserves declared bytes on one atomic, up to 80 % of the limit.
    Reserve,
    /// The crate `tower-memlim` under tower's load shedding, up to 80 % of the limit.
    Memlim,
    /// Tower's load shedding and concurrency limit, set by an oracle that knows this very load.
    Conc,
    /// Plimsoll; costs are declared as a percentage of what requests really take.
    Plimsoll {
        /// 100 tells the truth.
        declared_percent: u64,
    },
    /// Plimsoll as `plimsoll`, after the call by which an application sets up its allocator.
    PlimsollTuned,
    /// Plimsoll, told nothing: costs are learned by the attributing allocator.
    PlimsollLearned,
    /// Plimsoll, told half of the truth as `plimsoll-half` is, with the attributing allocator and
    /// allowed to cancel requests: what a wrong declaration can still be saved by.
    PlimsollHalfWatched,
}

/// A guard that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownGuard(String);

impl Guard {
    /// The share of the limit up to which it means to load the server, in percent.
    pub fn line_percent(self) -> u64 {
        match self {
            Self::None => 100,
            Self::Poll(_) | Self::Reserve | Self::Memlim => 80,
            // Plimsoll's default critical threshold in a small container; the oracle gets the same.
            Self::Conc
            | Self::Plimsoll { .. }
            | Self::PlimsollTuned
            | Self::PlimsollLearned
            | Self::PlimsollHalfWatched => 85,
        }
    }

    /// The line in bytes of usage.
    pub fn line_bytes(self, limit_bytes: u64) -> u64 {
        limit_bytes / 100 * self.line_percent()
    }

    /// Whether its server counts what each request allocates. The others run without the counting
    /// allocator, so that they show nothing of it.
    pub fn is_attributed(self) -> bool {
        matches!(self, Self::PlimsollLearned | Self::PlimsollHalfWatched)
    }

    /// Whether it decides from measured usage alone, so that it cannot shed before its line.
    pub fn sheds_by_usage(self) -> bool {
        matches!(self, Self::Poll(_) | Self::Memlim)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Poll(period) => f.pad(&format!("poll:{}", period.as_millis())),
            Self::Reserve => f.pad("reserve"),
            Self::Memlim => f.pad("memlim"),
            Self::Conc => f.pad("conc"),
            Self::Plimsoll { declared_percent: 100 } => f.pad("plimsoll"),
            Self::Plimsoll { declared_percent: 50 } => f.pad("plimsoll-half"),
            Self::Plimsoll { declared_percent } => f.pad(&format!("plimsoll:{declared_percent}")),
            Self::PlimsollTuned => f.pad("plimsoll-tuned"),
            Self::PlimsollLearned => f.pad("plimsoll-learned"),
            Self::PlimsollHalfWatched => f.pad("plimsoll-half-watched"),
        }
    }
}

impl FromStr for Guard {
    type Err = UnknownGuard;

    fn from_str(text: &str) -> Result<Self, UnknownGuard> {
        let unknown = || UnknownGuard(text.to_owned());
        Ok(match text {
            "none" => Self::None,
            "reserve" => Self::Reserve,
            "memlim" => Self::Memlim,
            "conc" => Self::Conc,
            "plimsoll" => Self::Plimsoll { declared_percent: 100 },
            "plimsoll-half" => Self::Plimsoll { declared_percent: 50 },
            "plimsoll-tuned" => Self::PlimsollTuned,
            "plimsoll-learned" => Self::PlimsollLearned,
            "plimsoll-half-watched" => Self::PlimsollHalfWatched,
            _ => {
                let (kind, number) = text.split_once(':').ok_or_else(unknown)?;
                match (kind, number.parse::<u64>()) {
                    ("poll", Ok(ms @ 1..=60_000)) => Self::Poll(Duration::from_millis(ms)),
                    ("plimsoll", Ok(declared_percent @ 1..=1_000)) => {
                        Self::Plimsoll { declared_percent }
                    }
                    _ => return Err(unknown()),
                }
            }
        })
    }
}

impl fmt::Display for UnknownGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no guard {:?}; there are none, poll:MS, reserve, memlim, conc, plimsoll, plimsoll-half, \
             plimsoll:PERCENT, plimsoll-half-watched, plimsoll-tuned and plimsoll-learned",
            self.0
        )
    }
}

impl std::error::Error for UnknownGuard {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_read_back_from_its_name() {
        for name in [
            "none",
            "poll:10",
            "poll:1000",
            "reserve",
            "memlim",
            "conc",
            "plimsoll",
            "plimsoll-half",
            "plimsoll:200",
            "plimsoll-tuned",
            "plimsoll-learned",
            "plimsoll-half-watched",
        ] {
            assert_eq!(name.parse::<Guard>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn what_is_no_guard_is_refused_with_the_names_of_those_there_are() {
        for name in ["", "poll", "poll:0", "poll:x", "Reserve", "plimsoll:0"] {
            let error = name.parse::<Guard>().unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")) && error.contains("memlim"), "{error}");
        }
    }

    #[test]
    fn the_line_is_a_share_of_the_limit() {
        assert_eq!(Guard::Conc.line_bytes(256 * MB), 217_600_000);
        assert_eq!(Guard::Reserve.line_bytes(256 * MB), 204_800_000);
    }
}
