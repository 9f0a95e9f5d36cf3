//! The texts of procfs and of the cgroup files, as figures in bytes. Pure, and no allocation.

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not a whole number")]
    NotANumber(&'static str),
    #[error("{0} does not fit 64 bits")]
    TooLarge(&'static str),
    #[error("{0}")]
    Malformed(&'static str),
}

/// A limit from here on is none: 4 EiB. Version 1 has no word for "no limit"; it reports the
/// largest number of whole pages below 2^63, or 2^63 - 1 before Linux 3.19.
const NO_LIMIT_FROM: u64 = 1 << 62;

/// The resident set in `/proc/[pid]/statm`: its second field, in pages (proc_pid_statm(5)).
pub(crate) fn resident_bytes(statm: &[u8], page_bytes: u64) -> Result<u64, ParseError> {
    const WHAT: &str = "the resident set";
    let mut fields = words(statm);
    let resident = fields.nth(1).ok_or(ParseError::Missing(WHAT))?;
    // A text that ends within the second field would pass for a smaller process.
    fields.next().ok_or(ParseError::Missing("the field after the resident set"))?;
    scaled(number(resident, WHAT)?, page_bytes, WHAT)
}

/// A file that holds one number of bytes, such as `memory.current`.
pub(crate) fn usage_bytes(text: &[u8]) -> Result<u64, ParseError> {
    number(single(text, "usage")?, "usage")
}

/// A file that holds a limit: `memory.max` or `memory.limit_in_bytes`. `None` is no limit.
///
/// Nothing can live under a limit of zero bytes, so zero is refused rather than believed.
pub(crate) fn limit_bytes(text: &[u8]) -> Result<Option<u64>, ParseError> {
    const WHAT: &str = "the limit";
    match single(text, WHAT)? {
        b"max" => Ok(None),
        digits => match number(digits, WHAT)? {
            0 => Err(ParseError::Malformed("the limit is 0")),
            bytes => Ok(enforced(bytes)),
        },
    }
}

/// `memory.high`, where the kernel starts to reclaim and to throttle. `None` is nowhere; 0 is
/// everywhere, and people do set it to empty a cgroup.
pub(crate) fn throttle_bytes(text: &[u8]) -> Result<Option<u64>, ParseError> {
    const WHAT: &str = "the throttle";
    match single(text, WHAT)? {
        b"max" => Ok(None),
        digits => number(digits, WHAT).map(enforced),
    }
}

/// The limit over all ancestors that version 1 puts into `memory.stat`, if this kernel does.
pub(crate) fn hierarchical_limit(stat: &[u8]) -> Option<u64> {
    stat_bytes(stat, "hierarchical_memory_limit").ok().filter(|&bytes| bytes > 0).and_then(enforced)
}

/// The value of `key` in a text of `key value` lines, such as `memory.stat`.
pub(crate) fn stat_bytes(text: &[u8], key: &'static str) -> Result<u64, ParseError> {
    let value = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| {
            let mut fields = words(line);
            (fields.next() == Some(key.as_bytes())).then(|| fields.next())
        })
        .flatten();
    number(value.ok_or(ParseError::Missing(key))?, key)
}

/// Physical memory in `/proc/meminfo`, which counts in units of 1024 bytes.
pub(crate) fn machine_bytes(meminfo: &[u8]) -> Result<u64, ParseError> {
    scaled(stat_bytes(meminfo, "MemTotal:")?, 1024, "MemTotal:")
}

fn enforced(bytes: u64) -> Option<u64> {
    (bytes < NO_LIMIT_FROM).then_some(bytes)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn single<'t>(text: &'t [u8], what: &'static str) -> Result<&'t [u8], ParseError> {
    let text = text.trim_ascii();
    if text.is_empty() { Err(ParseError::Missing(what)) } else { Ok(text) }
}

fn number(digits: &[u8], what: &'static str) -> Result<u64, ParseError> {
    // `parse` would also take a leading plus sign, which no kernel writes.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::NotANumber(what));
    }
    let digits = str::from_utf8(digits).map_err(|_| ParseError::NotANumber(what))?;
    digits.parse().map_err(|_| ParseError::TooLarge(what))
}

fn scaled(count: u64, unit: u64, what: &'static str) -> Result<u64, ParseError> {
    count.checked_mul(unit).ok_or(ParseError::TooLarge(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_resident_set_is_the_second_field_in_pages() {
        assert_eq!(resident_bytes(b"2000 350 120 1 0 300 0\n", 4096), Ok(350 * 4096));
        assert_eq!(resident_bytes(b"2000 350 120 1 0 300 0\n", 65536), Ok(350 * 65536));
    }

    #[test]
    fn a_statm_that_may_be_cut_is_refused() {
        for cut in ["", "\n", "2000", "2000 ", "2000 35", "2000 350\n"] {
            assert!(
                matches!(resident_bytes(cut.as_bytes(), 4096), Err(ParseError::Missing(_))),
                "{cut:?}"
            );
        }
    }

    #[test]
    fn a_resident_set_past_64_bits_is_refused() {
        let huge = format!("1 {} 1", u64::MAX);
        assert!(matches!(resident_bytes(huge.as_bytes(), 4096), Err(ParseError::TooLarge(_))));
    }

    #[test]
    fn usage_is_digits_and_nothing_else() {
        assert_eq!(usage_bytes(b"268435456\n"), Ok(268_435_456));
        assert_eq!(usage_bytes(b"0\n"), Ok(0));
        assert!(matches!(usage_bytes(b" \n"), Err(ParseError::Missing(_))));
        for broken in ["-5\n", "+5\n", "1e6\n", "12 34\n", "0x10\n", "12\n34\n", "max\n", "1\0"] {
            assert!(
                matches!(usage_bytes(broken.as_bytes()), Err(ParseError::NotANumber(_))),
                "{broken:?}"
            );
        }
        assert!(matches!(usage_bytes(b"18446744073709551616\n"), Err(ParseError::TooLarge(_))));
    }

    #[test]
    fn both_versions_can_say_that_there_is_no_limit() {
        // "max" of version 2; version 1 with pages of 4, 16 and 64 KiB, and before Linux 3.19.
        for none in [
            "max\n",
            "9223372036854771712\n",
            "9223372036854759424\n",
            "9223372036854710272\n",
            "9223372036854775807\n",
            "18446744073709551615\n",
        ] {
            assert_eq!(limit_bytes(none.as_bytes()), Ok(None), "{none:?}");
        }
        assert_eq!(limit_bytes(b"268435456\n"), Ok(Some(268_435_456)));
    }

    #[test]
    fn a_throttle_of_zero_is_believed() {
        assert_eq!(throttle_bytes(b"0\n"), Ok(Some(0)));
        assert_eq!(throttle_bytes(b"200000000\n"), Ok(Some(200_000_000)));
        assert_eq!(throttle_bytes(b"max\n"), Ok(None));
        assert!(throttle_bytes(b"\n").is_err());
    }

    #[test]
    fn a_limit_of_zero_is_not_believed() {
        assert!(matches!(limit_bytes(b"0\n"), Err(ParseError::Malformed(_))));
        assert_eq!(hierarchical_limit(b"hierarchical_memory_limit 0\n"), None);
    }

    #[test]
    fn a_stat_key_matches_whole_words_only() {
        let stat = b"inactive_file_x 1\nxinactive_file 2\ninactive_file 3\ninactive_file 4\n";
        assert_eq!(stat_bytes(stat, "inactive_file"), Ok(3));
        assert!(matches!(stat_bytes(stat, "inactive"), Err(ParseError::Missing(_))));
        assert!(matches!(stat_bytes(b"", "inactive_file"), Err(ParseError::Missing(_))));
        assert!(matches!(
            stat_bytes(b"inactive_file\n", "inactive_file"),
            Err(ParseError::Missing(_))
        ));
        assert!(matches!(
            stat_bytes(b"inactive_file many\n", "inactive_file"),
            Err(ParseError::NotANumber(_))
        ));
    }

    #[test]
    fn physical_memory_counts_in_kib() {
        let meminfo = b"MemTotal:       24684084 kB\nMemFree:        20000000 kB\n";
        assert_eq!(machine_bytes(meminfo), Ok(24_684_084 * 1024));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text: Vec<u8>, page in 0..=u64::MAX) {
            let _ = resident_bytes(&text, page);
            let _ = usage_bytes(&text);
            let _ = limit_bytes(&text);
            let _ = throttle_bytes(&text);
            let _ = hierarchical_limit(&text);
            let _ = machine_bytes(&text);
            let _ = stat_bytes(&text, "inactive_file");
        }

        #[test]
        fn text_that_looks_right_makes_no_parser_panic(
            text in "(max|-?[0-9]{0,25}|inactive_file|MemTotal:|[ \n\t])*",
            page in 0..=u64::MAX,
        ) {
            let text = text.as_bytes();
            let _ = resident_bytes(text, page);
            let _ = hierarchical_limit(text);
            let _ = machine_bytes(text);
            prop_assert_ne!(limit_bytes(text), Ok(Some(0)));
            if let Ok(bytes) = usage_bytes(text) {
                let digits = bytes.to_string();
                prop_assert!(String::from_utf8_lossy(text).contains(digits.as_str()));
            }
        }

        #[test]
        fn every_usage_comes_back_as_written(bytes: u64) {
            prop_assert_eq!(usage_bytes(format!("{bytes}\n").as_bytes()), Ok(bytes));
        }
    }
}
