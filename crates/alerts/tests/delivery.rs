//! From a memory reading to a receiver on the other end of a socket.

mod support;

use std::time::Duration;

use plimsoll_alerts::{SIGNATURE_HEADER, SlackSink, WebhookSink, verify_signature};
use plimsoll_core::{MB, Plimsoll, PlimsollBuilder, PressureLevel, Thresholds};
use plimsoll_testkit::{ScriptHandle, ScriptedSource};

use self::support::{Does, Receiver};

const KEY: &[u8] = b"a key that both sides know";

fn webhook(receiver: &Receiver) -> WebhookSink {
    WebhookSink::new(receiver.url().parse().expect("a URL")).expect("plain HTTP")
}

fn builder() -> PlimsollBuilder {
    Plimsoll::builder()
        .thresholds(Thresholds::new(1_000 * MB, 2_000 * MB).expect("ordered"))
        .automatic_cleanup(false)
        .instance("shop@host")
}

fn start(builder: PlimsollBuilder) -> (Plimsoll, ScriptHandle) {
    let (source, script) = ScriptedSource::with_rss(100 * MB);
    (builder.start_with(source).expect("starts"), script)
}

/// Lets memory cross critical and waits until that is known.
async fn fill(plimsoll: &Plimsoll, script: &ScriptHandle) {
    script.set_rss(2_500 * MB);
    plimsoll.check().await.expect("readable");
    assert_eq!(plimsoll.level(), PressureLevel::Critical);
}

/// The notifications of a sink that came to an end, by outcome.
fn outcomes(plimsoll: &Plimsoll, sink: &str) -> (u64, u64, u64) {
    let stats = plimsoll.alerts().sinks().stats();
    let (_, stats) = stats.into_iter().find(|(name, _)| *name == sink).expect("known");
    (stats.delivered, stats.failed, stats.withdrawn)
}

#[tokio::test]
async fn memory_that_crosses_critical_and_returns_is_one_firing_and_one_resolved() {
    let mut receiver =
        Receiver::start([Does::Say("429 Too Many Requests\r\nretry-after: 0")]).await;
    let (plimsoll, script) = start(builder().alert_sink(webhook(&receiver).signed_with(KEY)));
    fill(&plimsoll, &script).await;
    let refused = receiver.next().await;
    let firing = receiver.next().await;
    assert_eq!((refused.accepted, firing.accepted), (false, true));
    // A try that is repeated says the same, so that a receiver can tell that it is one.
    assert_eq!((&refused.body, refused.head), (&firing.body, firing.head.clone()));
    assert_eq!(firing.alert(), ("MemoryCritical".to_owned(), "firing".to_owned()));
    assert!(
        firing.head.starts_with("POST /s3cret-path?key=s3cret-query HTTP/1.1\r\n"),
        "{}",
        firing.head
    );
    assert_eq!(firing.header("content-type"), Some("application/json"));
    assert_eq!(firing.header("host"), Some(receiver.address.to_string().as_str()));

    script.set_rss(100 * MB);
    let resolved = receiver.next().await;
    assert_eq!(resolved.alert(), ("MemoryCritical".to_owned(), "resolved".to_owned()));
    for (arrived, other) in [(&firing, &resolved), (&resolved, &firing)] {
        let signature = arrived.header(SIGNATURE_HEADER).expect("signed");
        assert!(verify_signature(KEY, &arrived.body, signature));
        assert!(!verify_signature(KEY, &other.body, signature));
        assert!(!verify_signature(b"another", &arrived.body, signature));
    }
    let (firing, resolved) = (firing.json(), resolved.json());
    assert_eq!(firing["groupKey"], resolved["groupKey"]);
    for same in ["fingerprint", "labels", "startsAt"] {
        assert_eq!(firing["alerts"][0][same], resolved["alerts"][0][same], "{same}");
    }
    assert_eq!(firing["commonLabels"]["instance"], "shop@host");

    plimsoll.shutdown().await;
    assert!(receiver.rest().is_empty(), "nothing else was sent");
    assert_eq!(outcomes(&plimsoll, "webhook"), (2, 0, 0));
    assert_eq!(counted(&plimsoll, "webhook", "delivered"), 2);
    assert_eq!(counted(&plimsoll, "webhook", "failed"), 0);
}

