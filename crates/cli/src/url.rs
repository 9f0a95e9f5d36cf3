//! The address of the server.

use std::{fmt, str::FromStr};

use ureq::http::Uri;

/// Where the tool asks when nothing else is said.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:3000";

/// An `http` address without a trailing slash; a path in front of the routes is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    text: String,
    host: String,
}

impl BaseUrl {
    /// The address of a route that starts with `/`.
    pub(crate) fn join(&self, route: &str) -> String {
        format!("{}{route}", self.text)
    }

    /// True for the addresses and the name of this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    /// Parses an address; an empty one is the default, as with an unset variable.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = match text.trim().trim_end_matches('/') {
            "" => DEFAULT_URL,
            text => text,
        };
        if !text.contains("://") {
            return Err(format!("no scheme; did you mean `http://{}`?", text.escape_debug()));
        }
        let uri: Uri = text.parse().map_err(|error| format!("not an address: {error}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("https is not supported yet: use an http address on this machine, \
                            such as the end of an SSH tunnel"
                    .to_owned());
            }
            _ => return Err("only http addresses are supported".to_owned()),
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("an address holds no user name; give a token instead".to_owned());
        }
        let port = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
        if port.contains(':') && uri.port_u16().is_none_or(|port| port == 0) {
            return Err("the port is a number from 1 to 65535".to_owned());
        }
        // `Uri` drops a fragment silently, so it is looked for in the text.
        if uri.query().is_some() || text.contains('#') {
            return Err("an address without a query or fragment is wanted".to_owned());
        }
        match uri.host() {
            Some(host) if !host.is_empty() => {
                Ok(Self { text: text.to_owned(), host: host.to_owned() })
            }
            _ => Err("no host".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_and_a_path_in_front_are_fine() {
        let url: BaseUrl = "http://localhost:3000/app/".parse().unwrap();
        assert_eq!(url.join("/api/x"), "http://localhost:3000/app/api/x");
        assert_eq!("".parse::<BaseUrl>().unwrap().to_string(), DEFAULT_URL);
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (url, loopback) in [
            ("http://127.0.0.1:3000", true),
            ("http://127.8.8.8", true),
            ("http://[::1]:3000", true),
            ("http://LOCALHOST", true),
            ("http://10.0.0.1:3000", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(url.parse::<BaseUrl>().unwrap().is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for bad in [
            "127.0.0.1:3000",
            "https://example.com",
            "ftp://example.com",
            "http://",
            "http://u:p@host",
            "http://host?a=b",
            "http://host/#x",
            "http://ho st",
            "http://host:99999",
            "http://[::1]:0",
            "http://host:",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
