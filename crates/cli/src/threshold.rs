//! What `thresholds` accepts, and the order check made before the server is asked.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::{
    failure::Failure,
    text::{MB, exact_megabytes},
};

/// A bare number above this is taken for bytes and refused, as the server does.
const LARGEST_BARE: f64 = 1_048_576.0;

/// The forms of a pair, for messages.
const PAIR_FORMS: &str =
    "write `plimsoll thresholds 1500,2500`; one side alone is `1500,` or `,2500`";

/// The forms of one threshold, for messages.
const FORMS: &str = "accepted: megabytes such as 2000, a size such as 1.5GB or 1500MiB, or a share \
                     of the limit such as 70%";

/// Units and their bytes; the spelling is the one sent.
const UNITS: [(&str, u64); 8] = [
    ("kB", 1_000),
    ("MB", MB),
    ("GB", 1_000 * MB),
    ("TB", 1_000_000 * MB),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// One threshold as typed.
#[derive(Clone, Debug, PartialEq)]
struct Threshold {
    typed: String,
    wire: Value,
    size: Size,
}

/// What a threshold can be compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Bytes(u64),
    /// A share of a limit that only the server knows.
    Percent(f64),
}

/// The change that a command line asks for: one side at least.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    warning: Option<Threshold>,
    critical: Option<Threshold>,
}

impl Change {
    /// Parses `W,C` or two words; either side may be left out (`1500,` or `,2500`).
    ///
    /// No words at all ask for no change.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Self>, Failure> {
        let joined = match words {
            [] => return Ok(None),
            [one] => one.clone(),
            // `1500, 2500` reaches the program as two words, the first with the comma.
            [warning, critical, ..] => {
                format!("{},{}", warning.trim_end_matches(','), critical.trim_start_matches(','))
            }
        };
        let sides: Vec<&str> = joined.split(',').map(str::trim).collect();
        let &[warning, critical] = sides.as_slice() else {
            return Err(usage(
                format!("`{}` is not a pair of thresholds", joined.escape_debug()),
                PAIR_FORMS,
            ));
        };
        if warning.is_empty() && critical.is_empty() {
            return Err(usage("no threshold given".to_owned(), PAIR_FORMS));
        }
        let side = |name: &str, typed: &str| {
            (!typed.is_empty()).then(|| Threshold::parse(name, typed)).transpose()
        };
        let change =
            Self { warning: side("warning", warning)?, critical: side("critical", critical)? };
        change.check_order()?;
        Ok(Some(change))
    }

    /// The `thresholds` member of the request.
    pub(crate) fn wire(&self) -> Value {
        let sides = [("warning", &self.warning), ("critical", &self.critical)];
        let members = sides.into_iter().filter_map(|(name, side)| {
            side.as_ref().map(|threshold| (name.to_owned(), threshold.wire.clone()))
        });
        Value::Object(members.collect::<Map<_, _>>())
    }

    /// Refuses a pair that is out of order whatever the limit is; the rest the server decides.
    fn check_order(&self) -> Result<(), Failure> {
        let (Some(warning), Some(critical)) = (&self.warning, &self.critical) else {
            return Ok(());
        };
        let order = match (warning.size, critical.size) {
            (Size::Bytes(warning), Size::Bytes(critical)) => Some(warning.cmp(&critical)),
            (Size::Percent(warning), Size::Percent(critical)) => warning.partial_cmp(&critical),
            _ => None,
        };
        if matches!(order, None | Some(Ordering::Less)) {
            return Ok(());
        }
        Err(Failure::Refused {
            message: format!(
                "warning ({}) must be lower than critical ({})",
                warning.size.print(),
                critical.size.print()
            ),
            help: if order == Some(Ordering::Equal) {
                "give two different values, the warning first".to_owned()
            } else {
                format!("did you mean `plimsoll thresholds {},{}`?", critical.typed, warning.typed)
            },
        })
    }
}

