//! TLS by rustls, with the certificate authorities of the system.

use std::{fmt, io, sync::Arc};

use plimsoll_core::alerts::SinkError;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, Error, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::{client::words, url::AlertUrlError};

/// Connects to one host.
#[derive(Clone)]
pub(crate) struct Tls {
    roots: RootCertStore,
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the system's authorities: some hundred kilobytes, once for each sink.
    pub(crate) fn new(host: &str) -> Result<Self, AlertUrlError> {
        let reason = "names a host that no certificate can be for";
        let name = ServerName::try_from(host.to_owned()).map_err(|_| AlertUrlError { reason })?;
        let mut roots = RootCertStore::empty();
        // Files that cannot be read, or parsed, are passed over: what matters is whether any
        // authority vouches for the receiver, and the handshake tells that.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Ok(Self { connector: connector(&roots), roots, name })
    }

    pub(crate) fn trust_pem(&mut self, pem: &[u8]) -> Result<(), PemError> {
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| PemError)?;
            self.roots.add(certificate).map_err(|_| PemError)?;
            added += 1;
        }
        if added == 0 {
            return Err(PemError);
        }
        self.connector = connector(&self.roots);
        Ok(())
    }

    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, SinkError> {
        let connecting = self.connector.connect(self.name.clone(), stream);
        connecting
            .await
            .map_err(|error| SinkError::new(format!("the TLS handshake failed: {}", why(&error))))
    }
}

fn connector(roots: &RootCertStore) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// rustls names the host in some of its errors, so they are told by their kind.
fn why(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(Error::InvalidCertificate(_)) => "the receiver's certificate is not trusted",
        Some(Error::AlertReceived(_)) => "the receiver refused it",
        Some(_) => "the receiver does not speak TLS as expected",
        None => words(error),
    }
}

/// A text that holds no certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text holds no certificate that can be trusted; accepted is PEM, each beginning with -----BEGIN CERTIFICATE-----"
)]
#[non_exhaustive]
pub struct PemError;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("authorities", &self.roots.len()).finish_non_exhaustive()
    }
}
