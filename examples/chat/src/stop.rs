//! One flag that tells many tasks to end.

use tokio::sync::watch;

/// Hears of the stop.
pub(crate) type Stop = watch::Receiver<bool>;

/// Completes when the tasks are to end, at once when they already were.
///
/// # Cancel safety
///
/// Can be dropped and called again.
pub(crate) async fn stopped(stop: &mut Stop) {
    // An error means that the sender is gone, which is a reason to end as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
