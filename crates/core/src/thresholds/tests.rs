use proptest::prelude::*;
use serde_json::json;

use super::*;

const GIB: u64 = 1 << 30;

fn read(text: &str) -> Result<Threshold, ThresholdError> {
    text.parse()
}

#[test]
fn every_accepted_form_is_read() {
    for (text, threshold) in [
        ("2000", Threshold::Bytes(2_000 * MB)),
        (" 2000 ", Threshold::Bytes(2_000 * MB)),
        ("0.5", Threshold::Bytes(500_000)),
        ("1048576", Threshold::Bytes(1_048_576 * MB)),
        ("1.5GB", Threshold::Bytes(1_500 * MB)),
        ("1500MiB", Threshold::Bytes(1_572_864_000)),
        ("70%", Threshold::OfLimit(0.70)),
        ("12.5 %", Threshold::OfLimit(0.125)),
        ("100%", Threshold::OfLimit(1.0)),
    ] {
        assert_eq!(read(text), Ok(threshold), "{text:?}");
    }
}

#[test]
fn bad_values_are_refused_by_kind() {
    for text in ["0", "-1", "0%", "-5%", "0MB", "nan", "-inf", "0.0000001", "1e-400%"] {
        assert!(matches!(read(text), Err(ThresholdError::NotAboveZero { .. })), "{text:?}");
    }
    for text in ["", "two thousand", "inf", "NaN%", "%", "99999999TiB", "-1MB", "2000MBit"] {
        assert!(matches!(read(text), Err(ThresholdError::Malformed { .. })), "{text:?}");
    }
    for text in ["101%", "100.1%", "inf%"] {
        assert!(matches!(read(text), Err(ThresholdError::AboveWhole { .. })), "{text:?}");
    }
    for text in ["1048577", "2000000000"] {
        let refused = read(text).unwrap_err();
        assert!(refused.to_string().contains("looks like bytes"), "{refused}");
    }
}

