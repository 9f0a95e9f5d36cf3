use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two looks at a condition that nothing announces.
const BEAT: Duration = Duration::from_millis(10);

/// Waits for an event that announces itself.
///
/// # Panics
/// When it takes longer than `limit`; `what` says in the message what was waited for.
pub async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    match timeout(limit, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Looks every 10 ms until there is something to see: for conditions that nothing announces,
/// such as the end of another process. A test that can hear of an event waits for it by
/// [`within`] instead.
///
/// # Panics
/// When it takes longer than `limit`; `what` says in the message what was waited for.
pub async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let seen = async {
        loop {
            beat.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    within(limit, what, seen).await
}
