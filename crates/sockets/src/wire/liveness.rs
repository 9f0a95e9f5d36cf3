//! Whether the peer is still there.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{cause::CloseCause, entry::millis, limits::SocketLimits};

/// Longer than any socket lives, and short enough to be added to a moment: a program that wants no
/// pings says `Duration::MAX`.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Asks after a while of silence, and gives the peer a while to answer. Anything that it sends
/// is an answer.
pub(super) struct Liveness {
    started: Instant,
    ping_interval: Duration,
    pong_deadline: Duration,
    /// Milliseconds from `started` to the last frame.
    heard_ms: AtomicU64,
    frames: AtomicU64,
    /// Rung for the watch with each frame.
    frame: Notify,
    /// Whether nothing is read since the handler takes nothing.
    blocked: AtomicBool,
    /// Rung for the one that writes.
    pub(super) ping_due: Notify,
}

impl Liveness {
    pub(super) fn new(limits: &SocketLimits) -> Self {
        Self {
            started: Instant::now(),
            ping_interval: limits.ping_interval.min(NEVER),
            pong_deadline: limits.pong_deadline.min(NEVER),
            heard_ms: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            frame: Notify::new(),
            blocked: AtomicBool::new(false),
            ping_due: Notify::new(),
        }
    }

    pub(super) fn heard(&self) {
        self.heard_ms.store(millis(self.started.elapsed()), Relaxed);
        self.frames.fetch_add(1, Relaxed);
        self.frame.notify_one();
    }

    pub(super) fn blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
        if !blocked {
            self.heard();
        }
    }

    /// Ends when the peer is gone, or when the handler left it unheard for as long.
    pub(super) async fn watch(&self) -> CloseCause {
        loop {
            let heard = self.started + Duration::from_millis(self.heard_ms.load(Relaxed));
            let due = heard + self.ping_interval;
            if Instant::now() < due {
                tokio::time::sleep_until(due).await;
                continue;
            }
            let frames = self.frames.load(Relaxed);
            self.ping_due.notify_one();
            let deadline = Instant::now() + self.pong_deadline;
            // The bell may have kept a ring from before the ping.
            while self.frames.load(Relaxed) == frames {
                if timeout_at(deadline, self.frame.notified()).await.is_err() {
                    return match self.blocked.load(Relaxed) {
                        true => CloseCause::Stalled,
                        false => CloseCause::PingTimeout,
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silence_is_answered_by_a_ping_at_twenty_seconds_and_given_up_at_forty() {
        let liveness = Liveness::new(&SocketLimits::chat());
        let start = Instant::now();
        let pinged = async {
            liveness.ping_due.notified().await;
            start.elapsed()
        };
        let (cause, pinged) = tokio::join!(liveness.watch(), pinged);
        assert_eq!((pinged, start.elapsed()), (20 * SECOND, 40 * SECOND));
        assert_eq!(cause, CloseCause::PingTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_is_heard_is_an_answer_and_the_silence_counts_anew() {
        let liveness = Liveness::new(&SocketLimits::chat());
        let start = Instant::now();
        let peer = async {
            tokio::time::sleep(10 * SECOND).await;
            liveness.heard();
            liveness.ping_due.notified().await;
            let pinged = start.elapsed();
            tokio::time::sleep(19 * SECOND).await;
            liveness.heard();
            pinged
        };
        let (_, pinged) = tokio::join!(liveness.watch(), peer);
        // Heard at 10, pinged at 30, heard at 49, pinged at 69, given up at 89.
        assert_eq!((pinged, start.elapsed()), (30 * SECOND, 89 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_no_pings_gets_none() {
        let mut limits = SocketLimits::chat();
        (limits.ping_interval, limits.pong_deadline) = (Duration::MAX, Duration::MAX);
        let liveness = Liveness::new(&limits);
        let week = 7 * 24 * 3_600 * SECOND;
        assert!(tokio::time::timeout(week, liveness.watch()).await.is_err());
        assert!(tokio::time::timeout(SECOND, liveness.ping_due.notified()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_not_read_is_no_dead_peer() {
        let liveness = Liveness::new(&SocketLimits::chat());
        liveness.blocked(true);
        assert_eq!(liveness.watch().await, CloseCause::Stalled);
    }
}
