//! The access token: where it comes from, and what it may hold.

use std::{
    env,
    fmt::{self, Write as _},
    fs::File,
    io::Read as _,
    path::Path,
};

use crate::failure::Failure;

/// Environment variable that holds the token.
const VARIABLE: &str = "PLIMSOLL_TOKEN";

/// A file larger than this holds something else: no header line may be as long.
const LARGEST_FILE: u64 = 8 * 1024;

/// A secret that fits into a header; never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// Reads the token from `file`, else from the environment; an empty variable is no token.
    pub(crate) fn find(file: Option<&Path>) -> Result<Option<Self>, Failure> {
        if let Some(path) = file {
            return Self::from_file(path).map(Some);
        }
        let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let text = value.to_str().ok_or_else(|| not_a_token(VARIABLE, "is not UTF-8"))?;
        Self::parse(text, VARIABLE).map(Some)
    }

    fn from_file(path: &Path) -> Result<Self, Failure> {
        let origin = format!("--token-file {}", path.display());
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text))
            .map_err(|error| not_a_token(&origin, &format!("cannot be read: {error}")))?;
        if text.len() as u64 > LARGEST_FILE {
            return Err(not_a_token(&origin, "is larger than a token can be"));
        }
        Self::parse(&text, &origin)
    }

    fn parse(text: &str, origin: &str) -> Result<Self, Failure> {
        // Editors and `echo` end a file with a line break that belongs to no token.
        let token = text.trim_matches(|character: char| character.is_ascii_whitespace());
        if token.is_empty() {
            return Err(not_a_token(origin, "is empty"));
        }
        match token.chars().position(|character| !character.is_ascii_graphic()) {
            None => Ok(Self(token.to_owned())),
            Some(position) => Err(not_a_token(
                origin,
                &format!(
                    "holds a character that no header can carry, at position {}",
                    position + 1
                ),
            )),
        }
    }

    /// The value of the `Authorization` header.
    pub(crate) fn header(&self) -> String {
        let mut header = String::with_capacity("Bearer ".len() + self.0.len());
        let _ = write!(header, "Bearer {}", self.0);
        header
    }
}

fn not_a_token(origin: &str, what: &str) -> Failure {
    Failure::Usage {
        message: format!("{origin} {what}"),
        help: "a token is one line of visible ASCII characters".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrounding_line_breaks_belong_to_no_token() {
        assert_eq!(Token::parse("secret\r\n", "x").unwrap().header(), "Bearer secret");
    }

    #[test]
    fn what_no_header_can_carry_is_refused_without_printing_it() {
        for bad in ["se\ncret", "se cret", "sécret", "se\u{0}cret", "", " \n"] {
            let failure = Token::parse(bad, "PLIMSOLL_TOKEN").unwrap_err();
            assert!(!failure.to_string().contains("cret"), "{failure}");
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Token::parse("secret", "x").unwrap()), "Token(hidden)");
    }
}
