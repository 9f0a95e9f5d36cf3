//! Runs the rules every interval, until a shutdown.

use std::{sync::Arc, time::Duration};

use plimsoll_core::RetentionRunner;

use crate::{pace::stagger, retention::Inner, run::CRITICAL};

/// How often a run that is due looks whether memory is short still.
const CRITICAL_CHECK: Duration = Duration::from_secs(1);

pub(crate) async fn keep(inner: Arc<Inner>) {
    let around = &inner.around;
    while !around.is_stopped() {
        let wait = stagger(inner.interval, fastrand::f64());
        around.state.next_run(Some(around.clock.wall() + wait));
        around.wait(wait).await;
        if around.is_critical() {
            around.state.paused(Some(CRITICAL));
            while around.is_critical() && !around.is_stopped() {
                around.wait(CRITICAL_CHECK).await;
            }
            around.state.paused(None);
        }
        if !around.is_stopped() {
            // In a task of its own, so that a panic ends that run and not the schedule.
            RetentionRunner::run(Arc::clone(&inner), false).await;
        }
    }
    around.state.next_run(None);
}
