//! What requests allocate is counted for them and their routes, teaches what they cost, and the
//! largest can be ended. A program of its own, since it installs an allocator.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod truth;

use std::{
    alloc::System,
    convert::Infallible,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use plimsoll_alloc::Attributing;
use plimsoll_core::{
    Attribute, Clock, MB, Plimsoll, Priority, RouteFigures, Thresholds, attributed_fn,
};
use plimsoll_guard::{
    ChargedBody, DEFAULT_REQUEST_COST_BYTES, GuardConfig, MemoryGuardBodyError, MemoryGuardLayer,
};
use plimsoll_testkit::{ScriptHandle, ScriptedSource};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: Attributing<System> = Attributing::new(System);

const LARGE: u64 = 5 * MB;
const LARGE_LENGTH: usize = 5_000_000;
/// What a future and its bookkeeping may add to what a handler takes.
const SLACK: u64 = 20_000;

struct Ship {
    plimsoll: Plimsoll,
    script: ScriptHandle,
    clock: Clock,
}

/// Idle, with warning at 200 and critical at 300 MB.
fn ship() -> Ship {
    let (source, script) = ScriptedSource::new();
    script.set_rss(50 * MB);
    let clock = Clock::manual(Duration::ZERO);
    let plimsoll = Plimsoll::builder()
        .thresholds(Thresholds::new(200 * MB, 300 * MB).unwrap())
        .check_interval(Duration::from_secs(600))
        .automatic_cleanup(false)
        .clock(clock.clone())
        .allocation_meter(plimsoll_alloc::attribution().expect("installed above"))
        .start_with(source)
        .unwrap();
    Ship { plimsoll, script, clock }
}

impl Ship {
    fn held(&self) -> (u64, u64) {
        let figures = self.plimsoll.report().guard;
        (figures.in_flight, figures.reserved_bytes)
    }

    fn route(&self) -> RouteFigures {
        self.plimsoll.routes().into_iter().next().expect("one was asked for")
    }

    async fn use_bytes_at(&self, bytes: u64, advance: Duration) {
        self.clock.advance(advance);
        self.script.set_rss(bytes);
        self.plimsoll.check().await.unwrap();
    }
}

fn get() -> Request<Full<Bytes>> {
    Request::new(Full::default())
}

fn near(bytes: u64, expected: u64) -> bool {
    (expected..=expected + SLACK).contains(&bytes)
}

/// Holds memory over an await, and answers with as much.
async fn handler(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let held = black_box(vec![1_u8; LARGE_LENGTH]);
    tokio::task::yield_now().await;
    Ok(Response::new(Full::new(Bytes::from(held))))
}

#[tokio::test]
async fn what_a_request_takes_is_charged_as_it_is_seen_and_learned_for_the_next() {
    let ship = ship();
    let mut service =
        MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(service_fn(handler));
    let mut first = task::spawn(service.ready().await.unwrap().call(get()));
    let guessed = ship.held().1;
    assert!(guessed > DEFAULT_REQUEST_COST_BYTES, "nobody knows yet: {guessed}");
    assert_pending!(first.poll());
    assert!(near(ship.held().1, LARGE.max(guessed)), "{:?}", ship.held());
    // The first is still at work, and may take more.
    let second = task::spawn(service.ready().await.unwrap().call(get()));
    assert!(near(ship.held().1, 2 * LARGE.max(guessed)), "{:?}", ship.held());
    drop(second);
    let answer = assert_ready!(first.poll()).unwrap();
    drop(first);
    let memory = ship.route().memory.expect("attributed");
    assert!(near(memory.peak_bytes, LARGE) && near(memory.allocated_bytes, LARGE), "{memory:?}");
    assert!(near(memory.live_bytes, LARGE), "the answer is still there: {memory:?}");
    drop(answer);
    assert_eq!(ship.held(), (0, 0));
    let memory = ship.route().memory.expect("attributed");
    assert_eq!(memory.live_bytes, 0, "{memory:?}");
    let third = task::spawn(service.ready().await.unwrap().call(get()));
    assert!(near(ship.held().1, LARGE), "{:?}", ship.held());
    drop(third);
    assert!(ship.plimsoll.report().guard.attributed);
}

#[tokio::test]
async fn a_body_that_is_counted_by_its_length_is_not_learned_as_the_routes_own() {
    let ship = ship();
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        let copy = black_box(request.into_body().collect().await.unwrap().to_bytes().to_vec());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(copy.len().to_string()))))
    });
    let service = MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(inner);
    let body = Bytes::from(vec![7; LARGE_LENGTH]);
    service.oneshot(Request::new(Full::new(body))).await.unwrap();
    let memory = ship.route().memory.expect("attributed");
    assert!(memory.peak_bytes <= SLACK, "{memory:?}");
    assert!(near(memory.allocated_bytes, LARGE), "{memory:?}");
}

