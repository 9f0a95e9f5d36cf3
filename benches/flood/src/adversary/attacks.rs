//! What the adversaries do, each as one bounded future.

use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Bytes, http::Request};
use h2::{Reason, client};
use plimsoll_flood::MB;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{Adversary, BODY_MB, slowly};
use crate::{
    client::{Record, Seen},
    http::{Connection, Framing, request},
};

/// Connections are opened so many at a time, with a pause, or the listener's queue overflows
/// and the kernel lets them wait for seconds.
const OPENING: usize = 50;
const OPENING_PAUSE: Duration = Duration::from_millis(10);
/// Streams that an HTTP/2 client opens in one turn, and how long they last.
const STREAMS_PER_TURN: usize = 50;
const RESET_AFTER: Duration = Duration::from_millis(5);
/// Reads of a slow reader, so that its pace is its own and not the kernel's buffers'.
const READ_BYTES: usize = 16 * 1024;
/// What a task grows to that nothing can let go of: what is left is less than honest clients take.
const STUCK_PERCENT: u64 = 94;
/// What a task grows to that can be pruned: no server holds that.
const PRUNABLE_PERCENT: u64 = 150;
/// What a task takes and lets go of: all that there is below the line of low priorities.
const RETAINED_PERCENT: u64 = 75;
/// It takes a second, and what is late on a busy machine.
const TAKEN_AND_GONE: Duration = Duration::from_millis(1_050);

#[derive(Clone, Copy, Debug)]
pub(super) struct Attack {
    pub(super) adversary: Adversary,
    pub(super) address: SocketAddr,
    pub(super) limit_bytes: u64,
    pub(super) seconds: u64,
    pub(super) start: Instant,
}

/// Has a task take memory to just below the line where requests are refused, and let go of it.
/// Nothing but the allocator holds it when this returns.
pub(super) async fn take_and_let_go(address: SocketAddr, limit_bytes: u64) -> io::Result<()> {
    let cap_mb = limit_bytes / 100 * RETAINED_PERCENT / MB;
    let target = format!("/background?mb_per_s={cap_mb}&seconds=1&cap_mb={cap_mb}&hold_ms=0");
    // Once more: glibc maps the first large blocks one by one, and keeps those after them.
    for _ in 0..2 {
        let mut connection = Connection::open(address).await?;
        connection.exchange(&request("POST", &target)).await?;
        sleep(TAKEN_AND_GONE).await;
    }
    Ok(())
}

impl Attack {
    /// Attacks until the time is over; what was seen of each connection or request.
    pub(super) async fn run(self) -> Seen {
        sleep_until(self.start).await;
        let opening = Arc::new(Semaphore::new(OPENING));
        let mut connections = JoinSet::new();
        for _ in 0..self.adversary.connections(self.limit_bytes) {
            let opening = Arc::clone(&opening);
            connections.spawn(async move { self.connection(&opening).await });
        }
        let mut seen = Seen::default();
        while let Some(records) = connections.join_next().await {
            seen.records.append(&mut records.unwrap_or_default());
        }
        seen
    }

