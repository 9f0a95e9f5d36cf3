//! A server whose memory is scripted, with everything that the dashboard shows.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::BodyExt as _;
use plimsoll::{HeapFigures, Holding, PlimsollBuilder, ReleaseBackend, prelude::*};
use plimsoll_testkit::{Answer, RecordingPruner, ScriptHandle, ScriptedSource};
use plimsoll_tests::Http;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// What the answers of the server are made to say beyond what it knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// Members of the report, such as `sockets`.
    pub(crate) report: Value,
    /// Members of the first event of a stream, such as `samples`.
    pub(crate) snapshot: Value,
    /// Samples that a stream brings after its first event, as fast as they are taken; the last one's
    /// figure is 1.99 GB. None come after them.
    pub(crate) flood: u64,
    /// What every answer of `answers` is instead, unless null.
    pub(crate) problem: Value,
    /// Whole answers by the end of their path.
    pub(crate) answers: Vec<(&'static str, Value)>,
}

/// How a [`Site`] is made.
pub(crate) struct Plan {
    pub(crate) access: Access,
    pub(crate) prefix: &'static str,
    pub(crate) instance: &'static str,
    pub(crate) registry: CleanupRegistry,
    pub(crate) extra: Extra,
    pub(crate) port: u16,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            access: Access::Loopback,
            prefix: "",
            instance: "shop@host-1",
            registry: CleanupRegistry::new(),
            extra: Extra::default(),
            port: 0,
        }
    }
}

/// A running server on threads of its own, so that it can be gone in an instant.
pub(crate) struct Site {
    runtime: Option<Runtime>,
    address: SocketAddr,
    prefix: &'static str,
    pub(crate) plimsoll: Plimsoll,
    pub(crate) script: ScriptHandle,
    pub(crate) pruner: RecordingPruner,
    pub(crate) extra: Arc<Mutex<Extra>>,
    _registrations: Vec<Registration>,
}

/// Gives 40 MB back, as an allocator would.
struct Allocator(ScriptHandle);

