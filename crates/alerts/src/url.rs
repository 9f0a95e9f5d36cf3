//! Where notifications go: a URL that is checked once and never shown.

use std::{fmt, str::FromStr};

use http::{HeaderValue, Uri, uri::Scheme};

/// The longest URL; Slack's have 80 characters.
const LONGEST: usize = 2_048;
/// What is accepted, for errors.
const FORMS: &str = "accepted is http://HOST[:PORT]/PATH, or with the feature tls https://, in \
                     ASCII without spaces and without a user and password";

/// The `http` or `https` URL of a receiver.
///
/// Such URLs carry their secret in path, query or host, so neither `Debug` nor any error shows a
/// part of one, and there is no `Display`.
///
/// ```
/// use plimsoll_alerts::AlertUrl;
///
/// let url: AlertUrl = "http://127.0.0.1:9/T0/B0/secret".parse()?;
/// assert_eq!(format!("{url:?}"), "<redacted>");
///
/// let error = "ftp://127.0.0.1/secret".parse::<AlertUrl>().unwrap_err();
/// assert!(error.to_string().contains("accepted is http://"));
/// assert!(!error.to_string().contains("secret"));
/// # Ok::<(), plimsoll_alerts::AlertUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AlertUrl {
    pub(crate) is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As it stands in the URL, for the `Host` header.
    pub(crate) authority: HeaderValue,
    /// Path and query.
    pub(crate) target: Uri,
}

impl FromStr for AlertUrl {
    type Err = AlertUrlError;

    /// # Errors
    /// For anything but an absolute `http` or `https` URL of at most 2048 characters without user
    /// and password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| Err(AlertUrlError { reason });
        let text = text.trim();
        if text.len() > LONGEST {
            return refuse("is longer than 2048 characters");
        }
        let Ok(uri) = text.parse::<Uri>() else { return refuse("is not a URL") };
        let is_https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return refuse("is neither http nor https"),
            None => return refuse("has no scheme"),
        };
        let Some(authority) = uri.authority() else { return refuse("has no host") };
        if authority.as_str().contains('@') {
            return refuse("holds a user or password, which is not supported");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return refuse("has no host");
        }
        let port = match (authority.port_u16(), is_https) {
            (Some(0), _) => return refuse("names port 0"),
            (Some(port), _) => port,
            // A port that does not fit is one that is written but not understood.
            (None, _) if !authority.as_str().ends_with(authority.host()) => {
                return refuse("names a port outside 1 to 65535");
            }
            (None, true) => 443,
            (None, false) => 80,
        };
        // Written out, since a query without a path gets its slash only then.
        let target = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let (Ok(target), Ok(authority_header)) =
            (target.parse(), HeaderValue::from_str(authority.as_str()))
        else {
            return refuse("is not a URL");
        };
        Ok(Self { is_https, host: host.to_owned(), port, authority: authority_header, target })
    }
}

impl fmt::Debug for AlertUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A URL that no notification can go to; says why without a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL <redacted> {reason}; {FORMS}")]
pub struct AlertUrlError {
    pub(crate) reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_to_connect_is_taken_apart() {
        for (text, is_https, host, port, authority, target) in [
            ("http://127.0.0.1:9/x?k=v#f", false, "127.0.0.1", 9, "127.0.0.1:9", "/x?k=v"),
            ("HTTPS://Hooks.Example", true, "Hooks.Example", 443, "Hooks.Example", "/"),
            ("http://[::1]:8/", false, "::1", 8, "[::1]:8", "/"),
            ("http://[::1]", false, "::1", 80, "[::1]", "/"),
            (" http://a?k ", false, "a", 80, "a", "/?k"),
        ] {
            let url: AlertUrl = text.parse().unwrap();
            assert_eq!((url.is_https, url.host.as_str(), url.port), (is_https, host, port));
            assert_eq!(
                (url.authority.to_str().unwrap(), url.target.to_string()),
                (authority, target.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_receiver_is_refused_without_a_part_of_it() {
        for (text, reason) in [
            ("", "is not a URL"),
            ("/s3cret", "has no scheme"),
            ("s3cret.example:80", "has no scheme"),
            ("ftp://s3cret/", "is neither http nor https"),
            ("http://", "is not a URL"),
            ("http:///s3cret", "is not a URL"),
            ("http://s3cret:0/", "names port 0"),
            ("http://s3cret:70000/", "names a port outside 1 to 65535"),
            ("http://u:s3cret@a/", "holds a user or password"),
            ("http://a/s3cret x", "is not a URL"),
            ("http://a/s3cret\n", ""),
            ("http://a/s3crét\u{0}", "is not a URL"),
        ] {
            match text.parse::<AlertUrl>() {
                Ok(url) => assert!(reason.is_empty(), "{url:?} {text:?}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(told.contains(reason) && !reason.is_empty(), "{text:?}: {told}");
                    assert!(told.contains("accepted is http://HOST"), "{told}");
                    assert!(!told.contains("s3cr") && !format!("{error:?}").contains("s3cr"));
                }
            }
        }
        let long = format!("http://a/{}", "x".repeat(LONGEST));
        assert!(long.parse::<AlertUrl>().unwrap_err().to_string().contains("2048"));
    }
}
