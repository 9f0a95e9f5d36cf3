//! How much of a cache a cleanup may take.

use plimsoll_core::CleanupLevel;

/// A moderate cleanup leaves the cache working: half of it usually serves most of its hits.
const MODERATE: f64 = 0.5;
/// An aggressive one runs where the alternative is to be killed, which empties the cache as well.
const AGGRESSIVE: f64 = 1.0;

/// The largest share of a cache that each level of cleanup takes, 0.0 to 1.0.
///
/// By default half for a moderate cleanup and all for an aggressive one. A level with a share of 0
/// takes nothing.
///
/// ```
/// use plimsoll_caches::Share;
///
/// assert_eq!(Share::default(), Share::new(0.5, 1.0)?);
/// # Ok::<(), plimsoll_caches::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    moderate: f64,
    aggressive: f64,
}

/// A share that is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// Below 0, above 1, or not a number.
    #[error("share {0} of a cache is not between 0.0 (nothing) and 1.0 (all of it)")]
    OutOfRange(f64),
    /// The milder level would take more.
    #[error(
        "a moderate cleanup would take {moderate} of the cache and an aggressive one only {aggressive}; it has to take at least as much"
    )]
    Inverted {
        /// The share of a moderate cleanup.
        moderate: f64,
        /// The share of an aggressive cleanup.
        aggressive: f64,
    },
}

impl Share {
    /// Pairs the shares of the two levels.
    ///
    /// # Errors
    /// When one is not within 0.0 to 1.0, or the moderate one is the larger.
    pub fn new(moderate: f64, aggressive: f64) -> Result<Self, ShareError> {
        for share in [moderate, aggressive] {
            if !(0.0..=1.0).contains(&share) {
                return Err(ShareError::OutOfRange(share));
            }
        }
        if moderate > aggressive {
            return Err(ShareError::Inverted { moderate, aggressive });
        }
        Ok(Self { moderate, aggressive })
    }

    /// The most that `level` takes of `whole`, entries or bytes, for a pruner of one's own; rounded up, so that a cache of one
    /// entry can be emptied by a level that takes anything at all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count is within the count, and need not be exact above 2^53"
    )]
    pub fn of(self, level: CleanupLevel, whole: u64) -> u64 {
        let share = match level {
            CleanupLevel::Moderate => self.moderate,
            CleanupLevel::Aggressive => self.aggressive,
        };
        ((whole as f64 * share).ceil() as u64).min(whole)
    }
}

impl Default for Share {
    fn default() -> Self {
        Self { moderate: MODERATE, aggressive: AGGRESSIVE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_out_of_range_or_order_are_refused_with_the_value() {
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let text = Share::new(share, 1.0).expect_err("refused").to_string();
            assert!(text.contains(&share.to_string()) && text.contains("0.0"), "{text}");
        }
        let error = Share::new(0.6, 0.5).expect_err("refused");
        assert_eq!(error, ShareError::Inverted { moderate: 0.6, aggressive: 0.5 });
    }

    #[test]
    fn a_share_is_rounded_up_and_never_more_than_the_whole() {
        let share = Share::default();
        let moderate = |whole| share.of(CleanupLevel::Moderate, whole);
        assert_eq!([0, 1, 2, 9].map(moderate), [0, 1, 1, 5]);
        assert_eq!(share.of(CleanupLevel::Aggressive, 9), 9);
        let nothing = Share::new(0.0, 1.0).expect("in range");
        assert_eq!(nothing.of(CleanupLevel::Moderate, 1_000), 0);
    }
}
