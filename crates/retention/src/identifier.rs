//! Names of tables and columns: the only words of a rule that become part of a statement.

use std::fmt;

/// PostgreSQL cuts longer names silently, so that two of them could be one.
const LONGEST: usize = 63;

/// A name that is safe to quote: an ASCII letter or `_`, then letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identifier(String);

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {given:?} is no name that can be used; accepted are 1 to 63 ASCII letters, digits and \
     `_` that do not begin with a digit"
)]
pub struct IdentifierError {
    what: &'static str,
    given: String,
}

impl Identifier {
    /// Takes a name as it stands; `what` says in an error what it should have named.
    pub(crate) fn new(what: &'static str, name: &str) -> Result<Self, IdentifierError> {
        let mut letters = name.bytes();
        let begins = letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let goes_on = letters.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if begins && goes_on && name.len() <= LONGEST {
            return Ok(Self(name.to_owned()));
        }
        // Cut, since nobody knows what it is or how long.
        Err(IdentifierError { what, given: name.chars().take(LONGEST + 1).collect() })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// In double quotes, as SQL wants it.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_edges_of_what_is_a_name() {
        let longest = "a".repeat(LONGEST);
        for good in ["a", "_", "_1", "Threads", "select", "a1_B2", longest.as_str()] {
            assert_eq!(Identifier::new("table", good).unwrap().to_string(), format!("\"{good}\""));
        }
        let too_long = "a".repeat(LONGEST + 1);
        for bad in [
            "",
            "1a",
            "a b",
            "a-b",
            "a.b",
            "\"a\"",
            "a\"; DROP TABLE t; --",
            "a\0",
            "ä",
            "a'",
            "a;",
            " a",
            "a\n",
            "\u{ff41}",
            too_long.as_str(),
        ] {
            let error = Identifier::new("table", bad).unwrap_err().to_string();
            assert!(error.starts_with("table \"") && error.contains("ASCII letters"), "{error}");
        }
        assert!(Identifier::new("key", &"x".repeat(1_000_000)).unwrap_err().given.len() < 100);
    }

    proptest! {
        #[test]
        fn what_passes_cannot_leave_its_quotes(name in ".*") {
            if let Ok(identifier) = Identifier::new("column", &name) {
                let quoted = identifier.to_string();
                prop_assert_eq!(quoted.matches('"').count(), 2);
                prop_assert!(quoted.len() <= LONGEST + 2);
                prop_assert!(quoted.bytes().all(|b| b.is_ascii_alphanumeric() || b"_\"".contains(&b)));
            }
        }

        #[test]
        fn hostile_pieces_anywhere_are_refused(
            before in "[a-z_]{0,8}", after in "[a-z0-9_]{0,8}",
            piece in prop::sample::select(vec![
                "\"", "'", ";", "--", "/*", "\\", "\0", " ", ".", "(", ")", "$1", "?1", "\n", "\u{2019}", "\u{feff}", "%", "`", "[", "]",
            ]),
        ) {
            let name = format!("{before}{piece}{after}");
            prop_assert!(Identifier::new("table", &name).is_err());
        }
    }
}
