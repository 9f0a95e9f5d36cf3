//! The server under load: this machine's, never another's.

use std::{fmt, net::IpAddr, str::FromStr};

use hyper::Uri;

/// A server on this machine, such as `http://127.0.0.1:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    authority: String,
}

impl Target {
    /// Host and port, for a connection and for the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The address of a path that begins with a slash.
    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// The WebSocket address of a path that begins with a slash.
    pub(crate) fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.authority)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// Why an address was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTarget {
    #[error("expected an address such as http://127.0.0.1:3000")]
    Malformed,
    #[error("{0} is not this machine; a load goes to 127.0.0.1, [::1] or localhost only")]
    NotLoopback(String),
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| InvalidTarget::Malformed)?;
        let authority = uri.authority().ok_or(InvalidTarget::Malformed)?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        if !plain || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(InvalidTarget::Malformed);
        }
        let host = authority.host();
        if !is_loopback(host) {
            return Err(InvalidTarget::NotLoopback(host.to_owned()));
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{host}:{port}") })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_accepted_in_all_its_names() {
        for (text, authority) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://127.0.0.1:3000/", "127.0.0.1:3000"),
            ("http://127.8.9.1", "127.8.9.1:80"),
            ("http://localhost:1", "localhost:1"),
            ("http://[::1]:3000", "[::1]:3000"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().authority(), authority);
        }
    }

    #[test]
    fn other_machines_are_refused_by_name() {
        for host in ["example.com", "10.0.0.1", "0.0.0.0", "127.0.0.1.evil.example", "[::2]"] {
            let error = format!("http://{host}:3000").parse::<Target>().unwrap_err();
            assert_eq!(error, InvalidTarget::NotLoopback(host.to_owned()));
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "127.0.0.1:3000",
            "https://127.0.0.1",
            "http://127.0.0.1/chat",
            "http://127.0.0.1?x",
            "http://user@127.0.0.1",
            "/livez",
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err(), InvalidTarget::Malformed, "{text}");
        }
    }
}
