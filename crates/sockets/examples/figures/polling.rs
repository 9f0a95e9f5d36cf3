//! Polling sessions that are begun and left, 200 a second: memory must level off.

use std::{error::Error, time::Duration};

use axum::Router;
use plimsoll_sockets::{ConnectionRegistry, SocketAdmissionLayer, SocketLimits, socketio};
use socketioxide::{SocketIo, extract::SocketRef};

use crate::{
    Options,
    cycles::ratio,
    process::{Other, live, rss},
    server::{plimsoll, serve},
};

const A_SECOND: &str = "200";
/// With pings after a second, what is abandoned is noticed within two.
const SHORT: (Duration, usize) = (Duration::from_secs(2), 10);
/// The pings of a real server: it takes 45 s until as many go as come.
const FULL: (Duration, usize) = (Duration::from_secs(30), 10);

pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (every, looks) = if options.full { FULL } else { SHORT };
    let looks = options.cycles.unwrap_or(looks).max(3);
    let mut limits = SocketLimits::chat();
    if !options.full {
        limits.ping_interval = Duration::from_secs(1);
        limits.pong_deadline = Duration::from_secs(1);
    }
    let plimsoll = plimsoll()?;
    let sockets = ConnectionRegistry::builder().plimsoll(&plimsoll).limits(limits).build()?;
    let mut builder = socketio::configured(SocketIo::builder(), &limits);
    if !options.full {
        builder = builder.connect_timeout(Duration::from_secs(2));
    }
    let (layer, io) = builder.build_layer();
    let registry = sockets.clone();
    io.ns("/", async move |socket: SocketRef| {
        let _ = socketio::track(&registry, &socket);
    });
    let admission = SocketAdmissionLayer::new(&sockets, "/socket.io");
    let address = serve(Router::new().layer(layer).layer(admission)).await?;
    let client = Other::start(&["pollers", &address, A_SECOND])?;
    println!("{A_SECOND} abandoned polling sessions a second, half of them joined a namespace");
    println!("   at  opened    open  closing      RSS  live heap");
    let mut seen = Vec::new();
    for look in 1..=looks {
        tokio::time::sleep(every).await;
        let (report, rss) = (sockets.report(), rss()?);
        println!(
            "{:3} s  {:6}  {:6}  {:7}  {:4} MB  {:6.2} MB",
            every.as_secs() * look as u64,
            report.opened,
            report.open,
            report.closing,
            rss / 1_000_000,
            ratio(live()?, 1_000_000),
        );
        seen.push(rss);
    }
    client.cut()?;
    // From when it has levelled off, the first third, to the end.
    let level = seen[looks / 3];
    let last = seen[looks - 1];
    println!("end to the level after a third: {:.3}", ratio(last, level));
    plimsoll.shutdown().await;
    if ratio(last, level) > 1.15 { Err("memory does not level off".into()) } else { Ok(()) }
}