/// `plimsoll_alert_notifications_total` as a recorder sees it.
fn counted(plimsoll: &Plimsoll, sink: &str, outcome: &str) -> u64 {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || plimsoll.telemetry().emit());
    let found =
        recorder.snapshotter().snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
            let key = key.key();
            let has = |name, value| {
                key.labels().any(|label| (label.key(), label.value()) == (name, value))
            };
            let is_it = key.name() == "plimsoll_alert_notifications_total"
                && has("sink", sink)
                && has("outcome", outcome);
            match value {
                DebugValue::Counter(count) if is_it => Some(count),
                _ => None,
            }
        });
    found.unwrap_or_else(|| panic!("{sink} {outcome} is not counted"))
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_the_others_nor_the_sampler() {
    let mut hanging = Receiver::start(vec![Does::Hang; 100]).await;
    let mut well = Receiver::start([]).await;
    let builder = builder()
        .alert_sink(webhook(&hanging).named("hanging"))
        .alert_sink(webhook(&well).named("well"));
    let (plimsoll, script) = start(builder);
    fill(&plimsoll, &script).await;
    hanging.next().await;
    assert_eq!(well.next().await.alert().1, "firing");
    script.set_rss(100 * MB);
    assert_eq!(well.next().await.alert().1, "resolved");
    plimsoll.check().await.expect("still looks");
    // Shown as it was received: what the queue counts comes a moment later.
    assert_eq!(outcomes(&plimsoll, "hanging").0, 0);
    assert!(well.rest().is_empty());
}

#[tokio::test]
async fn a_firing_that_nobody_took_is_dropped_with_its_end() {
    let busy = "503 Service Unavailable\r\nretry-after: 30";
    let mut receiver = Receiver::start([Does::Say(busy)]).await;
    let (plimsoll, script) =
        start(builder().alert_cooldown(Duration::ZERO).alert_sink(webhook(&receiver)));
    fill(&plimsoll, &script).await;
    let first = receiver.next().await.json();
    // It waits for its second try when memory returns, and is withdrawn.
    script.set_rss(100 * MB);
    let withdrawn = async {
        while outcomes(&plimsoll, "webhook").2 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), withdrawn).await.expect("withdrawn");
    fill(&plimsoll, &script).await;
    let second = receiver.next().await;
    assert_eq!(second.alert().1, "firing");
    let id = |body: &serde_json::Value| body["alerts"][0]["annotations"]["alertId"].clone();
    assert_ne!(id(&second.json()), id(&first));
    plimsoll.shutdown().await;
    assert!(receiver.rest().is_empty());
    assert_eq!(outcomes(&plimsoll, "webhook"), (1, 0, 1));
}

#[tokio::test]
async fn a_test_says_of_each_sink_how_it_fared_and_shows_no_url() {
    let mut good = Receiver::start([]).await;
    let moved = Receiver::start([Does::Say("302 Found\r\nlocation: http://127.0.0.1:9/")]).await;
    let wrong = Receiver::start([Does::Say("404 s3cret-reason")]).await;
    let foreign = Receiver::start([Does::Raw(b"SSH-2.0-s3cret\r\n\r\n")]).await;
    let closing = Receiver::start([Does::Raw(b"")]).await;
    let gone = Receiver::start([]).await.url();
    let builder = builder()
        .alert_sink(SlackSink::new(good.url().parse().expect("a URL")).expect("plain"))
        .alert_sink(webhook(&moved).named("moved"))
        .alert_sink(webhook(&wrong).named("wrong"))
        .alert_sink(webhook(&foreign).named("foreign"))
        .alert_sink(webhook(&closing).named("closing"))
        .alert_sink(WebhookSink::new(gone.parse().expect("a URL")).expect("plain").named("gone"));
    let (plimsoll, _script) = start(builder);
    let tests = plimsoll.alerts().test().await;
    let told: Vec<_> =
        tests.iter().map(|test| (test.sink.as_str(), test.error.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("log", None),
            ("slack", None),
            ("moved", Some("the receiver answered 302 Found")),
            ("wrong", Some("the receiver answered 404 Not Found")),
            ("foreign", Some("the answer is not HTTP")),
            ("closing", Some("the connection ended before an answer came")),
            ("gone", Some("cannot connect: connection refused")),
        ]
    );
    let text = good.next().await.json()["text"].clone();
    assert_eq!(text, "ℹ️ Test shop@host: this is a test, nothing is wrong");
}
