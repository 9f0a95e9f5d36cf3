//! Bearer tokens and how they are compared.

use std::fmt;

use http::{HeaderMap, header::AUTHORIZATION};
use subtle::{Choice, ConstantTimeEq};

use super::{Denied, Scope};

/// The tokens of a server: one that may do everything, one that may only read, or either.
///
/// An empty text counts as no token. `Debug` shows neither.
#[derive(Clone, Default)]
pub struct Tokens {
    operate: Option<Box<[u8]>>,
    read: Option<Box<[u8]>>,
}

impl Tokens {
    /// A token that may do everything.
    pub fn operate(token: impl Into<String>) -> Self {
        Self::of(Some(token.into()), None)
    }

    /// Adds a token that may only read.
    #[must_use]
    pub fn with_read(self, token: impl Into<String>) -> Self {
        Self { read: bytes(token.into()), ..self }
    }

    pub(super) fn of(operate: Option<String>, read: Option<String>) -> Self {
        Self { operate: operate.and_then(bytes), read: read.and_then(bytes) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operate.is_none() && self.read.is_none()
    }

    /// Always compares with both, so that the time taken does not tell which was nearer.
    pub(super) fn allow(&self, needed: Scope, attempt: &[u8]) -> Result<(), Denied> {
        let operates = matches(self.operate.as_deref(), attempt);
        let reads = matches(self.read.as_deref(), attempt);
        match (bool::from(operates), bool::from(reads), needed) {
            (true, ..) | (_, true, Scope::Read) | (.., Scope::Page) => Ok(()),
            (false, true, Scope::Operate) => Err(Denied::ReadOnly),
            (false, false, _) => Err(Denied::TokenWrong),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |token: &Option<Box<[u8]>>| token.as_ref().map(|_| "<redacted>");
        f.debug_struct("Tokens")
            .field("operate", &shown(&self.operate))
            .field("read", &shown(&self.read))
            .finish()
    }
}

fn bytes(token: String) -> Option<Box<[u8]>> {
    (!token.is_empty()).then(|| token.into_bytes().into())
}

/// Compares in a time that depends on the length of the attempt alone, which whoever measures it
/// knows anyway.
fn matches(token: Option<&[u8]>, attempt: &[u8]) -> Choice {
    let Some(token) = token else { return Choice::from(0) };
    let mut same = (token.len() as u64).ct_eq(&(attempt.len() as u64));
    for (byte, expected) in attempt.iter().zip(token.iter().cycle()) {
        same &= byte.ct_eq(expected);
    }
    same
}

/// The bearer token that a request carries.
pub(super) fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() {
        // Whoever checked the request before may have gone by the other: neither counts.
        return Some(b"");
    }
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_bytes_match() {
        for (attempt, expected) in [
            ("secret", true),
            ("Secret", false),
            ("secre", false),
            ("secrets", false),
            // Its own repetition would match if lengths were not compared.
            ("secretsecret", false),
            ("", false),
        ] {
            let same = bool::from(matches(Some(b"secret"), attempt.as_bytes()));
            assert_eq!(same, expected, "{attempt:?}");
        }
        assert!(!bool::from(matches(None, b"")));
    }

    #[test]
    fn of_two_tokens_neither_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(presented(&headers), None);
        headers.append(AUTHORIZATION, "Bearer secret".parse().unwrap());
        assert_eq!(presented(&headers), Some(&b"secret"[..]));
        headers.append(AUTHORIZATION, "Bearer secret".parse().unwrap());
        let allowed = Tokens::operate("secret")
            .allow(Scope::Read, presented(&headers).expect("an attempt was made"));
        assert_eq!(allowed, Err(Denied::TokenWrong));
    }
}