#[tokio::test]
async fn a_declared_cost_is_corrected_by_what_requests_go_beyond_it() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll)
        .cost(|head| head.uri.query().and_then(|declared| declared.parse().ok()));
    let mut service = MemoryGuardLayer::new(config).layer(service_fn(handler));
    let mut charged = async |uri: &str| {
        let request = Request::builder().uri(uri).body(Full::default()).unwrap();
        let future = service.ready().await.unwrap().call(request);
        let charged = ship.held().1;
        future.await.unwrap();
        charged
    };
    // Half of what it takes, which nobody knows yet.
    assert!(charged("/?2500000").await > LARGE);
    assert!(near(charged("/?2500000").await, LARGE));
    // A declaration of more is as far beyond in bytes, not in proportion.
    assert!(near(charged("/?20000000").await, 20 * MB + LARGE / 2));
}

#[tokio::test]
async fn a_declared_cost_that_is_kept_stays_as_it_is() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).cost(|_| Some(6 * MB));
    let mut service = MemoryGuardLayer::new(config).layer(service_fn(handler));
    service.ready().await.unwrap().call(get()).await.unwrap();
    let _second = service.ready().await.unwrap().call(get());
    assert_eq!(ship.held(), (1, 6 * MB));
}

#[tokio::test]
async fn a_cold_burst_is_let_in_a_few_at_a_time() {
    let ship = ship();
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let mut service = MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(inner);
    let mut burst = Vec::new();
    for _ in 0..200 {
        burst.push(service.ready().await.unwrap().call(get()));
    }
    let (in_flight, _) = ship.held();
    assert!((20..=120).contains(&in_flight), "{in_flight} of a route that nobody has seen");
}

#[tokio::test]
async fn a_spawned_task_counts_for_the_request_that_spawned_it() {
    let ship = ship();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        let task = async { black_box(vec![1_u8; LARGE_LENGTH]).len() }.attributed();
        let spawned = tokio::spawn(task);
        let length = spawned.await.unwrap();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(length.to_string()))))
    });
    let service = MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(inner);
    service.oneshot(get()).await.unwrap();
    let memory = ship.route().memory.expect("attributed");
    assert!(near(memory.peak_bytes, LARGE), "{memory:?}");
}

#[tokio::test]
async fn what_a_blocking_thread_allocates_counts_for_the_request_that_asked_for_it() {
    let ship = ship();
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        let work = attributed_fn(|| black_box(vec![1_u8; LARGE_LENGTH]).len());
        let length = tokio::task::spawn_blocking(work).await.unwrap();
        // One that is never run gives its part of the request back as well.
        drop(attributed_fn(|| ()));
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(length.to_string()))))
    });
    let service = MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(inner);
    service.oneshot(get()).await.unwrap();
    let memory = ship.route().memory.expect("attributed");
    assert!(near(memory.peak_bytes, LARGE), "{memory:?}");
    assert_eq!((ship.held(), memory.live_bytes), ((0, 0), 0), "{memory:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_or_a_panic_leaves_nothing_behind() {
    let ship = ship();
    let mut service =
        MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(service_fn(handler));
    let mut gone = task::spawn(service.ready().await.unwrap().call(get()));
    assert_pending!(gone.poll());
    drop(gone);
    let panics = service_fn(async |_: Request<Full<Bytes>>| {
        let _held = black_box(vec![1_u8; LARGE_LENGTH]);
        tokio::task::yield_now().await;
        if true {
            panic!("boom");
        }
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let panics = MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).layer(panics);
    tokio::spawn(panics.oneshot(get())).await.unwrap_err();
    assert_eq!(ship.held(), (0, 0));
    assert_eq!(ship.route().memory.expect("attributed").live_bytes, 0);
}

/// Waits for ever, holding memory.
async fn holding(bytes: usize) -> Result<Response<Full<Bytes>>, Infallible> {
    let _held = black_box(vec![1_u8; bytes]);
    std::future::pending().await
}

#[tokio::test]
async fn at_sustained_critical_the_largest_request_that_may_be_ended_is() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).cancel(Priority::Low).priority(|head| match head
        .uri
        .path()
    {
        "/low" => Priority::Low,
        _ => Priority::Normal,
    });
    let inner = service_fn(|request: Request<Full<Bytes>>| {
        holding(request.uri().query().unwrap().parse().unwrap())
    });
    let mut service = MemoryGuardLayer::new(config).layer(inner);
    let mut ask = |uri: &'static str| {
        let request = Request::builder().uri(uri).body(Full::default()).unwrap();
        let mut ready = task::spawn(());
        ready.enter(|cx, _| assert_ready_ok!(service.poll_ready(cx)));
        let mut asked = task::spawn(service.call(request));
        assert_pending!(asked.poll());
        asked
    };
    let (mut small, mut large) = (ask("/low?1000000"), ask("/low?9000000"));
    let mut normal = ask("/?20000000");
    // Sustained: seen twice, half a second apart.
    ship.use_bytes_at(310 * MB, Duration::ZERO).await;
    ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
    assert!(large.is_woken() && !small.is_woken() && !normal.is_woken());
    let answer = assert_ready!(large.poll()).unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    drop((answer, large));
    assert_pending!(small.poll());
    let figures = ship.plimsoll.report().guard;
    assert_eq!((figures.in_flight, figures.cancelled, figures.shed), (2, 1, 0));
    assert_eq!(ship.route().cancelled, 1);
    // One at a time: the next a tenth of a second later, and none once the list is through.
    ship.use_bytes_at(310 * MB, Duration::from_millis(100)).await;
    assert_eq!(assert_ready!(small.poll()).unwrap().status(), 503);
    ship.use_bytes_at(310 * MB, Duration::from_millis(100)).await;
    assert_pending!(normal.poll());
    assert_eq!(ship.plimsoll.report().guard.cancelled, 2);
}

