//! The flood and the probe, each on a thread of its own.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    http::{Connection, request},
    profile::{Arrival, HOLD, Profile},
};

/// Answers may come so much later than the hold before they count as none.
const PATIENCE: Duration = Duration::from_secs(3);
const HONEST_PERIOD: Duration = Duration::from_millis(50);
const HONEST_MB: u64 = 1;
const PROBE_PERIOD: Duration = Duration::from_millis(10);
/// A probe without a 200 after this time is lost.
const PROBE_PATIENCE: Duration = Duration::from_millis(250);

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// When it was sent, from the start of the flood.
    pub(crate) sent: Duration,
    /// How long until its answer was read.
    pub(crate) took: Duration,
    /// Its status; `None` when the connection broke or nothing came.
    pub(crate) status: Option<u16>,
    pub(crate) mb: u64,
}

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) records: Vec<Record>,
    /// How late the client itself was, at worst: large means that the figures are the client's.
    pub(crate) latest_start: Duration,
}

/// A client at work; stopped and waited for when dropped.
#[derive(Debug)]
pub(crate) struct Client {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<io::Result<Seen>>>,
}

/// What all requests of a client share.
#[derive(Clone, Debug)]
struct Shared {
    address: SocketAddr,
    start: Instant,
    idle: Arc<Mutex<Vec<Connection>>>,
    in_flight: Arc<AtomicI64>,
    patience: Duration,
}

impl Client {
    /// Floods from `start` on, over connections that are open already and those that it adds.
    pub(crate) fn flood(
        address: SocketAddr,
        open: Vec<TcpStream>,
        profile: Profile,
        seconds: u64,
        start: Instant,
        in_flight: Arc<AtomicI64>,
    ) -> Self {
        let shared =
            Shared { address, start, idle: Arc::default(), in_flight, patience: HOLD + PATIENCE };
        Self::spawn(move |stop| async move {
            for stream in open {
                // One that cannot be used is replaced by the request that needs it.
                if let Ok(connection) = Connection::adopt(stream) {
                    shared.keep(connection);
                }
            }
            match profile.arrivals(seconds) {
                Some(arrivals) => {
                    let request_of = |mb| request("POST", &profile.path(mb));
                    open_loop(&shared, arrivals.into_iter(), request_of, stop).await
                }
                None => closed_loop(&shared, profile, Duration::from_secs(seconds), stop).await,
            }
        })
    }

    /// Asks for a little, by the clock, as a client would that means no harm.
    pub(crate) fn honest(
        address: SocketAddr,
        seconds: u64,
        start: Instant,
        in_flight: Arc<AtomicI64>,
    ) -> Self {
        let patience = HOLD + PATIENCE;
        let shared = Shared { address, start, idle: Arc::default(), in_flight, patience };
        let end = Duration::from_secs(seconds);
        Self::spawn(move |stop| async move {
            let arrivals = (0_u32..)
                .map(|turn| Arrival { at: HONEST_PERIOD * turn, mb: HONEST_MB })
                .take_while(|arrival| arrival.at < end);
            open_loop(&shared, arrivals, |mb| request("POST", &Profile::Open.path(mb)), stop).await
        })
    }

    /// Asks `/livez` by the clock until it is stopped.
    pub(crate) fn probe(address: SocketAddr, start: Instant) -> Self {
        let shared = Shared {
            address,
            start,
            idle: Arc::default(),
            in_flight: Arc::default(),
            patience: PROBE_PATIENCE,
        };
        Self::spawn(move |stop| async move {
            let arrivals = (0_u32..).map(|turn| Arrival { at: PROBE_PERIOD * turn, mb: 0 });
            open_loop(&shared, arrivals, |_| request("GET", "/livez"), stop).await
        })
    }

