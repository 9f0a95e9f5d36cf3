use tokio::sync::mpsc;

use super::*;
use crate::alerts::{AlertSinks, Delivery, FnSink, LogSink, NotificationKind::*};

/// What a test sink does with a try.
#[derive(Clone, Copy, Debug)]
enum Does {
    Deliver,
    Fail,
    FailForGood,
    AskFor(Duration),
    Panic,
    Hang,
}

/// Plays its script, then delivers; tells of every try.
struct Scripted {
    script: Mutex<VecDeque<Does>>,
    tries: mpsc::UnboundedSender<(NotificationKind, String)>,
}

impl AlertSink for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn deliver(&self, notification: AlertNotification) -> Delivery<'_> {
        let does = self.script.lock().unwrap().pop_front().unwrap_or(Does::Deliver);
        self.tries.send((notification.kind, notification.id)).unwrap();
        Box::pin(async move {
            match does {
                Does::Deliver => Ok(()),
                Does::Fail => Err(SinkError::new("busy")),
                Does::FailForGood => Err(SinkError::new("wrong token").permanent()),
                Does::AskFor(delay) => Err(SinkError::new("later").with_retry_after(delay)),
                Does::Panic => panic!("a sink that panics"),
                Does::Hang => std::future::pending().await,
            }
        })
    }
}

type Tries = mpsc::UnboundedReceiver<(NotificationKind, String)>;

fn scripted(script: &[Does]) -> (SinkQueue, Tries) {
    let (tries, tried) = mpsc::unbounded_channel();
    let sink = Scripted { script: Mutex::new(script.iter().copied().collect()), tries };
    (SinkQueue::spawn(Arc::new(sink), &Handle::current()), tried)
}

fn notification(id: &str, kind: NotificationKind) -> AlertNotification {
    let test = AlertNotification::test("", Duration::ZERO);
    AlertNotification { id: id.to_owned(), kind, ..test }
}

fn drain(tried: &mut Tries) -> Vec<(NotificationKind, String)> {
    std::iter::from_fn(|| tried.try_recv().ok()).collect()
}

