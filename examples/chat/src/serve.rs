//! Starting the server, telling where it is, and stopping it again.

use std::{
    future::Future,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::serve::ListenerExt as _;
use plimsoll::prelude::Journal;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    app::App,
    chaos::Chaos,
    db::Database,
    location::Location,
    options::ServerOptions,
    protect::{self, Protection, ProtectionError},
    socket_io,
};

/// How long everything may take to end once the server was told to stop.
const DRAIN: Duration = Duration::from_secs(15);
/// How long of it sockets may take, so that requests have some of it left.
const CLOSE_SOCKETS: Duration = Duration::from_secs(10);
/// How long the database may take to close after that.
const CLOSE_DATABASE: Duration = Duration::from_secs(2);

/// Why the server did not start or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot open the database {location}")]
    Database { location: Location, source: sqlx::Error },
    #[error("cannot start Plimsoll")]
    Protection(#[from] ProtectionError),
    #[error("cannot catch signals")]
    Signal(#[source] io::Error),
    #[error("the server failed")]
    Server(#[source] io::Error),
}

/// Serves until a signal comes, then stops in good order.
pub(crate) async fn run(options: ServerOptions, journal: Journal) -> Result<(), ServeError> {
    let signal = stop_signal().map_err(ServeError::Signal)?;
    let server = Server::start(&options, journal).await?;
    announce(server.address);
    server.serve(signal).await
}

/// A server that listens already.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    listener: TcpListener,
    protection: Protection,
}

impl Server {
    /// Opens the port and the database and starts Plimsoll.
    pub(crate) async fn start(
        options: &ServerOptions,
        journal: Journal,
    ) -> Result<Self, ServeError> {
        let listen_error = |source| ServeError::Listen { address: options.listen, source };
        // The port first: a second server must not touch the database of the first.
        let listener = TcpListener::bind(options.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let db = Database::open(&options.database).await.map_err(|source| {
            ServeError::Database { location: options.database.clone(), source }
        })?;
        let chaos = Chaos::new(&options.chaos);
        let (protection, app) = Protection::start(db, &journal, chaos, !options.no_guard).await?;
        if !options.chaos.is_empty() {
            tracing::warn!(chaos = ?options.chaos, "faults are switched on");
        }
        if options.no_guard {
            tracing::warn!("no guard and no automatic cleanup: nothing keeps this server afloat");
        }
        Ok(Self { address, listener, app, protection })
    }

    /// Serves until `stop` completes, then goes away within [`DRAIN`]: it is not ready any more, no
    /// socket is let in, open ones are closed with 1001, then no connection is accepted, what was
    /// begun is answered, and Plimsoll is shut down.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { listener, app, protection, .. } = self;
        let (socket_io, io) = socket_io::layer(&app);
        let router = protection.wrap(&app, app.router(socket_io));
        // The peer's address is what Plimsoll's access rule for loopback goes by.
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let (drain, draining) = oneshot::channel::<()>();
        // Without it small frames wait for the acknowledgement of the last ones, up to 40 ms.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = axum::serve(listener, service).with_graceful_shutdown(async move {
            // An error means that the sender is gone, which is a reason to stop as well.
            let _ = draining.await;
        });
        let mut server = tokio::spawn(server.into_future());
        tokio::select! {
            result = &mut server => {
                protection.shutdown().await;
                return joined(result);
            }
            () = stop => tracing::info!("stopping"),
        }
        let deadline = Instant::now() + DRAIN;
        // Together: not ready from now on. The listener stays, for whoever asks about that, and
        // for polls of Socket.IO that have their last packets to fetch.
        let sockets = async {
            protect::close_sockets(&app.sockets, CLOSE_SOCKETS).await;
            // Sessions that never entered a namespace are no connections of the registry.
            io.close().await;
        };
        let closed = timeout_at(deadline, async { tokio::join!(sockets, protection.shutdown()) });
        let closed = closed.await.is_ok();
        let _ = drain.send(());
        let result = match timeout_at(deadline, &mut server).await {
            Ok(result) => joined(result),
            Err(_) => {
                tracing::warn!("some requests did not end in time and were dropped");
                server.abort();
                Ok(())
            }
        };
        if !closed {
            tracing::warn!("some sockets did not end in time and were dropped");
        }
        // A query that is still under way is dropped with the process.
        let _ = timeout(CLOSE_DATABASE, app.db.close()).await;
        result
    }
}

fn joined(result: Result<io::Result<()>, tokio::task::JoinError>) -> Result<(), ServeError> {
    result.map_err(io::Error::other).flatten().map_err(ServeError::Server)
}

/// Completes when the process is asked to stop.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Prints where everything is.
fn announce(address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    // Nobody may be reading; the server is up all the same.
    let _ = stdout.write_all(addresses(address).as_bytes()).and_then(|()| stdout.flush());
}

fn addresses(mut address: SocketAddr) -> String {
    // "All addresses" is none that a browser can be pointed to.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!(
        "chat:      http://{address}/\n\
         dashboard: http://{address}/monitoring/\n\
         report:    http://{address}/api/monitoring/memory\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_addresses_can_be_opened() {
        for (bound, host) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
        ] {
            let text = addresses(bound.parse().unwrap());
            assert!(text.starts_with(&format!("chat:      http://{host}/\n")), "{text}");
            assert_eq!(text.matches(host).count(), 3);
        }
    }
}
