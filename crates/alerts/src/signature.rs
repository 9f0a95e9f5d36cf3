//! HMAC-SHA256 over the body, so that a receiver knows who wrote it.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac};
use http::HeaderValue;
use sha2::Sha256;

/// The header that carries the signature: `sha256=` and the HMAC in 64 lower-case hexadecimal
/// digits.
pub const SIGNATURE_HEADER: &str = "x-plimsoll-signature";

const SCHEME: &str = "sha256=";
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A key that is ready to sign.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(keyed(secret))
    }

    /// The value of the header for a body.
    pub(crate) fn sign(&self, body: &[u8]) -> HeaderValue {
        let mut mac = self.0.clone();
        mac.update(body);
        let mut value = [0_u8; SCHEME.len() + 64];
        value[..SCHEME.len()].copy_from_slice(SCHEME.as_bytes());
        for (place, byte) in mac.finalize().into_bytes().into_iter().enumerate() {
            value[SCHEME.len() + 2 * place] = DIGITS[usize::from(byte >> 4)];
            value[SCHEME.len() + 2 * place + 1] = DIGITS[usize::from(byte & 15)];
        }
        HeaderValue::from_bytes(&value).expect("letters, digits and an equals sign")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Whether `header`, the value of [`SIGNATURE_HEADER`], is the signature of `body` under `secret`;
/// for receivers. Compares in constant time.
///
/// ```
/// use plimsoll_alerts::verify_signature;
///
/// let header = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
/// let body = b"The quick brown fox jumps over the lazy dog";
/// assert!(verify_signature(b"key", body, header));
/// assert!(!verify_signature(b"kez", body, header));
/// ```
pub fn verify_signature(secret: &[u8], body: &[u8], header: &str) -> bool {
    let digits = header.trim().strip_prefix(SCHEME).unwrap_or_default().as_bytes();
    let mut claimed = [0_u8; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != claimed.len() || !rest.is_empty() {
        return false;
    }
    for (byte, [high, low]) in claimed.iter_mut().zip(pairs) {
        match (value(*high), value(*low)) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return false,
        }
    }
    let mut mac = keyed(secret);
    mac.update(body);
    mac.verify_slice(&claimed).is_ok()
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes a key of any length")
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_verified_and_nothing_else_is() {
        let header = Signer::new(b"key").sign(b"body");
        let header = header.to_str().unwrap();
        assert!(verify_signature(b"key", b"body", header));
        assert!(!verify_signature(b"key", b"bodies", header));
        assert!(!verify_signature(b"other", b"body", header));
        for bad in [
            "",
            "sha256=",
            &header[1..],
            &header[..header.len() - 1],
            &format!("{header}0"),
            &header.to_uppercase(),
        ] {
            assert!(!verify_signature(b"key", b"body", bad), "{bad}");
        }
        assert_eq!(format!("{:?}", Signer::new(b"key")), "<redacted>");
    }

    #[test]
    fn it_is_the_hmac_of_rfc_4231() {
        // Test case 2.
        let header = Signer::new(b"Jefe").sign(b"what do ya want for nothing?");
        assert_eq!(
            header,
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
