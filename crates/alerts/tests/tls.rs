//! `https://`: a receiver whose authority is trusted, and one whose is not.

mod support;

use std::sync::Arc;

use plimsoll_alerts::{AlertNotification, AlertSink as _, WebhookSink};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use self::support::{OK, serve};

/// For `localhost` and 127.0.0.1, until the year 2126; of no use anywhere else.
const CERTIFICATE: &[u8] = include_bytes!("fixtures/localhost.pem");
const KEY: &[u8] = include_bytes!("fixtures/localhost.key.pem");

fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("suites")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

fn test() -> AlertNotification {
    AlertNotification::test("shop@host", std::time::Duration::ZERO)
}

#[tokio::test]
async fn https_is_spoken_with_whom_an_authority_vouches_for_and_with_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (tell, mut arrived) = mpsc::unbounded_channel();
    let receiver = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            // Who does not trust it goes.
            if let Ok(mut stream) = acceptor().accept(stream).await {
                serve(&mut stream, &OK, &tell).await;
            }
        }
    });
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{port}/s3cret");
        let sink = || WebhookSink::new(url.parse().expect("a URL")).expect("with TLS");
        let error = sink().deliver(test()).await.expect_err("nobody vouches for it");
        assert_eq!(
            error.to_string(),
            "the TLS handshake failed: the receiver's certificate is not trusted"
        );
        assert!(!format!("{error:?}").contains(host));
        let sink = sink().trust_pem(CERTIFICATE).expect("a certificate");
        sink.deliver(test()).await.expect("delivered");
        assert_eq!(arrived.recv().await.expect("arrived").alert().0, "PlimsollTest");
    }
    receiver.abort();

    let sink = WebhookSink::new("https://localhost/".parse().expect("a URL")).expect("with TLS");
    assert!(sink.trust_pem(b"no PEM").expect_err("none").to_string().contains("accepted is PEM"));
}

#[tokio::test]
async fn a_receiver_without_tls_is_told_so() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}/s3cret", stranger.local_addr().expect("bound"));
    let sink = WebhookSink::new(url.parse().expect("a URL")).expect("with TLS");
    let (answered, ()) = tokio::join!(sink.deliver(test()), async {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = stranger.accept().await.expect("connects");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
    });
    let told = answered.expect_err("no TLS there").to_string();
    assert_eq!(told, "the TLS handshake failed: the receiver does not speak TLS as expected");
}
