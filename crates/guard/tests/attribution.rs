//! What requests allocate is counted for them and their routes, teaches what they cost, and the
//! largest can be ended. A program of its own, since it installs an allocator.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    alloc::System,
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use plimsoll_alloc::Attributing;
use plimsoll_core::{Attribute, Clock, MB, Plimsoll, Priority, RouteFigures, Thresholds};
use plimsoll_guard::{
    DEFAULT_REQUEST_COST_BYTES, GuardConfig, MemoryGuardBodyError, MemoryGuardLayer,
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

/// How a request comes to its end at one of its awaits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Dropped,
    Panics,
    Cancelled,
}

/// The awaits of the handler and of its body; each even one is pending once.
const AWAITS: u32 = 8;
const IN_HANDLER: u32 = 4;

/// Holds memory from step to step, and panics at one of them.
struct Steps {
    next: u32,
    panics_at: Option<u32>,
    held: Vec<u8>,
}

impl Steps {
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<u32> {
        let step = self.next;
        assert_ne!(Some(step), self.panics_at, "boom");
        self.next += 1;
        self.held.resize(self.held.len() + 100_000, 1);
        cx.waker().wake_by_ref();
        if step.is_multiple_of(2) { Poll::Pending } else { Poll::Ready(step) }
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.next >= AWAITS {
            return Poll::Ready(None);
        }
        this.step(cx).map(|_| Some(Ok(Frame::data(Bytes::from(vec![1; 40_000])))))
    }
}

/// Polls a request until it ends, or `end` ends it after so many polls; returns the status and
/// whether the body was cancelled.
async fn live_and_end(ship: &Ship, end: End, at: u32) -> (Option<u16>, bool) {
    let panics_at = (end == End::Panics).then_some(at);
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let mut steps = Some(Steps { next: 0, panics_at, held: Vec::new() });
        std::future::poll_fn(move |cx| {
            let all = steps.as_mut().expect("polled once too often");
            while all.next < IN_HANDLER {
                std::task::ready!(all.step(cx));
            }
            Poll::Ready(Ok::<_, Infallible>(Response::new(steps.take().expect("as above"))))
        })
    });
    let config = GuardConfig::new(&ship.plimsoll).cancel(Priority::Low).priority(|_| Priority::Low);
    let mut service = MemoryGuardLayer::new(config).layer(inner);
    let mut polls = 0;
    let mut future = Box::pin(service.ready().await.unwrap().call(get()));
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut body = None;
    loop {
        if polls == at && end == End::Dropped {
            return (None, false);
        }
        if polls == at && end == End::Cancelled {
            ship.use_bytes_at(340 * MB, Duration::from_secs(1)).await;
        }
        polls += 1;
        match &mut body {
            None => {
                if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
                    body = Some(Box::pin(answer.unwrap()));
                }
            }
            Some(response) => {
                let status = response.status().as_u16();
                match Pin::new(response.body_mut()).poll_frame(&mut context) {
                    Poll::Ready(None) => return (Some(status), false),
                    Poll::Ready(Some(Err(MemoryGuardBodyError::Cancelled))) => {
                        return (Some(status), true);
                    }
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn whatever_ends_a_request_at_whichever_await_nothing_is_left_behind() {
    for end in [End::Dropped, End::Panics, End::Cancelled] {
        for at in 0..AWAITS {
            let ship = ship();
            let ended = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(
                live_and_end(&ship, end, at),
            ));
            match (end, ended.await) {
                (End::Dropped, Ok((None, false))) | (End::Panics, Err(_)) => {}
                (End::Cancelled, Ok((Some(503), false))) => {
                    assert_eq!(ship.plimsoll.report().guard.cancelled, 1, "at {at}");
                }
                (End::Cancelled, Ok((Some(200), true))) => assert!(at > 0, "it had begun"),
                (_, ended) => panic!("{end:?} at {at}: {ended:?}"),
            }
            assert_eq!(ship.held(), (0, 0), "{end:?} at {at}");
            let live = ship.route().memory.map_or(0, |memory| memory.live_bytes);
            assert_eq!(live, 0, "{end:?} at {at}");
        }
    }
}
