//! The services that are compared, and the loop that drives them.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    path::Path,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use axum::{Router, routing::any};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use plimsoll_core::{Admission, GuardMode, MB, Plimsoll, PressureLevel};
use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
use plimsoll_testkit::ScriptedSource;
use tower::{Layer, Service, ServiceBuilder};

use crate::reading::{Reader, Untold};

/// Requests made outside the counted loop, then served inside it.
pub(crate) const ROUND: u64 = 64;

/// What an admitted request may cost beyond the bare service, with a body or without.
const MOST_INSTRUCTIONS: u64 = 100;
/// The same around a router: its future is copied once more, and its body asked for its length
/// through a table of functions.
const MOST_AROUND_ROUTER: u64 = 180;
/// What a check of the level alone may cost.
const MOST_OF_LEVEL: u64 = 12;
/// What a refusal may cost: all of it, since it does not run what it refuses. The goal is 400; to
/// drop the request with its headers, as the bare service does, is more than that already.
const MOST_OF_REFUSAL: u64 = 2_200;

/// A file that does not exist, looked for before and after the rounds.
pub(crate) const MARK: &str = "/plimsoll-admission-mark";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    stack: Stack,
    ask: Ask,
    /// Cloned for each request, as hyper and axum do.
    cloned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Bare,
    Guard,
    /// Asks for the level and nothing else: what the cheapest check there could be costs.
    Level,
    /// The guard while memory is critical: everything is refused.
    Refusing,
    /// A service that reads its body.
    Reader,
    /// The same under the guard that charges bodies as they arrive.
    Charging,
    /// The nearest that tower itself has.
    LoadShedConcurrencyLimit,
    Router,
    GuardedRouter,
}

/// The most instructions of a variant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    None,
    OverBare(u64),
    All(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Without a single header, as in a unit test.
    Bare,
    Get,
    Post,
    /// With a body of one chunk whose length nobody declares.
    Chunked,
}

const fn variants(stack: Stack, ask: Ask) -> [Variant; 2] {
    [Variant { stack, ask, cloned: false }, Variant { stack, ask, cloned: true }]
}

impl Variant {
    pub(crate) fn all() -> &'static [Self] {
        const ALL: [[Variant; 2]; 17] = [
            variants(Stack::Bare, Ask::Bare),
            variants(Stack::Bare, Ask::Get),
            variants(Stack::Bare, Ask::Post),
            variants(Stack::Guard, Ask::Bare),
            variants(Stack::Guard, Ask::Get),
            variants(Stack::Guard, Ask::Post),
            variants(Stack::Level, Ask::Get),
            variants(Stack::Refusing, Ask::Get),
            variants(Stack::Reader, Ask::Get),
            variants(Stack::Reader, Ask::Post),
            variants(Stack::Reader, Ask::Chunked),
            variants(Stack::Charging, Ask::Get),
            variants(Stack::Charging, Ask::Post),
            variants(Stack::Charging, Ask::Chunked),
            variants(Stack::LoadShedConcurrencyLimit, Ask::Get),
            variants(Stack::Router, Ask::Get),
            variants(Stack::GuardedRouter, Ask::Get),
        ];
        ALL.as_flattened()
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().iter().copied().find(|variant| variant.name() == name)
    }

    pub(crate) fn bare(self) -> Self {
        let stack = match self.stack {
            Stack::Router | Stack::GuardedRouter => Stack::Router,
            Stack::Reader | Stack::Charging => Stack::Reader,
            _ => Stack::Bare,
        };
        Self { stack, ..self }
    }

    pub(crate) fn is_guarded(self) -> bool {
        matches!(
            self.stack,
            Stack::Guard | Stack::GuardedRouter | Stack::Charging | Stack::Refusing
        )
    }

    /// The most instructions there may be.
    pub(crate) fn limit(self) -> Limit {
        match self.stack {
            Stack::Guard => Limit::OverBare(MOST_INSTRUCTIONS),
            Stack::GuardedRouter => Limit::OverBare(MOST_AROUND_ROUTER),
            Stack::Level => Limit::OverBare(MOST_OF_LEVEL),
            Stack::Refusing => Limit::All(MOST_OF_REFUSAL),
            _ => Limit::None,
        }
    }

    pub(crate) fn name(self) -> String {
        let stack = match self.stack {
            Stack::Bare => "bare",
            Stack::Guard => "guard",
            Stack::Level => "level alone",
            Stack::Refusing => "guard refusing",
            Stack::Reader => "reader",
            Stack::Charging => "guard charging bodies",
            Stack::Router => "axum Router",
            Stack::GuardedRouter => "guard around axum Router",
            Stack::LoadShedConcurrencyLimit => "LoadShed + ConcurrencyLimit",
        };
        let ask = match self.ask {
            Ask::Bare => "GET without headers",
            Ask::Get => "GET",
            Ask::Post => "POST",
            Ask::Chunked => "POST of unknown length",
        };
        let kept = if self.cloned { "cloned" } else { "held" };
        format!("{stack}, {ask}, {kept}")
    }

    pub(crate) fn run(self, rounds: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime with a clock");
        let _entered = runtime.enter();
        let (source, script) = ScriptedSource::new();
        script.set_rss(if self.stack == Stack::Refusing { 3_500 * MB } else { 100 * MB });
        let plimsoll = Plimsoll::builder().start_with(source).expect("a readable source");
        let config = GuardConfig::new(&plimsoll).exempt("/livez").exempt("/internal/*");
        let inner = Hello::<0>;
        let guard = MemoryGuardLayer::new(config);
        let told = std::convert::identity;
        match (self.stack, self.ask) {
            (Stack::Bare, _) => self.drive(inner, told, rounds),
            (Stack::Guard, _) => self.drive(guard.layer(inner), told, rounds),
            (Stack::Refusing, _) => {
                self.drive_for::<503, _, _, _>(guard.layer(Hello::<2>), told, rounds);
            }
            (Stack::Level, _) => {
                let admission = plimsoll.admission(GuardMode::Enforce);
                self.drive(LevelOnly { inner: Hello, admission }, told, rounds);
            }
            (Stack::Reader, Ask::Chunked) => self.drive(Reader, Untold, rounds),
            (Stack::Reader, _) => self.drive(Reader, told, rounds),
            (Stack::Charging, Ask::Chunked) => {
                self.drive(guard.charging_bodies().layer(Reader), Untold, rounds);
            }
            (Stack::Charging, _) => self.drive(guard.charging_bodies().layer(Reader), told, rounds),
            (Stack::Router, _) => self.drive(router(), told, rounds),
            (Stack::GuardedRouter, _) => self.drive(guard.layer(router()), told, rounds),
            (Stack::LoadShedConcurrencyLimit, _) => {
                let stack = ServiceBuilder::new().load_shed().concurrency_limit(1_000);
                self.drive(stack.service(inner), told, rounds);
            }
        }
    }

    fn drive<S, Q, B>(self, service: S, body: fn(Full<Bytes>) -> Q, rounds: u64)
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone,
    {
        self.drive_for::<200, S, Q, B>(service, body, rounds);
    }

    /// Known to the compiler, since one more argument would cost the guard four instructions.
    fn drive_for<const STATUS: u16, S, Q, B>(
        self,
        mut service: S,
        body: fn(Full<Bytes>) -> Q,
        rounds: u64,
    ) where
        S: Service<Request<Q>, Response = Response<B>> + Clone,
    {
        for round in 0..=rounds {
            // Before and after a first round, in which everything is set up, marking included.
            if round <= 1 {
                mark();
            }
            let requests: Vec<_> = (0..ROUND).map(|_| self.ask.request().map(body)).collect();
            if self.cloned {
                serve_round_cloned::<STATUS, _, _, _>(&service, requests);
            } else {
                serve_round::<STATUS, _, _, _>(&mut service, requests);
            }
        }
        mark();
    }
}