fn tried(kind: NotificationKind, id: &str) -> (NotificationKind, String) {
    (kind, id.to_owned())
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn firing_and_resolved_arrive_in_order() {
    let (queue, mut tries) = scripted(&[]);
    queue.push(notification("a", Firing));
    assert_eq!(queue.flush(LONG).await, 0);
    queue.push(notification("a", Repeat));
    assert_eq!(queue.flush(LONG).await, 0);
    queue.push(notification("a", Resolved));
    assert_eq!(queue.flush(LONG).await, 0);
    let expected = [tried(Firing, "a"), tried(Repeat, "a"), tried(Resolved, "a")];
    assert_eq!(drain(&mut tries), expected);
    assert_eq!(queue.stats(), SinkStats { delivered: 3, ..Default::default() });
}

#[tokio::test(start_paused = true)]
async fn a_firing_that_resolves_while_it_waits_is_withdrawn_with_its_resolved() {
    let (queue, mut tries) = scripted(&[Does::Hang]);
    queue.push(notification("first", Firing));
    tries.recv().await;
    queue.push(notification("a", Firing));
    queue.push(notification("a", Resolved));
    assert_eq!(queue.flush(LONG).await, 0);
    assert_eq!(drain(&mut tries), [tried(Firing, "first")], "tried again, and nothing of a");
    assert_eq!(queue.stats().withdrawn, 1);
}

#[tokio::test(start_paused = true)]
async fn a_firing_that_resolves_between_two_tries_is_not_tried_again() {
    let (queue, mut tries) = scripted(&[Does::AskFor(Duration::from_secs(20))]);
    queue.push(notification("a", Firing));
    tries.recv().await;
    tokio::task::yield_now().await;
    let start = Instant::now();
    queue.push(notification("a", Resolved));
    assert_eq!(queue.flush(LONG).await, 0);
    assert_eq!(drain(&mut tries), []);
    assert!(start.elapsed() < Duration::from_secs(1), "the wait is cut short");
    let stats = queue.stats();
    assert_eq!((stats.delivered, stats.withdrawn), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_firing_under_delivery_when_it_resolves_is_followed_by_its_resolved_only_if_it_arrived() {
    for (does, then) in [(Does::Deliver, vec![tried(Resolved, "a")]), (Does::FailForGood, vec![])] {
        let (queue, mut tries) = scripted(&[does]);
        queue.push(notification("a", Firing));
        tries.recv().await;
        queue.push(notification("a", Resolved));
        assert_eq!(queue.flush(LONG).await, 0);
        assert_eq!(drain(&mut tries), then, "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn resolved_does_not_follow_a_firing_that_failed() {
    let (queue, mut tries) = scripted(&[Does::FailForGood]);
    queue.push(notification("a", Firing));
    queue.flush(LONG).await;
    queue.push(notification("a", Resolved));
    queue.push(notification("b", Resolved));
    assert_eq!(queue.flush(LONG).await, 0);
    assert_eq!(drain(&mut tries), [tried(Firing, "a")]);
    assert_eq!(queue.stats().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_three_times_with_growing_waits() {
    let (queue, mut tries) = scripted(&[Does::Fail; 3]);
    let start = Instant::now();
    queue.push(notification("a", Firing));
    assert_eq!(queue.flush(LONG).await, 0);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(drain(&mut tries).len(), 3);
    let stats = queue.stats();
    assert_eq!((stats.failed, stats.delivered), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_other_side_says_how_long_to_wait_within_bounds() {
    let (queue, mut tries) = scripted(&[Does::AskFor(Duration::from_secs(7)), Does::AskFor(LONG)]);
    let start = Instant::now();
    queue.push(notification("a", Firing));
    assert_eq!(queue.flush(LONG).await, 0);
    assert_eq!(start.elapsed(), Duration::from_secs(7 + 30));
    assert_eq!(drain(&mut tries).len(), 3);
    assert_eq!(queue.stats().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_or_hangs_ends_neither_the_queue_nor_the_wait() {
    let (queue, mut tries) = scripted(&[Does::Panic, Does::Hang, Does::Deliver]);
    let start = Instant::now();
    queue.push(notification("a", Firing));
    assert_eq!(queue.flush(LONG).await, 0);
    // 1 s of backoff, 5 s of hanging, 2 s of backoff.
    assert_eq!(start.elapsed(), Duration::from_secs(8));
    assert_eq!(drain(&mut tries).len(), 3);
    assert_eq!(queue.stats().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_firing_and_keeps_every_resolved() {
    let (queue, mut tries) = scripted(&[]);
    queue.push(notification("known", Firing));
    queue.flush(LONG).await;
    // Not polled meanwhile: this test does not yield.
    queue.push(notification("known", Resolved));
    for number in 0..100 {
        queue.push(notification(&format!("n{number}"), Firing));
    }
    assert_eq!(queue.stats().waiting, 64);
    assert_eq!(queue.stats().dropped, 37);
    queue.flush(LONG).await;
    let told = drain(&mut tries);
    assert_eq!(told[1], tried(Resolved, "known"));
    assert_eq!(told[2], tried(Firing, "n37"));
    assert_eq!(told.len(), 65);
}

#[tokio::test(start_paused = true)]
async fn reminders_do_not_pile_up_behind_a_slow_sink() {
    let (queue, mut tries) = scripted(&[Does::Hang]);
    queue.push(notification("first", Firing));
    tries.recv().await;
    queue.push(notification("a", Firing));
    (0..10).for_each(|_| queue.push(notification("a", Repeat)));
    queue.flush(LONG).await;
    assert_eq!(drain(&mut tries), [tried(Firing, "first"), tried(Firing, "a")]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_gives_up_at_its_deadline() {
    let (queue, mut tries) = scripted(&[Does::Hang; 3]);
    queue.push(notification("a", Firing));
    queue.push(notification("b", Firing));
    tries.recv().await;
    let start = Instant::now();
    assert_eq!(queue.flush(Duration::from_secs(2)).await, 2);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_queue_ends_its_task_and_the_delivery() {
    struct Held(mpsc::UnboundedSender<()>);
    impl AlertSink for Held {
        fn name(&self) -> &str {
            "held"
        }
        fn deliver(&self, _: AlertNotification) -> Delivery<'_> {
            self.0.send(()).unwrap();
            Box::pin(std::future::pending())
        }
    }
    let (sender, mut begun) = mpsc::unbounded_channel();
    let queue = SinkQueue::spawn(Arc::new(Held(sender)), &Handle::current());
    queue.push(notification("a", Firing));
    begun.recv().await;
    drop(queue);
    assert_eq!(begun.recv().await, None, "the sink and all that held it are gone");
}

#[tokio::test(start_paused = true)]
async fn a_test_tries_every_sink_once_and_tells_how_each_fared() {
    let sink = |does: Does| {
        let deliver = move |told: AlertNotification| async move {
            match does {
                Does::Fail if told.kind == Test => Err(SinkError::new("busy")),
                Does::Hang if told.kind == Test => std::future::pending().await,
                _ => Ok(()),
            }
        };
        Arc::new(FnSink::new(format!("{does:?}"), deliver)) as Arc<dyn AlertSink>
    };
    let sinks = [Does::Deliver, Does::Hang, Does::Fail].map(sink);
    let sinks = AlertSinks::spawn(sinks, &Handle::current());
    let start = Instant::now();
    let results = sinks.test(&AlertNotification::test("", Duration::ZERO)).await;
    assert_eq!(start.elapsed(), TRY_TIMEOUT, "side by side");
    let results: Vec<_> =
        results.iter().map(|test| (test.sink.as_str(), test.error.as_deref())).collect();
    assert_eq!(
        results,
        [
            (LogSink::NAME, None),
            ("Deliver", None),
            ("Hang", Some("no answer within 5 s")),
            ("Fail", Some("busy")),
        ]
    );

    sinks.send(&notification("a", Firing));
    assert_eq!(sinks.flush(LONG).await, 0);
    assert_eq!(sinks.logged(), 1);
    assert!(sinks.stats().iter().all(|(_, stats)| stats.delivered == 1));
}
