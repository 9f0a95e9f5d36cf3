//! Whatever happens to a notification, no output holds a part of its URL or the key.
//!
//! A program of its own: the log is the whole process's.

mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use plimsoll_alerts::{EnvSinks, WebhookSink};
use plimsoll_core::{MB, Plimsoll, Thresholds, env::EnvSettings};
use plimsoll_testkit::ScriptedSource;

use self::support::{Does, Receiver};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_output_holds_a_part_of_a_url() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let mut wrong = Receiver::start(vec![Does::Say("403 Forbidden"); 9]).await;
    let vars = [
        ("ALERT_WEBHOOK_URL", wrong.url()),
        ("ALERT_SLACK_URL", "http://127.0.0.1:1/s3cret-slack".to_owned()),
    ];
    let vars = vars.map(|(name, value)| (name.into(), value.into()));
    let settings = EnvSettings::from_vars(vars).expect("URLs");
    let sinks = EnvSinks::of(&settings).expect("usable");
    let mut shown = format!("{settings:?} {sinks:?}");
    let (webhook, slack) = (sinks.webhook.expect("set"), sinks.slack.expect("set"));
    let webhook: WebhookSink = webhook.signed_with("s3cret-key");
    shown.push_str(&format!("{webhook:?} {slack:?}"));

    let (source, script) = ScriptedSource::with_rss(100 * MB);
    let plimsoll = Plimsoll::builder()
        .env_settings(settings)
        .thresholds(Thresholds::new(1_000 * MB, 2_000 * MB).expect("ordered"))
        .automatic_cleanup(false)
        .alert_sink(webhook)
        .alert_sink(slack)
        .start_with(source)
        .expect("starts");
    script.set_rss(2_500 * MB);
    plimsoll.check().await.expect("readable");
    wrong.next().await;
    shown.push_str(&format!(
        "{:?} {plimsoll:?} {:?}",
        plimsoll.alerts().test().await,
        plimsoll.alerts()
    ));
    shown.push_str(&serde_json::to_string(&plimsoll.report()).expect("plain data"));
    shown.push_str(&format!("{:?}", plimsoll.settings()));
    plimsoll.shutdown().await;

    let log = String::from_utf8(log.0.lock().expect("whole").clone()).expect("text");
    assert!(log.contains("alert was not delivered") && log.contains("403 Forbidden"), "{log}");
    for secret in ["s3cret", "127.0.0.1"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(!log.contains("s3cret") && !log.contains("127.0.0.1"), "{log}");
}