impl ReleaseBackend for Allocator {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn release(&self) {
        self.0.update(|reading| {
            reading.rss_bytes = reading.rss_bytes.map(|rss| rss.saturating_sub(40 * MB));
        });
    }
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::with(Plan::default())
    }

    pub(crate) fn with(plan: Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let (source, script) = ScriptedSource::with_rss(1_400 * MB);
        script.set_heap(HeapFigures::new(1_100 * MB, 1_250 * MB));
        script.set_limit(4_000 * MB);
        // What it removes is what it says: 950 entries of 12 MB.
        let pruner = RecordingPruner::new(Answer::Claim(Pruned::entries(950).bytes(12 * MB)))
            .holding(Holding::new(Some(1_000), Some(13 * MB)))
            .preview(Pruned::entries(950).bytes(12 * MB));
        let registration = plan.registry.register("socket_events", pruner.clone());
        let plimsoll = builder(&plan, &script).start_with(source).unwrap();
        let extra = Arc::new(Mutex::new(plan.extra));
        let app = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/orders/{id}", get(|| async { "an order" }))
            .layer(MemoryGuardLayer::new(GuardConfig::new(&plimsoll)))
            .layer(MonitorRouteLayer::new(&plimsoll).access(plan.access).prefix(plan.prefix))
            .layer(middleware::from_fn_with_state(Arc::clone(&extra), patched));
        let listener = TcpListener::bind(("127.0.0.1", plan.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self {
            runtime: Some(runtime),
            address,
            prefix: plan.prefix,
            plimsoll,
            script,
            pruner,
            extra,
            _registrations: vec![registration],
        }
    }

    /// The address of the page.
    pub(crate) fn page(&self) -> String {
        format!("http://{}{}/monitoring/", self.address, self.prefix)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(self.address)
    }

    /// Cuts every connection at once, as a process that is killed does.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

fn builder(plan: &Plan, script: &ScriptHandle) -> PlimsollBuilder {
    Plimsoll::builder()
        .instance(plan.instance)
        .registry(plan.registry.clone())
        .metric(MemoryMetric::Rss)
        .thresholds(Thresholds::new(2_000 * MB, 3_000 * MB).unwrap())
        .check_interval(std::time::Duration::from_millis(100))
        // Cleanups are those that a test asks for.
        .automatic_cleanup(false)
        .release_backend(Arc::new(Allocator(script.clone())))
}

async fn patched(State(extra): State<Arc<Mutex<Extra>>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let extra = extra.lock().unwrap().clone();
    if let Some((_, answer)) = extra.answers.iter().find(|(end, _)| path.ends_with(end)) {
        if !extra.problem.is_null() {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return (status, extra.problem.to_string()).into_response();
        }
        let status = if answer.is_null() { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let answer = json!({ "success": true, "data": answer }).to_string();
        return (status, [(CONTENT_TYPE, "application/json")], answer).into_response();
    }
    let is_get = request.method() == "GET";
    let (mut head, body) = next.run(request).await.into_parts();
    if is_get && path.ends_with("/monitoring/memory") && head.status == StatusCode::OK {
        let mut answer: Value =
            serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
        merge(&mut answer["data"], &extra.report);
        head.headers.remove(CONTENT_LENGTH);
        return (head, Body::from(answer.to_string())).into_response();
    }
    if path.ends_with("/monitoring/stream") && head.status == StatusCode::OK {
        if extra.flood > 0 {
            return (head, flooded(body, extra.flood).await).into_response();
        }
        let body = body.map_frame(move |frame| frame.map_data(|data| event(data, &extra)));
        return (head, Body::new(body)).into_response();
    }
    (head, body).into_response()
}

/// The first event of the stream, then samples, a second apart by their own account.
async fn flooded(mut body: Body, samples: u64) -> Body {
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = str::from_utf8(&first).unwrap();
    let snapshot: Value = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
    let known = snapshot["samples"].as_array().unwrap().last();
    let begin = known.map_or(1_767_868_200_000, |sample| sample["timestamp"].as_u64().unwrap());
    let sample = move |index: u64| {
        let figure = if index == samples { 1_990 } else { 1_400 + index % 400 };
        let sample = json!({
            "timestamp": begin + index * 1_000, "figure": figure * MB, "rss": figure * MB,
            "heapUsed": 900 * MB, "limit": 4_000 * MB, "level": "healthy",
            "reserved": 0, "inFlight": index % 7, "shed": index / 50,
        });
        Bytes::from(format!("event: sample\ndata: {sample}\n\n"))
    };
    let all = futures_util::stream::iter(std::iter::once(first).chain((1..=samples).map(sample)));
    // Then silence, as on a server whose clock stands still.
    let all = futures_util::StreamExt::chain(all, futures_util::stream::pending());
    Body::from_stream(futures_util::StreamExt::map(all, Ok::<_, std::convert::Infallible>))
}

/// Each event of the stream is one frame.
fn event(data: Bytes, extra: &Extra) -> Bytes {
    let text = str::from_utf8(&data).unwrap();
    if !text.contains("event: snapshot\n") {
        return data;
    }
    let (before, json) = text.split_once("data: ").unwrap();
    let mut snapshot: Value = serde_json::from_str(json.trim()).unwrap();
    merge(&mut snapshot["report"], &extra.report);
    merge(&mut snapshot, &extra.snapshot);
    Bytes::from(format!("{before}data: {snapshot}\n\n"))
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// An hour of figures between 1.00 GB and 1.80 GB, one each 10 s, until `now`.
pub(crate) fn an_hour(now: u64) -> Value {
    let sample = |index: u64| {
        let wave = (index % 60).abs_diff(30);
        json!({
            "timestamp": now - (360 - index) * 10_000,
            "figure": (1_000_000_000 + wave * 800_000_000 / 30),
            "rss": 1_200_000_000, "heapUsed": 900_000_000, "limit": 4_000_000_000_u64,
            "level": "healthy", "reserved": 0, "inFlight": 3, "shed": 0,
        })
    };
    (0..360).map(sample).collect()
}
