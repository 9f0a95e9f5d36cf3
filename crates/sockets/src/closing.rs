//! How a connection ends: at once for the peer, within the deadline for everything it owns.

use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use plimsoll_core::{CleanupLevel, CleanupTrigger, Plimsoll};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    cause::CloseCause,
    entry::{Entry, Leaving},
    inner::Inner,
};

/// An aborted task ends at its next await point; one that has not ended by then blocks a thread.
const ABORT_GRACE: Duration = Duration::from_millis(500);
/// After a wave, closings are waited for at most so long, so that what they free can be released:
/// a little more than the default deadline.
const LONGEST_SETTLING: Duration = Duration::from_secs(17);
/// A wave that has begun goes on for so long at least: what ends at once is not waited for alone.
const WAVE_GOES_ON: Duration = Duration::from_millis(250);
/// The least time between the releases of two waves.
const BETWEEN_RELEASES: Duration = Duration::from_secs(10);

impl Entry {
    /// Begins the closing, whose deadline counts from now whatever the cause. `false` when it
    /// has begun already.
    pub(crate) fn begin_close(self: &Arc<Self>, cause: CloseCause) -> bool {
        let Some(Leaving { hooks, rooms }) = self.enter_closing(&cause) else { return false };
        let detected = Instant::now();
        let inner = &self.inner;
        // Up before down, so that nobody who adds the two misses one.
        inner.counts.closing.fetch_add(1, Relaxed);
        inner.counts.open.fetch_sub(1, Relaxed);
        inner.counts.transports[self.transport().index()].fetch_sub(1, Relaxed);
        inner.rooms.leave_all(self.id, &rooms);
        inner.note_event("closing", self.id, Some(cause.as_str().to_owned()));
        tracing::debug!(connection = self.id, cause = cause.as_str(), "connection closing");
        inner.note_disconnect();
        for hook in hooks {
            // A task each: they run at the same time, and a panic is that of one.
            self.spawn_hook(hook);
        }
        // This task is the connection's own and ends by the deadline. On a runtime that has
        // ended it is dropped at once, and ends the connection in that.
        let end = End(Arc::clone(self));
        drop(inner.runtime.spawn(end.run(detected)));
        true
    }

    /// Removes the connection now, whatever it still owns.
    pub(crate) fn finish(self: &Arc<Self>) {
        let named = self.holders();
        let Some(held) = self.enter_closed() else { return };
        let counts = &self.inner.counts;
        if held {
            counts.forced.fetch_add(1, Relaxed);
            let named = named.join(", ");
            tracing::warn!(
                connection = self.id,
                peer = self.meta.peer.as_deref(),
                opened_at = %self.opened_at(),
                held_by = named,
                "connection removed at its deadline; what remains is aborted"
            );
            self.inner.note_event("forced", self.id, Some(named));
        } else {
            self.inner.note_event("closed", self.id, None);
        }
        counts.closed.fetch_add(1, Relaxed);
        counts.closing.fetch_sub(1, Relaxed);
        self.inner.remove(self);
    }
}

/// Ends the connection when dropped, also unpolled.
struct End(Arc<Entry>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl End {
    async fn run(self, detected: Instant) {
        let entry = &self.0;
        let deadline = detected + entry.inner.cleanup_timeout;
        let _ = timeout_at(deadline, entry.drained()).await;
        entry.finish();
        if timeout(ABORT_GRACE, entry.drained()).await.is_err() {
            let named = entry.holders().join(", ");
            tracing::error!(
                connection = entry.id,
                held_by = named,
                "connection lingers: a task does not yield, or a handle is kept"
            );
            entry.inner.note_event("lingering", entry.id, Some(named));
        }
    }
}

/// Takes a reading and releases pages once the closings of a wave have ended; again if another
/// wave came meanwhile. One task at a time does this, for the registry that knows it.
pub(crate) async fn release_after_waves(registry: Weak<Inner>, plimsoll: Plimsoll) {
    loop {
        settled(&registry).await;
        if plimsoll.is_shutting_down() || !plimsoll.cleans_by_itself() {
            return;
        }
        let _ = plimsoll.check().await;
        // It reads, releases and measures; it prunes only where memory is short anyway. Its
        // record is in the history.
        match plimsoll.start_cleanup(CleanupLevel::Moderate, CleanupTrigger::Disconnect) {
            Ok(cleanup) => drop(cleanup.finished().await),
            Err(error) => tracing::debug!(%error, "no release after a mass disconnect"),
        }
        // A server whose clients come and go by the hundred is not to be released all the time.
        tokio::time::sleep(BETWEEN_RELEASES).await;
        if !registry.upgrade().is_some_and(|inner| inner.waves_go_on()) {
            return;
        }
    }
}

/// Waits until nothing closes any more, or for long enough. It holds no registry meanwhile.
async fn settled(registry: &Weak<Inner>) {
    let Some(gone) = registry.upgrade().map(|inner| Arc::clone(&inner.gone)) else { return };
    let ended = async {
        tokio::time::sleep(WAVE_GOES_ON).await;
        loop {
            let mut gone = std::pin::pin!(gone.notified());
            gone.as_mut().enable();
            let closing = registry.upgrade().map(|inner| inner.counts.closing.load(Relaxed));
            if closing.is_none_or(|closing| closing == 0) {
                return;
            }
            gone.await;
        }
    };
    let _ = timeout(LONGEST_SETTLING, ended).await;
}
