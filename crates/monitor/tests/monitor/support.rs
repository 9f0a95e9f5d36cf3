//! A server in memory, and what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Builder};
use http_body_util::{BodyExt, Full};
use plimsoll_core::{
    Clock, MB, Plimsoll, PlimsollBuilder, RetentionOutcome, RetentionReport, RetentionRuleFigures,
    RetentionRun, RetentionRunner, Thresholds,
};
use plimsoll_monitor::{Monitor, MonitorBody, MonitorRouteLayer, PeerAddr};
use plimsoll_testkit::{ScriptHandle, ScriptedSource};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt};

pub(crate) const MEMORY: &str = "/api/monitoring/memory";
pub(crate) const AGGRESSIVE: &str = "/api/cleanup/aggressive";
pub(crate) const STREAM: &str = "/api/monitoring/stream";

/// The application behind the monitor.
#[derive(Clone, Debug)]
pub(crate) struct App;

impl<B> Service<Request<B>> for App {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(Ok(Response::new(Full::from("app"))))
    }
}

/// A process that holds 1400 MB, under the default thresholds.
pub(crate) struct Server {
    pub(crate) plimsoll: Plimsoll,
    pub(crate) script: ScriptHandle,
    pub(crate) app: Monitor<App>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Plimsoll::builder(), |layer| layer)
    }

    pub(crate) fn with(
        builder: PlimsollBuilder,
        change: impl FnOnce(MonitorRouteLayer) -> MonitorRouteLayer,
    ) -> Self {
        let (source, script) = ScriptedSource::with_rss(1_400 * MB);
        let plimsoll = builder.start_with(source).expect("starts");
        let app = change(MonitorRouteLayer::new(&plimsoll)).layer(App);
        Self { plimsoll, script, app }
    }

    pub(crate) async fn ask<B>(&self, request: Request<B>) -> Response<MonitorBody<Full<Bytes>>>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.app.clone().oneshot(request).await.expect("infallible")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.ask(local(Method::GET, path).body(empty()).expect("a request")).await).await
    }

    /// Posts JSON, as the command line tool does.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let request = local(Method::POST, path).header("content-type", "application/json");
        let body = Full::<Bytes>::from(body.to_owned());
        Answer::of(self.ask(request.body(body).expect("a request")).await).await
    }
}

/// A clock that stands still until it is told.
pub(crate) fn still() -> Clock {
    Clock::manual(Duration::from_secs(1_767_868_200))
}

/// So far away that the sampler looks no more often than the check interval asks.
pub(crate) fn far_thresholds() -> Thresholds {
    Thresholds::new(u64::MAX / 4, u64::MAX / 2).expect("in order")
}

/// A request made on this machine.
pub(crate) fn local(method: Method, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:3000")
        .extension(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 50_000))))
}

pub(crate) fn empty() -> Full<Bytes> {
    Full::default()
}

/// An answer with all of its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(response: Response<MonitorBody<Full<Bytes>>>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body: body.collect().await.expect("infallible").to_bytes() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// `data` of a success.
    pub(crate) fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status(), &json["success"]), (StatusCode::OK, &true.into()), "{json}");
        assert_eq!(self.header("content-type"), "application/json");
        json["data"].clone()
    }

    /// A refusal, which has everything that one must have.
    pub(crate) fn problem(&self, status: u16, slug: &str) -> Value {
        let json = self.json();
        assert_eq!(self.status().as_u16(), status, "{json}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(json["success"], false, "{json}");
        assert_eq!(json["status"], status, "{json}");
        assert_eq!(json["type"], format!("https://plimsoll.rs/problems/{slug}"), "{json}");
        for member in ["error", "title", "detail", "instance"] {
            assert!(json[member].is_string(), "{member} of {json}");
        }
        json
    }
}

/// Runs no database: answers what it was told to.
pub(crate) struct Rules(Vec<RetentionRun>, Mutex<Vec<bool>>);

impl Rules {
    /// Each run that was asked for: whether it was a dry one.
    pub(crate) fn asked(&self) -> Vec<bool> {
        self.1.lock().unwrap().clone()
    }
}

impl RetentionRunner for Rules {
    fn report(&self) -> RetentionReport {
        let mut report = RetentionReport::default();
        report.database = "sqlite".to_owned();
        report.rules = self.0.iter().map(figures).collect();
        report
    }

    fn run(
        self: Arc<Self>,
        dry_run: bool,
    ) -> Pin<Box<dyn Future<Output = Vec<RetentionRun>> + Send>> {
        self.1.lock().unwrap().push(dry_run);
        Box::pin(std::future::ready(self.0.clone()))
    }

    fn stop(&self) {}

    fn stopped(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

fn figures(run: &RetentionRun) -> RetentionRuleFigures {
    let mut figures = RetentionRuleFigures::default();
    figures.rule.clone_from(&run.rule);
    figures.backlog = Some(3);
    figures.deleted_total = 2;
    figures.last_success = Some(1_767_868_200_000);
    figures.last = Some(run.clone());
    figures
}

/// A runner of rules that end so, named `rule_0` and on.
pub(crate) fn rules(outcomes: &[RetentionOutcome]) -> Arc<Rules> {
    let runs = outcomes.iter().enumerate().map(|(at, outcome)| {
        let mut run = RetentionRun::default();
        run.rule = format!("rule_{at}");
        run.outcome = *outcome;
        run
    });
    Arc::new(Rules(runs.collect(), Mutex::default()))
}