    fn end(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds)
    }

    async fn connection(self, opening: &Semaphore) -> Vec<Record> {
        let sent = Instant::now();
        let record = |status| Record {
            sent: sent.saturating_duration_since(self.start),
            took: sent.elapsed(),
            status,
            mb: BODY_MB,
        };
        let answered = async {
            match self.adversary {
                Adversary::SlowUploads => self.upload(Framing::Length).await,
                Adversary::ChunkedUploads => self.upload(Framing::Chunked).await,
                Adversary::LyingUploads => self.upload(Framing::Lying).await,
                Adversary::SlowReaders => self.read_slowly("buffer").await,
                Adversary::SlowStreamReaders => self.read_slowly("stream").await,
                Adversary::IdleConnections => self.idle(opening).await,
                Adversary::Background => self.grow(PRUNABLE_PERCENT).await,
                Adversary::StuckBackground => self.grow(STUCK_PERCENT).await,
                Adversary::PageCache => self.fill_cache().await,
                Adversary::RapidReset => self.reset_streams().await,
                // Nothing is asked of the server, or no more.
                Adversary::NeighbourPressure | Adversary::Retained => Ok(200),
            }
        };
        // Whoever is not answered by the end goes away.
        match timeout_at(self.end(), answered).await {
            Ok(Ok(status)) => vec![record(Some(status))],
            Ok(Err(_)) | Err(_) => vec![record(None)],
        }
    }

    async fn upload(self, framing: Framing) -> io::Result<u16> {
        let bytes = BODY_MB * MB;
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.upload("/upload", framing, bytes, slowly(self.seconds)).await?;
        Ok(answer.status)
    }

    async fn read_slowly(self, way: &str) -> io::Result<u16> {
        let mut connection = Connection::open_narrow(self.address).await?;
        let target = format!("/download?mb={BODY_MB}&way={way}");
        let reads = BODY_MB * MB / READ_BYTES as u64;
        let pause = slowly(self.seconds) / u32::try_from(reads).unwrap_or(u32::MAX);
        connection.read_slowly(&request("GET", &target), READ_BYTES, pause).await
    }

    async fn idle(self, opening: &Semaphore) -> io::Result<u16> {
        let connection = {
            let _turn = opening.acquire().await.map_err(io::Error::other)?;
            let connection = Connection::open(self.address).await?;
            sleep(OPENING_PAUSE).await;
            connection
        };
        // A little less than the time, so that one that is open to the end counts as such.
        sleep_until(self.end() - Duration::from_millis(100)).await;
        Ok(if connection.is_open() { 200 } else { 503 })
    }

    /// The task grows for half of the time, and is left alone for the rest.
    async fn grow(self, percent: u64) -> io::Result<u16> {
        let cap_mb = self.limit_bytes / 100 * percent / MB;
        let seconds = self.seconds.div_ceil(2);
        let rate = cap_mb.div_ceil(seconds);
        let target = format!("/background?mb_per_s={rate}&seconds={seconds}&cap_mb={cap_mb}");
        self.ask(&target).await
    }

    async fn fill_cache(self) -> io::Result<u16> {
        let mb = self.limit_bytes * 2 / MB;
        self.ask(&format!("/fill-cache?mb={mb}")).await
    }

    async fn ask(self, target: &str) -> io::Result<u16> {
        let mut connection = Connection::open(self.address).await?;
        Ok(connection.exchange(&request("POST", target)).await?.status)
    }

    /// Opens streams and resets them as soon as they are at work, as fast as the server takes
    /// them, and comes back when it closes the connection.
    async fn reset_streams(self) -> io::Result<u16> {
        // A little before the time, so that a client that lasts is told from one that is stuck.
        let end = self.end() - Duration::from_millis(100);
        while Instant::now() < end {
            let stream = TcpStream::connect(self.address).await?;
            let (sender, connection) = client::handshake(stream).await.map_err(io::Error::other)?;
            let driver = tokio::spawn(connection);
            // An error is the server's goodbye.
            let _ = self.open_and_reset(sender, end).await;
            driver.abort();
        }
        Ok(200)
    }

    async fn open_and_reset(
        self,
        mut sender: client::SendRequest<Bytes>,
        end: Instant,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let uri = format!("http://{}/alloc?mb=4&style=now", self.address);
        while Instant::now() < end {
            let mut opened = Vec::with_capacity(STREAMS_PER_TURN);
            for _ in 0..STREAMS_PER_TURN {
                sender = sender.ready().await?;
                let request = Request::post(&uri).body(())?;
                opened.push(sender.send_request(request, false)?.1);
            }
            // Until the handlers have begun: what is reset sooner costs the server nothing.
            sleep(RESET_AFTER).await;
            for stream in &mut opened {
                stream.send_reset(Reason::CANCEL);
            }
        }
        Ok(())
    }
}
