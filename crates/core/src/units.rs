//! Sizes and durations as people type them: MB (10^6) and milliseconds at the edge, bytes and
//! [`Duration`] inside.

use std::time::Duration;

use bytesize::ByteSize;

/// Bytes of one megabyte: 10^6, as disks, networks and this library's figures count.
pub const MB: u64 = 1_000_000;

const SIZE_FORMS: &str = "accepted is a number with a unit, such as 2000MB, 1.5GB or 1500MiB";
const DURATION_FORMS: &str =
    "accepted is a number of milliseconds such as 10000, or a number with a unit such as 10s";

/// What a block of `bytes` takes out of a heap, for weighers: an allocator rounds up and keeps a
/// word or so beside it, which is a third of a small block. As glibc does it on 64-bit systems: 8
/// bytes more, up to a multiple of 16, and at least 32 (`request2size` of its malloc.c); jemalloc and
/// mimalloc differ by some percent. Nothing for 0, which is not allocated.
///
/// ```
/// # use plimsoll_core::allocation_bytes;
/// assert_eq!([0, 1, 24, 25, 1_000].map(allocation_bytes), [0, 32, 32, 48, 1_008]);
/// ```
pub fn allocation_bytes(bytes: usize) -> usize {
    const WORD: usize = 8;
    const ALIGNED: usize = 16;
    const LEAST: usize = 32;
    if bytes == 0 {
        return 0;
    }
    bytes.saturating_add(WORD).checked_next_multiple_of(ALIGNED).unwrap_or(usize::MAX).max(LEAST)
}

/// Reads a size with its unit, such as `2000MB`, `1.5GB` (powers of 10) or `1500MiB` (powers
/// of 2), into bytes. Spaces around it and before the unit do not matter.
///
/// ```
/// # use plimsoll_core::{MB, parse_size};
/// assert_eq!(parse_size("1.5GB"), Ok(1_500 * MB));
/// assert_eq!(parse_size("1MiB"), Ok(1_048_576));
/// ```
///
/// # Errors
/// Refuses a number without a unit, a negative one, 0, what is no number, and what does not fit
/// into 64 bits. The message names the value and the accepted forms.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    if trimmed.parse::<f64>().is_ok() {
        return Err(SizeError::MissingUnit { value: quoted(trimmed) });
    }
    match trimmed.parse::<ByteSize>() {
        // What overflows is saturated by the parser, so its largest value cannot be told from
        // an overflow.
        Ok(ByteSize(u64::MAX)) => Err(SizeError::TooLarge { value: quoted(trimmed) }),
        Ok(ByteSize(0)) => Err(SizeError::Zero { value: quoted(trimmed) }),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err(SizeError::Malformed { value: quoted(trimmed) }),
    }
}

/// Rounds bytes to the nearest whole MB, for people.
///
/// ```
/// # use plimsoll_core::whole_mb;
/// assert_eq!(whole_mb(1_499_999), 1);
/// assert_eq!(whole_mb(1_500_000), 2);
/// ```
pub fn whole_mb(bytes: u64) -> u64 {
    // Not `(bytes + MB / 2) / MB`, which overflows near the top.
    bytes / MB + u64::from(bytes % MB >= MB / 2)
}

/// Reads a duration: a bare whole number is milliseconds, else a number with a unit, such as
/// `10s`, `250ms` or `5m 30s`.
///
/// ```
/// # use std::time::Duration;
/// # use plimsoll_core::parse_millis;
/// assert_eq!(parse_millis("10000"), parse_millis("10s"));
/// ```
///
/// # Errors
/// Refuses everything else. The message names the value and the accepted forms.
pub fn parse_millis(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    if let Ok(millis) = trimmed.parse() {
        return Ok(Duration::from_millis(millis));
    }
    humantime::parse_duration(trimmed).map_err(|_| DurationError { value: quoted(trimmed) })
}

