//! How the guard takes to a second thread, and what it takes of time.
//!
//! `cargo bench -p plimsoll-guard --bench threads` serves the same requests on one thread and on
//! two, in turn, and prints the median of 2 × (time of one / time of two): 2.0 is perfect, 1.0 means
//! that the second thread buys nothing. It asserts nothing: on a shared machine times say little.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use plimsoll_core::{MB, Plimsoll};
use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
use plimsoll_testkit::ScriptedSource;
use tower::{Layer, Service, ServiceBuilder};

/// Rounds of every variant, all in turn, so that a busy neighbour hits them alike.
const ROUNDS: usize = 101;

#[derive(Clone)]
struct Hello;

impl Service<Request<Full<Bytes>>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello")))))
    }
}

fn main() {
    // As a test: that it runs is all there is to see.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let (rounds, requests) = if measured { (ROUNDS, 100_000) } else { (1, 10) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime with a clock");
    let _entered = runtime.enter();
    let (source, _script) = ScriptedSource::with_rss(100 * MB);
    let plimsoll = Plimsoll::builder().start_with(source).expect("a readable source");
    let guard = MemoryGuardLayer::new(GuardConfig::new(&plimsoll)).layer(Hello);
    let peer = ServiceBuilder::new().load_shed().concurrency_limit(1_000).service(Hello);
    let mut rows = [
        Row::of("bare, held", false, Hello),
        Row::of("bare, cloned", true, Hello),
        Row::of("guard, held", false, guard.clone()),
        Row::of("guard, cloned", true, guard),
        Row::of("LoadShed + ConcurrencyLimit, held", false, peer.clone()),
        Row::of("LoadShed + ConcurrencyLimit, cloned", true, peer),
    ];
    for _ in 0..rounds {
        for row in &mut rows {
            row.one.push((row.run)(1, requests));
            row.two.push((row.run)(2, requests));
        }
    }
    println!("{:<40}{:>10}{:>12}{:>14}{:>10}", "", "ns", "over bare", "two threads", "of best");
    let bare: Vec<_> = rows[..2].iter().map(|row| row.nanos(requests)).collect();
    for (index, row) in rows.iter().enumerate() {
        let nanos = row.nanos(requests);
        let over = nanos - bare[index % 2];
        let (scaling, best) = (row.scaling(), row.scaling_of_best());
        println!("{:<40}{nanos:>10.1}{over:>12.1}{scaling:>14.2}{best:>10.2}", row.name);
    }
}

struct Row {
    name: &'static str,
    run: Box<dyn Fn(usize, u32) -> Duration>,
    one: Vec<Duration>,
    two: Vec<Duration>,
}

impl Row {
    fn of<S, B>(name: &'static str, cloned: bool, service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    {
        let run = move |threads, requests| time(threads, requests, cloned, &service);
        Self { name, run: Box::new(run), one: Vec::new(), two: Vec::new() }
    }

    /// Of one request on one thread: the median.
    fn nanos(&self, requests: u32) -> f64 {
        let times = self.one.iter().map(|time| time.as_secs_f64() * 1e9 / f64::from(requests));
        median(times.collect())
    }

    /// The median over rounds, each of which compares its own two times.
    fn scaling(&self) -> f64 {
        let pairs = self.one.iter().zip(&self.two);
        median(pairs.map(|(one, two)| 2.0 * one.as_secs_f64() / two.as_secs_f64()).collect())
    }
}

impl Row {
    /// Of the shortest times: what neighbours take from a round is least in those.
    fn scaling_of_best(&self) -> f64 {
        let shortest = |times: &[Duration]| times.iter().min().map_or(0.0, Duration::as_secs_f64);
        2.0 * shortest(&self.one) / shortest(&self.two)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How long so many threads take for `requests` each, from the first that begins to the last that
/// ends: threads that had to take turns would else pass for threads that ran side by side.
#[expect(clippy::disallowed_methods, reason = "a bench measures with the system's clock")]
fn time<S, B>(threads: usize, requests: u32, cloned: bool, service: &S) -> Duration
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Sync + Send,
{
    let start = Barrier::new(threads);
    let serve = || {
        let mut own = service.clone();
        // What a thread does once is not the requests'.
        serve_one(&mut own);
        start.wait();
        let begun = std::time::Instant::now();
        for _ in 0..requests {
            if cloned { serve_one(&mut own.clone()) } else { serve_one(&mut own) }
        }
        (begun, std::time::Instant::now())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(serve)).collect();
        let times = running.into_iter().map(|thread| thread.join().expect("no panic"));
        let (begun, ended): (Vec<_>, Vec<_>) = times.unzip();
        let ended = ended.into_iter().max().expect("at least one thread");
        ended - begun.into_iter().min().expect("at least one thread")
    })
}

#[inline(never)]
fn serve_one<S, B>(service: &mut S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let mut future = pin!(service.call(Request::new(Full::default())));
    let polled = future.as_mut().poll(&mut context);
    assert!(polled.is_ready());
    black_box(&polled);
}