    pub(crate) fn spawn<F, Fut>(work: F) -> Self
    where
        F: FnOnce(watch::Receiver<bool>) -> Fut + Send + 'static,
        Fut: Future<Output = Seen>,
    {
        let (stop, stopped) = watch::channel(false);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(work(stopped)))
        });
        Self { stop, thread: Some(thread) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops it, unless it is done, and returns what it saw.
    pub(crate) fn finish(mut self) -> io::Result<Seen> {
        let _ = self.stop.send(true);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(seen)) => seen,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(Seen::default()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends by the clock, whatever comes back, until the arrivals or the time are over; then waits
/// for what is still out.
async fn open_loop(
    shared: &Shared,
    arrivals: impl Iterator<Item = Arrival>,
    request_of: impl Fn(u64) -> Vec<u8>,
    mut stop: watch::Receiver<bool>,
) -> Seen {
    let mut seen = Seen::default();
    let mut out = JoinSet::new();
    for arrival in arrivals {
        let due = shared.start + arrival.at;
        tokio::select! {
            () = sleep_until(due) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        seen.latest_start = seen.latest_start.max(due.elapsed());
        let (shared, request) = (shared.clone(), request_of(arrival.mb));
        out.spawn(async move { shared.send(&request, arrival.mb).await });
        while let Some(Ok(record)) = out.try_join_next() {
            seen.records.push(record);
        }
    }
    loop {
        tokio::select! {
            record = out.join_next() => match record {
                Some(Ok(record)) => seen.records.push(record),
                Some(Err(_)) => {}
                None => break,
            },
            // The server is gone: nothing more will come than broken connections.
            () = stopped_and_settled(&mut stop, shared.patience) => break,
        }
    }
    // What is still out has no answer.
    out.abort_all();
    seen
}

/// After a stop, what is out gets its time.
async fn stopped_and_settled(stop: &mut watch::Receiver<bool>, patience: Duration) {
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(patience).await;
}

/// Each connection asks again as soon as it has its answer.
async fn closed_loop(
    shared: &Shared,
    profile: Profile,
    duration: Duration,
    stop: watch::Receiver<bool>,
) -> Seen {
    let mb = crate::profile::REQUEST_MB;
    let end = shared.start + duration;
    let mut connections = JoinSet::new();
    for _ in 0..profile.connections() {
        let (shared, request) = (shared.clone(), request("POST", &profile.path(mb)));
        let stop = stop.clone();
        connections.spawn(async move {
            sleep_until(shared.start).await;
            let mut records = Vec::new();
            while Instant::now() < end && !*stop.borrow() {
                let record = shared.send(&request, mb).await;
                if record.status.is_none() {
                    // A closed loop would turn hot on a server that is gone.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                records.push(record);
            }
            records
        });
    }
    let mut seen = Seen::default();
    while let Some(records) = connections.join_next().await {
        seen.records.append(&mut records.unwrap_or_default());
    }
    seen
}

impl Shared {
    fn keep(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn send(&self, request: &[u8], mb: u64) -> Record {
        let sent = Instant::now();
        self.in_flight.fetch_add(1, Relaxed);
        let status = timeout_at(sent + self.patience, self.exchange(request)).await;
        self.in_flight.fetch_sub(1, Relaxed);
        let status = status.ok().and_then(Result::ok);
        Record {
            sent: sent.saturating_duration_since(self.start),
            took: sent.elapsed(),
            status,
            mb,
        }
    }

    async fn exchange(&self, request: &[u8]) -> io::Result<u16> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let answer = connection.exchange(request).await?;
        if answer.keeps {
            self.keep(connection);
        }
        Ok(answer.status)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;

    #[test]
    fn every_request_is_told_with_what_became_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The first two are answered, the third is hung up on.
        thread::spawn(move || {
            for answer in ["200 OK", "503 Service Unavailable", ""] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 1024];
                let _ = io::Read::read(&mut stream, &mut buffer);
                if !answer.is_empty() {
                    let head = "connection: close\r\ncontent-length: 0";
                    write!(stream, "HTTP/1.1 {answer}\r\n{head}\r\n\r\n").unwrap();
                }
            }
        });
        let arrivals = (0..3).map(|turn| Arrival { at: Duration::from_millis(turn), mb: turn });
        let client = Client::spawn(move |stop| async move {
            let shared = Shared {
                address,
                start: Instant::now(),
                idle: Arc::default(),
                in_flight: Arc::default(),
                patience: Duration::from_secs(5),
            };
            let seen = open_loop(&shared, arrivals, |_| request("POST", "/"), stop).await;
            assert_eq!(shared.in_flight.load(Relaxed), 0);
            seen
        });
        while !client.is_done() {
            thread::yield_now();
        }
        let mut statuses: Vec<_> = client.finish().unwrap().records;
        statuses.sort_by_key(|record| record.status);
        let statuses: Vec<_> = statuses.iter().map(|record| record.status).collect();
        assert_eq!(statuses, [None, Some(200), Some(503)]);
    }
}