#[tokio::test]
async fn an_answer_that_only_the_client_can_end_is_not_cancelled_in_the_place_of_one_that_can_be() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).cancel(Priority::Low).priority(|_| Priority::Low);
    let inner = service_fn(async |request: Request<Full<Bytes>>| match request.uri().path() {
        "/answers" => Ok(Response::new(Full::new(Bytes::from(vec![1; 8 * LARGE_LENGTH])))),
        _ => holding(1_000_000).await,
    });
    let mut service = MemoryGuardLayer::new(config).layer(inner);
    let mut ask = |uri: &'static str| {
        let request = Request::builder().uri(uri).body(Full::default()).unwrap();
        let mut ready = task::spawn(());
        ready.enter(|cx, _| assert_ready_ok!(service.poll_ready(cx)));
        task::spawn(service.call(request))
    };
    let mut waits = ask("/waits");
    assert_pending!(waits.poll());
    // The server has taken all out of the body and dropped it; the client is slow.
    let mut body = Box::pin(assert_ready!(ask("/answers").poll()).unwrap().into_body());
    let sent = task::spawn(()).enter(|cx, _| assert_ready!(body.as_mut().poll_frame(cx)));
    drop(body);
    ship.use_bytes_at(310 * MB, Duration::ZERO).await;
    ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
    assert!(waits.is_woken(), "the only one whose memory a cancellation frees");
    assert_eq!(assert_ready!(waits.poll()).unwrap().status(), 503);
    drop((sent, waits));
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn who_only_observes_cancels_nothing() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll)
        .observe_only(true)
        .cancel(Priority::Low)
        .priority(|_| Priority::Low);
    let inner = service_fn(|_: Request<Full<Bytes>>| holding(LARGE_LENGTH));
    let mut service = MemoryGuardLayer::new(config).layer(inner);
    let mut asked = task::spawn(service.ready().await.unwrap().call(get()));
    assert_pending!(asked.poll());
    ship.use_bytes_at(310 * MB, Duration::ZERO).await;
    ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
    assert!(!asked.is_woken());
    assert_pending!(asked.poll());
    assert_eq!(ship.plimsoll.report().guard.cancelled, 0);
}

/// A body whose length nobody knows, in chunks.
fn chunked(bytes: usize) -> Request<impl Body<Data = Bytes, Error = Infallible>> {
    let chunks = std::iter::repeat_n(Bytes::from(vec![7; bytes / 50]), 50);
    let frames = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    Request::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
}

