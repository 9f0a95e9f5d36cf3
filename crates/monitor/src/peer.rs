//! Who is at the other end of the connection.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::Extensions;

/// The client's address, for servers that tell it in no other way: put it into the extensions of
/// each request where the connection is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

type PeerFn = dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync;

/// Where the client's address is found.
#[derive(Clone, Default)]
pub(crate) struct PeerSource {
    /// Asked alone: a program that says where to look knows that the other places lie.
    own: Option<Arc<PeerFn>>,
}

impl PeerSource {
    pub(crate) fn of(
        own: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Self { own: Some(Arc::new(own)) }
    }

    pub(crate) fn find(&self, extensions: &Extensions) -> Option<SocketAddr> {
        if let Some(own) = &self.own {
            return own(extensions);
        }
        if let Some(PeerAddr(address)) = extensions.get() {
            return Some(*address);
        }
        connect_info(extensions).or_else(|| extensions.get().copied())
    }
}

impl fmt::Debug for PeerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSource").field("own", &self.own.is_some()).finish()
    }
}

#[cfg(feature = "axum")]
fn connect_info(extensions: &Extensions) -> Option<SocketAddr> {
    let axum::extract::ConnectInfo(address) = extensions.get()?;
    Some(*address)
}

#[cfg(not(feature = "axum"))]
fn connect_info(_: &Extensions) -> Option<SocketAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_address_is_found_wherever_a_server_puts_it() {
        let mut extensions = Extensions::new();
        assert_eq!(PeerSource::default().find(&extensions), None);
        extensions.insert(address(1));
        assert_eq!(PeerSource::default().find(&extensions), Some(address(1)));
        #[cfg(feature = "axum")]
        {
            extensions.insert(axum::extract::ConnectInfo(address(2)));
            assert_eq!(PeerSource::default().find(&extensions), Some(address(2)));
        }
        extensions.insert(PeerAddr(address(3)));
        assert_eq!(PeerSource::default().find(&extensions), Some(address(3)));
        assert_eq!(PeerSource::of(|_| None).find(&extensions), None, "a place of one's own");
    }
}
