//! Whether the peer is still there.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{cause::CloseCause, entry::millis, limits::SocketLimits};

/// Asks after a while of silence, and gives the peer a while to answer. Anything that it sends
/// is an answer.
pub(super) struct Liveness {
    started: Instant,
    ping_interval: Duration,
    pong_deadline: Duration,
    /// Milliseconds from `started` to the last frame.
    heard_ms: AtomicU64,
    frames: AtomicU64,
    /// Whether nothing is read since the handler takes nothing.
    blocked: AtomicBool,
    /// Rung for the one that writes.
    pub(super) ping_due: Notify,
}

impl Liveness {
    pub(super) fn new(limits: &SocketLimits) -> Self {
        Self {
            started: Instant::now(),
            ping_interval: limits.ping_interval,
            pong_deadline: limits.pong_deadline,
            heard_ms: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            ping_due: Notify::new(),
        }
    }

    pub(super) fn heard(&self) {
        self.heard_ms.store(millis(self.started.elapsed()), Relaxed);
        self.frames.fetch_add(1, Relaxed);
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
            tokio::time::sleep(self.pong_deadline).await;
            if self.frames.load(Relaxed) == frames {
                return match self.blocked.load(Relaxed) {
                    true => CloseCause::Stalled,
                    false => CloseCause::PingTimeout,
                };
            }
        }
    }
}