#[tokio::test]
async fn a_body_that_is_charged_as_it_arrives_is_neither_charged_twice_nor_learned() {
    let ship = ship();
    let inner = service_fn(async |request: Request<ChargedBody<_>>| {
        let _copy = black_box(request.into_body().collect().await.unwrap().to_bytes().to_vec());
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = MemoryGuardLayer::new(GuardConfig::new(&ship.plimsoll)).charging_bodies();
    let mut service = layer.layer(inner);
    let mut asked = task::spawn(service.ready().await.unwrap().call(chunked(8 * LARGE_LENGTH)));
    let guessed = ship.held().1;
    assert_pending!(asked.poll());
    let held = ship.held().1;
    // Collected and copied, so that its peak is twice the body: once as charged, once as seen.
    assert!(held <= 8 * LARGE * 2 + guessed + SLACK, "{held}");
    drop(assert_ready!(asked.poll()));
    drop(asked);
    let memory = ship.route().memory.expect("attributed");
    assert!(memory.peak_bytes <= 8 * LARGE + SLACK, "{memory:?}");
    assert_eq!(ship.held(), (0, 0));
}

#[tokio::test]
async fn what_an_upload_has_brought_counts_when_the_largest_is_chosen() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).cancel(Priority::Low).priority(|_| Priority::Low);
    // What it collects was allocated elsewhere, as by a server's reads.
    let inner = service_fn(async |request: Request<ChargedBody<_>>| {
        let mut body = std::pin::pin!(request.into_body());
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            kept.push(frame.unwrap());
        }
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
    });
    let mut service = MemoryGuardLayer::new(config).charging_bodies().layer(inner);
    let mut small = task::spawn(service.ready().await.unwrap().call(chunked(500)));
    let mut large = task::spawn(service.ready().await.unwrap().call(chunked(8 * LARGE_LENGTH)));
    assert_pending!(large.poll());
    assert_pending!(small.poll());
    ship.use_bytes_at(310 * MB, Duration::ZERO).await;
    ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
    assert!(large.is_woken() && !small.is_woken());
}

#[tokio::test]
async fn a_response_that_has_begun_ends_with_an_error_when_it_is_cancelled() {
    struct Endless(#[expect(dead_code, reason = "held")] Vec<u8>);
    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).cancel(Priority::Low).priority(|_| Priority::Low);
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Endless(black_box(vec![1; LARGE_LENGTH]))))
    });
    let service = MemoryGuardLayer::new(config).layer(inner);
    let mut body = Box::pin(service.oneshot(get()).await.unwrap().into_body());
    let mut polled = task::spawn(());
    polled.enter(|cx, _| assert_pending!(body.as_mut().poll_frame(cx)));
    ship.use_bytes_at(310 * MB, Duration::ZERO).await;
    ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
    assert!(polled.is_woken());
    let frame = polled.enter(|cx, _| assert_ready!(body.as_mut().poll_frame(cx)));
    assert_eq!(frame.unwrap().unwrap_err(), MemoryGuardBodyError::Cancelled);
    assert_eq!(ship.held(), (0, 0), "its bytes are back although the body object is still there");
    assert!(polled.enter(|cx, _| assert_ready!(body.as_mut().poll_frame(cx))).is_none());
    drop(body);
    assert_eq!((ship.held(), ship.plimsoll.report().guard.cancelled), ((0, 0), 1));
}

/// What is done to a request at one of its awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    Panics,
    Cancelled,
    /// Once it is over, to see how many awaits there are.
    None,
}

/// Counts the polls of all parts of a request, and panics in the one that is its turn.
#[derive(Clone, Default)]
struct Fuse(Arc<(AtomicU64, AtomicU64)>);

impl Fuse {
    fn burns(&self) {
        if self.0.0.fetch_add(1, Relaxed) + 1 == self.0.1.load(Relaxed) {
            panic!("boom");
        }
    }
}

/// Says what it has to say in parts, between which it waits.
struct Parts {
    fuse: Fuse,
    left: Vec<Option<usize>>,
    _held: Vec<u8>,
}

impl Parts {
    fn new(fuse: &Fuse) -> Self {
        let left = vec![Some(100_000), None, Some(10), None, Some(1_000)];
        Self { fuse: fuse.clone(), left, _held: black_box(vec![1; 300_000]) }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.fuse.burns();
        match self.left.pop() {
            None => Poll::Ready(None),
            Some(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(vec![1; bytes].into())))),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }
}