fn router() -> Router {
    Router::new().route("/", any(async || ()))
}

/// Makes one system call that stands out in a trace.
fn mark() {
    assert!(!Path::new(MARK).exists(), "{MARK} is nobody's file");
}

impl Ask {
    fn request(self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        let posts = matches!(self, Self::Post | Self::Chunked);
        *request.method_mut() = if posts { Method::POST } else { Method::GET };
        let headers = request.headers_mut();
        if self == Self::Bare {
            return request;
        }
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:3000"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static("curl/8"));
        if posts {
            *request.body_mut() = Full::new(Bytes::from_static(&[b'x'; 1024]));
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if self == Self::Post {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("1024"));
            }
        }
        request
    }
}

/// Answers at once. Neither step is inlined, as no router or handler is: the optimizer would
/// else melt the bare service into the loop, and charge the guard for the difference.
///
/// `USE` makes types of their own for rows that are compared with others: code that is shared is
/// inlined in fewer places, and a row would be charged for there being another.
#[derive(Clone)]
struct Hello<const USE: u8>;

struct HelloFuture<const USE: u8>(Option<Request<Full<Bytes>>>);

impl<const USE: u8> Service<Request<Full<Bytes>>> for Hello<USE> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = HelloFuture<USE>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: Request<Full<Bytes>>) -> HelloFuture<USE> {
        HelloFuture(Some(request))
    }
}

impl<const USE: u8> Future for HelloFuture<USE> {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        drop(black_box(self.0.take()));
        Poll::Ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello")))))
    }
}

/// Passes on what it is given unless memory is critical.
#[derive(Clone)]
struct LevelOnly {
    inner: Hello<1>,
    admission: Admission,
}

impl Service<Request<Full<Bytes>>> for LevelOnly {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = HelloFuture<1>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> HelloFuture<1> {
        assert!(self.admission.level() < PressureLevel::Critical, "100 MB are not critical");
        self.inner.call(request)
    }
}

#[inline(never)]
fn serve_round<const STATUS: u16, S, Q, B>(service: &mut S, requests: Vec<Request<Q>>)
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    for request in requests {
        serve::<STATUS, _, _, _>(service, request);
    }
}

#[inline(never)]
fn serve_round_cloned<const STATUS: u16, S, Q, B>(service: &S, requests: Vec<Request<Q>>)
where
    S: Service<Request<Q>, Response = Response<B>> + Clone,
{
    for request in requests {
        serve::<STATUS, _, _, _>(&mut service.clone(), request);
    }
}

/// `poll_ready`, `call`, one `poll`, and everything is dropped.
#[inline(never)]
fn serve<const STATUS: u16, S, Q, B>(service: &mut S, request: Request<Q>)
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let mut future = pin!(service.call(request));
    let polled = future.as_mut().poll(&mut context);
    assert!(matches!(&polled, Poll::Ready(Ok(response)) if response.status() == STATUS));
    black_box(&polled);
}
