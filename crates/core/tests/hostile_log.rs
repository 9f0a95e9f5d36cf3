//! A log that panics costs the program its log, not its sampler.

use std::sync::atomic::{AtomicBool, Ordering};

use plimsoll_core::{MB, Plimsoll, PressureLevel, Thresholds};
use plimsoll_testkit::ScriptedSource;
use tracing::{Event, Metadata, Subscriber, span};

static HOSTILE: AtomicBool = AtomicBool::new(false);

/// Panics with whatever the sampler says.
struct Hostile;

impl Subscriber for Hostile {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        let sampler = std::thread::current().name() == Some("plimsoll-sampler");
        assert!(!(sampler && HOSTILE.load(Ordering::SeqCst)), "the log panics");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn the_sampler_goes_on_when_the_log_panics() {
    tracing::subscriber::set_global_default(Hostile).expect("the only one");
    let (source, script) = ScriptedSource::with_rss(10 * MB);
    let thresholds = Thresholds::new(200 * MB, 300 * MB).expect("ordered");
    let plimsoll = Plimsoll::builder().thresholds(thresholds).start_with(source).expect("starts");
    HOSTILE.store(true, Ordering::SeqCst);
    script.set_rss(350 * MB);
    // It changes the level, which is logged.
    let _ = plimsoll.check().await;
    while plimsoll.failed_readings() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(plimsoll.level(), PressureLevel::Critical, "what it found is in force");
    HOSTILE.store(false, Ordering::SeqCst);
    script.set_rss(400 * MB);
    let reading = plimsoll.check().await.expect("it goes on");
    assert_eq!(reading.rss_bytes, Some(400 * MB));
    assert!(plimsoll.report().reading_error.is_none());
    plimsoll.shutdown().await;
}