/// Quotes what somebody typed: escaped, and cut so that one mistake cannot flood a log.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// A number alone: bytes and MB could both be meant.
    #[error("{value} has no unit; {SIZE_FORMS}")]
    MissingUnit {
        /// What was given, quoted.
        value: String,
    },
    /// Less than one byte.
    #[error("{value} is less than one byte; {SIZE_FORMS}")]
    Zero {
        /// What was given, quoted.
        value: String,
    },
    /// More than 64 bits hold.
    #[error("{value} is larger than 16 EiB; {SIZE_FORMS}")]
    TooLarge {
        /// What was given, quoted.
        value: String,
    },
    /// No number, a negative one, or an unknown unit.
    #[error("{value} is not a size; {SIZE_FORMS}")]
    Malformed {
        /// What was given, quoted.
        value: String,
    },
}

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not a duration; {DURATION_FORMS}")]
pub struct DurationError {
    value: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_ten_and_of_two() {
        for (text, bytes) in [
            ("2000MB", 2_000_000_000),
            (" 1.5GB ", 1_500_000_000),
            ("1500 MiB", 1_572_864_000),
            ("1500Mi", 1_572_864_000),
            ("1.5g", 1_500_000_000),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_by_kind() {
        for text in ["2000", "0", "-3", "NaN", "inf", "1e9"] {
            assert!(matches!(parse_size(text), Err(SizeError::MissingUnit { .. })), "{text:?}");
        }
        for text in ["0MB", "0.0000001MB"] {
            assert!(matches!(parse_size(text), Err(SizeError::Zero { .. })), "{text:?}");
        }
        for text in ["99999999 TiB", "16EiB", "99999999999999999999999B"] {
            assert!(matches!(parse_size(text), Err(SizeError::TooLarge { .. })), "{text:?}");
        }
        for text in ["", " ", "MB", "-1MB", "NaNMB", "1e3MB", "70%", "1.2.3MB", "12 parsecs"] {
            assert!(matches!(parse_size(text), Err(SizeError::Malformed { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_what_would_do() {
        assert_eq!(
            parse_size("12 parsecs").unwrap_err().to_string(),
            "\"12 parsecs\" is not a size; accepted is a number with a unit, \
             such as 2000MB, 1.5GB or 1500MiB"
        );
        assert_eq!(
            parse_millis("soon").unwrap_err().to_string(),
            "\"soon\" is not a duration; accepted is a number of milliseconds such as 10000, \
             or a number with a unit such as 10s"
        );
    }

    #[test]
    fn a_hostile_value_is_escaped_and_cut() {
        let error = parse_size(&format!("1\n{}", "é".repeat(10_000))).unwrap_err().to_string();
        assert!(error.starts_with("\"1\\né") && error.len() < 300, "{error}");
    }

    #[test]
    fn durations_are_milliseconds_unless_a_unit_says_otherwise() {
        for (text, millis) in
            [("0", 0), ("10000", 10_000), (" 250 ", 250), ("10s", 10_000), ("5m 30s", 330_000)]
        {
            assert_eq!(parse_millis(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
        for text in ["", "-1", "1.5", "NaN", "10 potatoes", "99999999999999999999"] {
            assert!(parse_millis(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn rounding_to_mb_does_not_overflow() {
        assert_eq!(whole_mb(0), 0);
        assert_eq!(whole_mb(499_999), 0);
        assert_eq!(whole_mb(500_000), 1);
        assert_eq!(whole_mb(u64::MAX), 18_446_744_073_710);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (parse_size(&text), parse_millis(&text));
        }

        #[test]
        fn whole_bytes_and_milliseconds_read_back_exactly(number in 1..u64::MAX) {
            prop_assert_eq!(parse_size(&format!("{number}B")), Ok(number));
            prop_assert_eq!(parse_millis(&number.to_string()), Ok(Duration::from_millis(number)));
        }

        #[test]
        fn rounding_is_never_off_by_more_than_half_a_mb(bytes in 0..u64::MAX - MB) {
            prop_assert!((whole_mb(bytes) * MB).abs_diff(bytes) <= MB / 2);
        }
    }
}