/// Runs one request up to its `turn`th poll and lets `fate` come over it then; returns how many
/// polls there were.
async fn meets<S, R, B>(ship: &Ship, mut service: S, fuse: &Fuse, turn: u64, fate: Fate) -> u64
where
    S: Service<Request<Parts>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = MemoryGuardBodyError<B>>,
    B: std::fmt::Debug,
{
    fuse.0.1.store(if fate == Fate::Panics { turn } else { u64::MAX }, Relaxed);
    let mut ready = task::spawn(());
    ready.enter(|cx, _| assert!(service.poll_ready(cx).is_ready()));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut answer = Some(Box::pin(service.call(Request::new(Parts::new(fuse)))));
    let (mut body, mut sent) = (None, Vec::new());
    for polls in 1.. {
        if polls == turn && fate == Fate::Dropped {
            return polls;
        }
        if polls == turn && fate == Fate::Cancelled {
            ship.use_bytes_at(310 * MB, Duration::ZERO).await;
            ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
        }
        let polled = catch_unwind(AssertUnwindSafe(|| match (&mut answer, &mut body) {
            (Some(future), _) => {
                if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
                    let response = response.expect("infallible");
                    let refused = response.status() == 503;
                    body = Some(Box::pin(response.into_body()));
                    answer = None;
                    return refused;
                }
                false
            }
            (None, Some(body)) => match body.as_mut().poll_frame(&mut cx) {
                Poll::Pending => false,
                Poll::Ready(None) => true,
                Poll::Ready(Some(frame)) => match frame {
                    Ok(frame) => {
                        sent.push(frame);
                        body.is_end_stream()
                    }
                    Err(error) => {
                        assert!(matches!(error, MemoryGuardBodyError::Cancelled));
                        true
                    }
                },
            },
            (None, None) => unreachable!("one of them is there"),
        }));
        match polled {
            Ok(ended) => {
                assert!(ended || polls != turn || fate != Fate::Cancelled, "ended at once");
                if ended {
                    return polls;
                }
            }
            Err(_) => return polls,
        }
    }
    unreachable!()
}

#[tokio::test]
async fn whatever_comes_over_a_request_at_any_await_leaves_nothing_behind() {
    for charging in [false, true] {
        let mut most = u64::MAX;
        for fate in [Fate::None, Fate::Dropped, Fate::Panics, Fate::Cancelled] {
            let mut turn = 0;
            while turn < most {
                turn += 1;
                let ship = ship();
                let fuse = Fuse::default();
                let config = GuardConfig::new(&ship.plimsoll)
                    .cancel(Priority::Low)
                    .priority(|_| Priority::Low);
                let layer = MemoryGuardLayer::new(config);
                let burns = fuse.clone();
                let polls = if charging {
                    let inner = service_fn(move |request: Request<ChargedBody<Parts>>| {
                        collects(burns.clone(), request.into_body())
                    });
                    let service = layer.charging_bodies().layer(inner);
                    meets(&ship, service, &fuse, turn, fate).await
                } else {
                    let inner = service_fn(move |request: Request<Parts>| {
                        collects(burns.clone(), request.into_body())
                    });
                    meets(&ship, layer.layer(inner), &fuse, turn, fate).await
                };
                let guard = ship.plimsoll.report().guard;
                let case = format!("{fate:?} at {turn}, charging: {charging}");
                assert_eq!(ship.held(), (0, 0), "{case}");
                let route = ship.route();
                let live = route.memory.map_or(0, |memory| memory.live_bytes);
                assert_eq!((route.in_flight, route.reserved_bytes, live), (0, 0, 0), "{case}");
                assert_eq!(guard.cancelled, u64::from(fate == Fate::Cancelled), "{case}");
                if fate == Fate::None {
                    most = polls;
                }
            }
            assert!(most > 8, "{most} polls");
        }
    }
}

async fn collects<B: Body<Data = Bytes, Error: std::fmt::Debug>>(
    fuse: Fuse,
    body: B,
) -> Result<Response<Parts>, Infallible> {
    let mut body = std::pin::pin!(body);
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        kept.push(frame.unwrap().into_data().unwrap().to_vec());
        tokio::task::yield_now().await;
        fuse.burns();
    }
    tokio::task::yield_now().await;
    Ok(Response::new(Parts::new(&fuse)))
}

#[tokio::test]
async fn a_cancellation_that_nobody_took_notice_of_ends_with_the_pressure() {
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).cancel(Priority::Low).priority(|_| Priority::Low);
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Parts::new(&Fuse::default())))
    });
    let service = MemoryGuardLayer::new(config).layer(inner);
    // A server does not ask for more while its client does not read.
    let mut body = Box::pin(service.oneshot(get()).await.unwrap().into_body());
    ship.use_bytes_at(310 * MB, Duration::ZERO).await;
    ship.use_bytes_at(310 * MB, Duration::from_millis(600)).await;
    ship.use_bytes_at(50 * MB, Duration::from_millis(100)).await;
    ship.use_bytes_at(50 * MB, Duration::from_millis(600)).await;
    body.frame().await.unwrap().unwrap();
    assert_eq!(ship.plimsoll.report().guard.cancelled, 0);
}