#[test]
fn json_takes_numbers_as_mb_and_strings_as_in_the_environment() {
    let read = |value| serde_json::from_value::<Threshold>(value);
    assert_eq!(read(json!(2000)).unwrap(), Threshold::Bytes(2_000 * MB));
    assert_eq!(read(json!(1.5)).unwrap(), Threshold::Bytes(1_500_000));
    assert_eq!(read(json!("1.5GB")).unwrap(), Threshold::Bytes(1_500 * MB));
    assert_eq!(read(json!("70%")).unwrap(), Threshold::OfLimit(0.70));
    for bad in [json!(0), json!(-1), json!(2_000_000_000), json!("101%"), json!(null)] {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
    let refused = read(json!(2_000_000_000)).unwrap_err().to_string();
    assert!(refused.contains("2000000000") && refused.contains("looks like bytes"));
    let refused = read(json!([1])).unwrap_err().to_string();
    assert!(refused.contains("a number of MB such as 2000"), "{refused}");
}

#[test]
fn thresholds_read_back_as_they_were_written() {
    for (text, written) in [
        ("2000", "2000MB"),
        ("1500MiB", "1500MiB"),
        ("7B", "7B"),
        ("70%", "70%"),
        ("7%", "7%"),
        ("12.5%", "12.5%"),
    ] {
        assert_eq!(read(text).unwrap().to_string(), written);
    }
    assert_eq!(json!(read("2000MB").unwrap()), json!(2000));
    assert_eq!(json!(read("70%").unwrap()), json!("70%"));
}

#[test]
fn an_inverted_or_equal_pair_is_refused_in_words() {
    let refused = |warning, critical| Thresholds::new(warning, critical).unwrap_err();
    assert_eq!(
        refused(3_000 * MB, 2_000 * MB).to_string(),
        "warning (3000MB) must be lower than critical (2000MB)"
    );
    assert_eq!(
        refused(2_000 * MB, 2_000 * MB).to_string(),
        "warning (2000MB) must be lower than critical (2000MB)"
    );
    assert_eq!(
        refused(2_000 * MB + 1, 2_000 * MB).to_string(),
        "warning (2000000001B) must be lower than critical (2000MB)"
    );
    let shares = Thresholds::of(Threshold::OfLimit(0.85), Threshold::OfLimit(0.7));
    assert_eq!(shares.unwrap_err().to_string(), "warning (85%) must be lower than critical (70%)");
    assert_eq!(refused(0, 2_000 * MB).field(), Some("warning"));
    assert_eq!(refused(1, 0).field(), Some("critical"));
}

#[test]
fn a_value_made_by_hand_is_checked_too() {
    for ratio in [0.0, -0.5, 1.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = Thresholds::of(Threshold::Bytes(1), Threshold::OfLimit(ratio));
        assert_eq!(refused.unwrap_err().field(), Some("critical"), "{ratio}");
    }
}

#[test]
fn merging_keeps_what_is_not_given_and_blames_what_is() {
    let base = Thresholds::default();
    let raised = base.merged(None, Some(Threshold::Bytes(4_000 * MB))).unwrap();
    assert_eq!(raised, Thresholds::new(2_000 * MB, 4_000 * MB).unwrap());
    assert_eq!(base.merged(None, None), Ok(base));
    let refused = base.merged(None, Some(Threshold::Bytes(1_000 * MB))).unwrap_err();
    assert_eq!(refused.field(), Some("critical"));
    let refused = base.merged(Some(Threshold::Bytes(5_000 * MB)), None).unwrap_err();
    assert_eq!(refused.field(), Some("warning"));
}

#[test]
fn shares_need_a_limit_and_follow_it() {
    let shares = Thresholds::of(Threshold::OfLimit(0.70), Threshold::OfLimit(0.85)).unwrap();
    let marks = shares.resolve(Some(1_000 * MB)).unwrap();
    assert_eq!((marks.warning_bytes(), marks.critical_bytes()), (700 * MB, 850 * MB));
    let refused = shares.resolve(None).unwrap_err();
    assert_eq!(refused.field(), Some("warning"));
    assert!(refused.to_string().contains("no memory limit"), "{refused}");
    assert!(shares.resolve(Some(1)).is_err(), "no room for two thresholds");
}

#[test]
fn a_mixed_pair_is_ordered_once_the_limit_is_known() {
    let mixed = Thresholds::of("500MB".parse().unwrap(), "50%".parse().unwrap()).unwrap();
    assert!(mixed.resolve(Some(2_000 * MB)).is_ok());
    assert_eq!(
        mixed.resolve(Some(800 * MB)).unwrap_err().to_string(),
        "warning (500MB) must be lower than critical (400MB)"
    );
}

#[test]
fn defaults_shrink_with_a_small_container() {
    for (limit, marks) in [
        (None, (2_000 * MB, 3_000 * MB)),
        (Some(8 * GIB), (2_000 * MB, 3_000 * MB)),
        (Some(3_529_411_765), (2_000 * MB, 3_000 * MB)),
        (Some(3_529_411_764), (2_470_588_234, 2_999_999_999)),
        (Some(256 * MB), (179_200_000, 217_600_000)),
    ] {
        let resolved = Thresholds::defaults_for(limit).resolve(limit).unwrap();
        assert_eq!((resolved.warning_bytes(), resolved.critical_bytes()), marks, "{limit:?}");
        assert!(!resolved.any_above_limit(limit), "{limit:?}");
    }
}

#[test]
fn a_threshold_near_the_limit_is_told() {
    let marks = Thresholds::default().resolve(None).unwrap();
    assert!(!marks.any_above_limit(None));
    assert!(!marks.any_above_limit(Some(4_000 * MB)));
    assert!(marks.any_above_limit(Some(3_100 * MB)));
    assert!(marks.any_above_limit(Some(2 * GIB)));
}

#[test]
fn origins_are_ordered_and_named_as_in_the_contract() {
    use ThresholdOrigin::{Api, Default, Env, File};
    assert!(Default < File && File < Env && Env < Api);
    assert_eq!(json!([Default, File, Env, Api]), json!(["default", "file", "env", "api"]));
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_reads_back(text in "-?[0-9.e]{0,12}(%|MB|MiB|B| )?") {
        if let Ok(threshold) = read(&text) {
            let again = read(&threshold.to_string());
            match (threshold, again) {
                (Threshold::OfLimit(one), Ok(Threshold::OfLimit(two))) => {
                    prop_assert!((one - two).abs() < 1e-10, "{one} {two}");
                }
                (one, two) => prop_assert_eq!(Ok(one), two),
            }
            let json = serde_json::to_value(threshold).unwrap();
            prop_assert!(serde_json::from_value::<Threshold>(json).is_ok());
        }
    }

    #[test]
    fn watermarks_are_always_in_order(
        warning in 0..u64::MAX, critical in 0..u64::MAX,
        low in -0.5..1.5f64, high in -0.5..1.5f64,
        limit in proptest::option::of(0..u64::MAX),
    ) {
        for warning in [Threshold::Bytes(warning), Threshold::OfLimit(low)] {
            for critical in [Threshold::Bytes(critical), Threshold::OfLimit(high)] {
                let resolved = Thresholds::of(warning, critical)
                    .and_then(|thresholds| thresholds.resolve(limit));
                if let Ok(marks) = resolved {
                    prop_assert!(0 < marks.warning_bytes());
                    prop_assert!(marks.warning_bytes() < marks.critical_bytes());
                }
            }
        }
    }
}
