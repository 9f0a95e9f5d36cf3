//! What no well-behaved client sends.

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{MaybeTlsStream, tungstenite::Message};

use crate::server::{
    Adapter, BOTH, close_code, connect, echo, next, patient, quick, registry, serve, until,
};

async fn cause_of_the_end(sockets: &plimsoll_sockets::ConnectionRegistry) -> Option<String> {
    patient(sockets.empty()).await;
    assert_eq!(sockets.report().forced, 0);
    let events = sockets.events(10);
    let closing = events.into_iter().find(|event| event.kind == "closing");
    closing.and_then(|event| event.detail)
}

#[tokio::test]
async fn garbage_on_the_socket_is_a_protocol_error() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, echo).await;
        let mut client = connect(address).await;
        let MaybeTlsStream::Plain(stream) = client.get_mut() else { panic!("no TLS here") };
        // Reserved bits and an unknown opcode, and more of the kind.
        stream.write_all(&[0xff; 64]).await.unwrap();
        assert_eq!(close_code(&mut client).await, 1002, "{adapter:?}");
        drop(client);
        assert_eq!(cause_of_the_end(&sockets).await.as_deref(), Some("protocol error"));
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_a_protocol_error() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, echo).await;
        let mut client = connect(address).await;
        let MaybeTlsStream::Plain(stream) = client.get_mut() else { panic!("no TLS here") };
        // A masked text frame of one byte, 0xff.
        stream.write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await.unwrap();
        assert_eq!(close_code(&mut client).await, 1002, "{adapter:?}");
        drop(client);
        assert_eq!(cause_of_the_end(&sockets).await.as_deref(), Some("protocol error"));
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_told_1009() {
    for adapter in BOTH {
        let sockets = registry(quick());
        let address = serve(adapter, &sockets, echo).await;
        let mut client = connect(address).await;
        let limit = sockets.limits().max_message_bytes;
        client.send(Message::binary(vec![0; limit])).await.unwrap();
        assert_eq!(next(&mut client).await.unwrap().unwrap().len(), limit, "up to it is fine");
        client.send(Message::binary(vec![0; limit + 1])).await.unwrap();
        assert_eq!(close_code(&mut client).await, 1009, "{adapter:?}");
        drop(client);
        assert_eq!(cause_of_the_end(&sockets).await.as_deref(), Some("message too large"));
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_ends_the_connection() {
    let sockets = registry(quick());
    let address = serve(Adapter::Tungstenite, &sockets, echo).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nnonsense\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = patient(stream.read_to_end(&mut answer)).await;
    until(|| sockets.report().closed == 1).await;
    assert_eq!(sockets.report().forced, 0);
    // The other: it connects and says nothing, until the shutdown.
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    until(|| sockets.report().open == 1).await;
    let report = sockets.shutdown(std::time::Duration::from_secs(10)).await;
    assert_eq!((report.connections, report.forced), (1, 0));
    drop(silent);
}