impl Threshold {
    fn parse(name: &str, typed: &str) -> Result<Self, Failure> {
        let refuse = |what: &str| usage(format!("{name} `{}` {what}", typed.escape_debug()), FORMS);
        let split = typed
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(typed.len());
        let (digits, unit) = (&typed[..split], typed[split..].trim_start());
        let number: f64 = digits.parse().map_err(|_| refuse("is not a size"))?;
        if number <= 0.0 || !number.is_finite() {
            return Err(refuse("is not above 0"));
        }
        let (wire, size) = match unit {
            "" if number > LARGEST_BARE => {
                return Err(refuse("looks like bytes, and a bare number is megabytes"));
            }
            "" => {
                // Whole numbers stay whole on the wire.
                let wire =
                    digits.parse::<u64>().map_or_else(|_| json!(number), |whole| json!(whole));
                (wire, Size::Bytes(to_bytes(number, MB)))
            }
            "%" if number > 100.0 => return Err(refuse("is more than the whole limit")),
            "%" => (json!(format!("{digits}%")), Size::Percent(number)),
            unit => {
                let (spelling, bytes) = UNITS
                    .into_iter()
                    .find(|(spelling, _)| spelling.eq_ignore_ascii_case(unit))
                    .ok_or_else(|| refuse("has an unknown unit"))?;
                (json!(format!("{digits}{spelling}")), Size::Bytes(to_bytes(number, bytes)))
            }
        };
        Ok(Self { typed: typed.to_owned(), wire, size })
    }
}

impl Size {
    fn print(self) -> String {
        match self {
            Self::Bytes(bytes) => exact_megabytes(bytes),
            Self::Percent(percent) => format!("{percent}%"),
        }
    }
}

fn to_bytes(number: f64, unit: u64) -> u64 {
    // No unit comes near 2^53, so its conversion is exact.
    #[expect(clippy::cast_precision_loss, reason = "every unit is far below 2^53")]
    let bytes = (number * unit as f64).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is above 0, and a cast from a float saturates"
    )]
    {
        bytes as u64
    }
}

fn usage(message: String, help: &str) -> Failure {
    Failure::Usage { message, help: help.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn parse(words: &[&str]) -> Result<Option<Change>, Failure> {
        Change::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn wire(words: &[&str]) -> Value {
        parse(words).unwrap().unwrap().wire()
    }

    #[test]
    fn every_spelling_of_a_pair_is_understood() {
        let pair = json!({"warning": 1500, "critical": 2500});
        for words in [
            &["1500,2500"] as &[&str],
            &["1500", "2500"],
            &["1500,", "2500"],
            &["1500", ",2500"],
            &["1500, 2500"],
        ] {
            assert_eq!(wire(words), pair, "{words:?}");
        }
        assert!(parse(&[]).unwrap().is_none());
    }

    #[test]
    fn units_are_sent_in_their_own_spelling() {
        assert_eq!(wire(&["1.5gib,2GB"]), json!({"warning": "1.5GiB", "critical": "2GB"}));
        assert_eq!(wire(&["70%,85 %"]), json!({"warning": "70%", "critical": "85%"}));
        assert_eq!(wire(&["1500.5,3 GB"]), json!({"warning": 1500.5, "critical": "3GB"}));
        // What only the server can compare is left to it.
        assert_eq!(wire(&["90%,1GB"]), json!({"warning": "90%", "critical": "1GB"}));
    }

    #[test]
    fn one_side_can_be_left_out() {
        assert_eq!(wire(&["1500,"]), json!({"warning": 1500}));
        assert_eq!(wire(&[",2.5GB"]), json!({"critical": "2.5GB"}));
    }

    #[test]
    fn a_pair_out_of_order_is_refused_with_both_figures() {
        let failure = parse(&["3000,2000"]).unwrap_err();
        assert_eq!(failure.to_string(), "warning (3000MB) must be lower than critical (2000MB)");
        assert_eq!(failure.help().unwrap(), "did you mean `plimsoll thresholds 2000,3000`?");
        assert_eq!(failure.exit(), Exit::Refused);

        let failure = parse(&["1.5GiB,1.5GB"]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "warning (1610.612736MB) must be lower than critical (1500MB)"
        );
        let failure = parse(&["80%,70%"]).unwrap_err();
        assert_eq!(failure.to_string(), "warning (80%) must be lower than critical (70%)");
    }

    #[test]
    fn equal_sides_get_no_useless_suggestion() {
        let failure = parse(&["2000,2GB"]).unwrap_err();
        assert_eq!(failure.to_string(), "warning (2000MB) must be lower than critical (2000MB)");
        assert!(!failure.help().unwrap().contains("did you mean"));
    }

    #[test]
    fn what_is_no_threshold_is_a_usage_error() {
        for bad in [
            "1500",
            "1,2,3",
            ",",
            "a,b",
            "0,100",
            "1e3,2e3",
            "2G,3G",
            "101%,102%",
            "2000000000,3000000000",
            "1..5,2",
            "inf,nan",
            "-1,5",
            "1500;2500",
            "٣,٤",
        ] {
            let failure = parse(&[bad]).expect_err(bad);
            assert_eq!(failure.exit(), Exit::Usage, "{bad}");
        }
    }
}
