//! The other side: holds WebSockets, or begins sessions and leaves them.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

/// Handshakes under way at a time.
const AT_ONCE: usize = 64;

/// Holds `number` WebSockets that answer pings, until it is killed.
pub(crate) async fn hold(address: &str, number: usize) -> Result<(), Box<dyn Error>> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut sockets = JoinSet::new();
    for _ in 0..number {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let mut stream = TcpStream::connect(address).await?;
        sockets.spawn(async move {
            let request = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                           sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            stream.write_all(request.as_bytes()).await?;
            let mut buffer = [0; 512];
            let read = stream.read(&mut buffer).await?;
            if !buffer[..read].starts_with(b"HTTP/1.1 101") {
                return Err(std::io::Error::other("not let in"));
            }
            drop(turn);
            loop {
                let read = stream.read(&mut buffer).await?;
                if read == 0 {
                    return Ok(());
                }
                if buffer[0] == 0x89 {
                    // An empty pong, masked with zeros.
                    stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await?;
                }
            }
        });
    }
    while let Some(ended) = sockets.join_next().await {
        ended??;
    }
    Ok(())
}

/// Begins `rate` polling sessions a second and leaves them at once; every other one joins the
/// namespace first.
pub(crate) async fn abandon(address: &str, rate: u32) -> Result<(), Box<dyn Error>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut sessions = JoinSet::new();
    let mut joins = false;
    loop {
        ticks.tick().await;
        joins = !joins;
        let address = address.to_owned();
        sessions.spawn(async move {
            let opened = request(&address, "GET", "", "").await?;
            let sid = opened.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
            match sid {
                Some(sid) if joins => request(&address, "POST", &format!("&sid={sid}"), "40").await,
                _ => Ok(opened),
            }
        });
        while sessions.try_join_next().is_some() {}
    }
}

async fn request(address: &str, method: &str, more: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} /socket.io/?EIO=4&transport=polling{more} HTTP/1.1\r\nhost: x\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
