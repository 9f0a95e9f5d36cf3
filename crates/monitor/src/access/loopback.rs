//! Whether a request was made on this machine, by somebody who sits there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderName, Version, header, request::Parts};

/// What speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLocal {
    /// Nobody told the client's address.
    Unknown,
    Remote,
    /// A proxy makes everybody look local.
    Forwarded,
    /// What proxies speak that say nothing about their clients (nginx unless told otherwise), and
    /// no tool of today.
    OldProtocol,
    /// Another site's name that resolves to this machine.
    ForeignHost,
}

pub(super) fn check(head: &Parts, peer: Option<SocketAddr>) -> Result<(), NotLocal> {
    let peer = peer.ok_or(NotLocal::Unknown)?;
    // Canonical: a socket that serves both families shows ::ffff:127.0.0.1.
    if !peer.ip().to_canonical().is_loopback() {
        return Err(NotLocal::Remote);
    }
    if head.headers.keys().any(is_of_proxies) {
        return Err(NotLocal::Forwarded);
    }
    if head.version < Version::HTTP_11 {
        return Err(NotLocal::OldProtocol);
    }
    if is_host_local(head) { Ok(()) } else { Err(NotLocal::ForeignHost) }
}

fn is_of_proxies(name: &HeaderName) -> bool {
    *name == header::FORWARDED
        || *name == header::VIA
        || name.as_str().starts_with("x-forwarded")
        || name.as_str() == "x-real-ip"
}

/// Every name under which the server was called must be local, and there must be one. HTTP/2 has
/// it in the target, HTTP/1.1 in the header, and either may have both.
fn is_host_local(head: &Parts) -> bool {
    let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let hosts = head.headers.get_all(header::HOST).iter().map(|host| host.as_bytes());
    let mut names = target.into_iter().chain(hosts).peekable();
    names.peek().is_some() && names.all(|name| str::from_utf8(name).is_ok_and(is_local_name))
}

fn is_local_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let local = address.parse::<Ipv6Addr>();
                return local.is_ok_and(|address| address.to_canonical().is_loopback())
                    && is_port(port);
            }
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_local = name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_local && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

impl NotLocal {
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Unknown => {
                "only this machine may ask, and the client's address is not known: serve with \
                 axum's into_make_service_with_connect_info::<SocketAddr>() or put \
                 plimsoll_monitor::PeerAddr into the request's extensions; or set MONITOR_TOKEN \
                 on the server and send it as a bearer token"
            }
            Self::Remote => {
                "only this machine may ask; to ask from elsewhere set MONITOR_TOKEN on the server \
                 and send it as a bearer token"
            }
            Self::Forwarded => {
                "only this machine may ask, and a header says that a proxy passed this request \
                 on; to ask through a proxy set MONITOR_TOKEN on the server and send it as a \
                 bearer token"
            }
            Self::OldProtocol => {
                "only this machine may ask, and an HTTP/1.0 request may come from a proxy that \
                 does not say so; use HTTP/1.1, or set MONITOR_TOKEN on the server and send it as \
                 a bearer token"
            }
            Self::ForeignHost => {
                "only this machine may ask, and under a local name such as localhost or \
                 127.0.0.1; to use another name set MONITOR_TOKEN on the server and send it as a \
                 bearer token"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn judge(peer: &str, change: impl FnOnce(&mut Request<()>)) -> Result<(), NotLocal> {
        let mut request = Request::get("/").header("host", "localhost:3000").body(()).unwrap();
        change(&mut request);
        check(&request.into_parts().0, peer.parse().ok())
    }

    fn with_header(name: &'static str) -> impl FnOnce(&mut Request<()>) {
        move |request| {
            request.headers_mut().insert(name, "1".parse().unwrap());
        }
    }

    #[test]
    fn the_address_must_be_loopback() {
        for (peer, expected) in [
            ("127.0.0.1:1", Ok(())),
            ("127.9.9.9:1", Ok(())),
            ("[::1]:1", Ok(())),
            ("[::ffff:127.0.0.1]:1", Ok(())),
            ("[::ffff:10.0.0.1]:1", Err(NotLocal::Remote)),
            ("10.0.0.1:1", Err(NotLocal::Remote)),
            ("0.0.0.0:1", Err(NotLocal::Remote)),
            ("nobody", Err(NotLocal::Unknown)),
        ] {
            assert_eq!(judge(peer, |_| {}), expected, "{peer}");
        }
    }

    #[test]
    fn whatever_a_proxy_adds_gives_it_away() {
        for name in
            ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded", "x-real-ip", "via"]
        {
            assert_eq!(judge("[::1]:1", with_header(name)), Err(NotLocal::Forwarded), "{name}");
        }
        assert_eq!(judge("[::1]:1", with_header("x-request-id")), Ok(()));
        let old = judge("[::1]:1", |request| *request.version_mut() = Version::HTTP_10);
        assert_eq!(old, Err(NotLocal::OldProtocol));
    }

    #[test]
    fn the_host_must_be_a_local_name() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:3000", true),
            ("localhost.:80", true),
            ("app.localhost:80", true),
            ("127.0.0.1", true),
            ("127.8.0.1:8080", true),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evillocalhost", false),
            ("10.0.0.1", false),
            ("[::2]", false),
            ("[::1", false),
            ("[::1]x", false),
            ("localhost:", false),
            ("localhost:port", false),
            ("localhost:1:2", false),
            ("user@localhost", false),
        ] {
            assert_eq!(is_local_name(host), expected, "{host:?}");
        }
    }

    #[test]
    fn one_foreign_name_among_local_ones_is_one_too_many() {
        let judge = |uri: &str, hosts: &[&str]| {
            let mut request = Request::get(uri);
            for host in hosts {
                request = request.header("host", *host);
            }
            is_host_local(&request.body(()).unwrap().into_parts().0)
        };
        assert!(judge("http://localhost:1/", &[]), "the target of HTTP/2");
        assert!(judge("http://localhost:1/", &["127.0.0.1"]));
        assert!(!judge("http://evil.example/", &["localhost"]));
        assert!(!judge("http://localhost/", &["evil.example"]));
        assert!(!judge("/", &["localhost", "evil.example"]));
        assert!(!judge("/", &[]));
    }
}
