//! A process whose memory does as it is told, and a mock service under the guard.

use std::{convert::Infallible, time::Duration};

use http::{Method, Request, Response};
use http_body::SizeHint;
use plimsoll_core::{Clock, GuardFigures, MB, Plimsoll, PressureLevel, Thresholds};
use plimsoll_guard::{GuardConfig, MemoryGuard, MemoryGuardFuture, MemoryGuardLayer};
use plimsoll_testkit::{ScriptHandle, ScriptedBody, ScriptedSource};
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service, service_fn};
use tower_test::mock::{self, Handle, Mock};

pub(crate) type Ask = Request<ScriptedBody>;
pub(crate) type Reply = Response<ScriptedBody>;
pub(crate) type MockGuard = mock::Spawn<MemoryGuard<Mock<Ask, Reply>>>;

/// Of an idle process; without a limit the load lines are at 250, 300 and 330 MB, so that 200,
/// 250 and 280 MB can be reserved.
pub(crate) const IDLE: u64 = 50 * MB;
pub(crate) const FULL: u64 = 400 * MB;

pub(crate) struct Ship {
    pub(crate) plimsoll: Plimsoll,
    pub(crate) script: ScriptHandle,
    pub(crate) clock: Clock,
}

impl Ship {
    /// Starts idle, with a clock that stands still.
    pub(crate) fn idle() -> Self {
        Self::with_usage(IDLE)
    }

    /// Starts full: critical, with no room for anybody.
    pub(crate) fn full() -> Self {
        Self::with_usage(FULL)
    }

    fn with_usage(bytes: u64) -> Self {
        let (source, script) = ScriptedSource::new();
        script.set_rss(bytes);
        let clock = Clock::manual(Duration::ZERO);
        let plimsoll = Plimsoll::builder()
            .thresholds(Thresholds::new(200 * MB, 300 * MB).unwrap())
            .check_interval(Duration::from_secs(600))
            .automatic_cleanup(false)
            .clock(clock.clone())
            .start_with(source)
            .unwrap();
        Self { plimsoll, script, clock }
    }

    /// Uses so much from now on.
    pub(crate) async fn use_bytes(&self, bytes: u64) {
        self.script.set_rss(bytes);
        self.plimsoll.check().await.unwrap();
    }

    /// Raises the thresholds above all that is used.
    pub(crate) fn relieve(&self) {
        self.plimsoll.set_thresholds(Thresholds::new(2_000 * MB, 3_000 * MB).unwrap()).unwrap();
        assert_eq!(self.plimsoll.level(), PressureLevel::Healthy);
    }

    pub(crate) fn config(&self) -> GuardConfig {
        GuardConfig::new(&self.plimsoll)
    }

    pub(crate) fn figures(&self) -> GuardFigures {
        self.plimsoll.report().guard
    }

    /// In flight, and bytes reserved for it.
    pub(crate) fn held(&self) -> (u64, u64) {
        let figures = self.figures();
        (figures.in_flight, figures.reserved_bytes)
    }

    /// Waits for the last reservation to go: where a connection's task drops it.
    pub(crate) async fn wait_until_empty(&self) {
        self.wait_until_held((0, 0)).await;
    }

    pub(crate) async fn wait_until_held(&self, expected: (u64, u64)) {
        in_time(async {
            while self.held() != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Fails rather than hangs.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.unwrap()
}

pub(crate) fn guarded(config: GuardConfig) -> (MockGuard, Handle<Ask, Reply>) {
    mock::spawn_layer(MemoryGuardLayer::new(config))
}

/// A guarded service that answers every request with 200 and no body.
pub(crate) fn ok_service(
    config: GuardConfig,
) -> impl Service<
    Ask,
    Response = Response<plimsoll_guard::MemoryGuardBody<ScriptedBody>>,
    Error = Infallible,
    Future: Send,
> + Clone {
    MemoryGuardLayer::new(config)
        .layer(service_fn(async |_: Ask| Ok::<_, Infallible>(Reply::default())))
}

pub(crate) fn get(path: &str) -> Ask {
    Request::builder().uri(path).body(ScriptedBody::new()).unwrap()
}

/// Declares a length in its head; its body says nothing of it.
pub(crate) fn post(path: &str, length: &str) -> Ask {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("content-length", length)
        .body(ScriptedBody::new().data("body").size_hint(SizeHint::default()))
        .unwrap()
}

/// A body whose length only its head tells, if that.
pub(crate) fn untold() -> ScriptedBody {
    ScriptedBody::new().size_hint(SizeHint::default())
}

/// Makes the service ready and calls it.
pub(crate) fn call<F>(service: &mut MockGuard, request: Ask) -> Spawn<MemoryGuardFuture<F>>
where
    MemoryGuard<Mock<Ask, Reply>>:
        Service<Ask, Future = MemoryGuardFuture<F>, Error: std::fmt::Debug>,
{
    tokio_test::assert_ready_ok!(service.poll_ready());
    task::spawn(service.call(request))
}
