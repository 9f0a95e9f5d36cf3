//! The servers that are measured.

use std::{error::Error, time::Duration};

use axum::{Router, extract::WebSocketUpgrade, routing::get};
use plimsoll_core::{MB, Plimsoll, Thresholds};
use plimsoll_sockets::{ConnectionMeta, ConnectionRegistry, Session, Transport};
use plimsoll_sources::SystemSource;
use tokio::net::TcpListener;

/// Plimsoll on the system's figures, with the allocator that the program has.
pub(crate) fn plimsoll() -> Result<Plimsoll, Box<dyn Error>> {
    let mut builder = Plimsoll::builder().thresholds(Thresholds::new(2_000 * MB, 3_000 * MB)?);
    for backend in plimsoll_alloc::program_backends() {
        builder = builder.release_backend(backend);
    }
    Ok(builder.start_with(SystemSource::detect()?)?)
}

/// Serves WebSockets at `/ws`; every other handler hangs.
pub(crate) fn half_hung(sockets: &ConnectionRegistry) -> Router {
    let sockets = sockets.clone();
    Router::new().route(
        "/ws",
        get(move |ws: WebSocketUpgrade| {
            let sockets = sockets.clone();
            async move {
                let meta = ConnectionMeta::new(Transport::WebSocket);
                plimsoll_sockets::axum::upgrade(&sockets, ws, meta, |mut session| async move {
                    if session.connection().id() % 2 == 0 {
                        std::future::pending::<()>().await;
                    }
                    while session.recv().await.is_some() {}
                })
            }
        }),
    )
}

/// Serves WebSockets at `/ws` that listen.
pub(crate) fn listening(sockets: &ConnectionRegistry) -> Router {
    async fn listen(mut session: Session) {
        while session.recv().await.is_some() {}
    }
    let sockets = sockets.clone();
    Router::new().route(
        "/ws",
        get(move |ws: WebSocketUpgrade| {
            let sockets = sockets.clone();
            let meta = ConnectionMeta::new(Transport::WebSocket);
            async move { plimsoll_sockets::axum::upgrade(&sockets, ws, meta, listen) }
        }),
    )
}

/// The same without a registry and with the library's buffers.
pub(crate) fn plain() -> Router {
    Router::new().route(
        "/ws",
        get(async |ws: WebSocketUpgrade| {
            ws.on_upgrade(|mut socket| async move { while socket.recv().await.is_some() {} })
        }),
    )
}

/// Serves on a port of its own; returns the address.
pub(crate) async fn serve(app: Router) -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// Waits for a condition; an error after `most`.
pub(crate) async fn until(
    what: &str,
    most: Duration,
    condition: impl Fn() -> bool,
) -> Result<Duration, Box<dyn Error>> {
    let start = tokio::time::Instant::now();
    while !condition() {
        if start.elapsed() > most {
            return Err(format!("waited {most:?} in vain until {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(start.elapsed())
}
