//! Many sockets, all cut at once, half of them with a handler that hangs; again and again.

use std::{error::Error, time::Duration};

use plimsoll_core::CleanupTrigger;
use plimsoll_sockets::ConnectionRegistry;

use crate::{
    Options,
    process::{Other, live, rss},
    server::{half_hung, plimsoll, serve, until},
};

const SOCKETS: usize = 5_000;
const CYCLES: usize = 10;
const SHORT_DEADLINE: Duration = Duration::from_secs(1);
const REAL_DEADLINE: Duration = Duration::from_secs(15);
/// What the end may take beyond the deadline.
const SLACK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let sockets_wanted = options.sockets.unwrap_or(SOCKETS);
    let deadline = if options.full { REAL_DEADLINE } else { SHORT_DEADLINE };
    let plimsoll = plimsoll()?;
    let sockets =
        ConnectionRegistry::builder().plimsoll(&plimsoll).cleanup_timeout(deadline).build()?;
    let address = serve(half_hung(&sockets)).await?;
    println!(
        "{sockets_wanted} sockets, half of their handlers hung, all cut; deadline {deadline:?}"
    );
    println!(
        "cycle  open RSS  RSS after  to cycle 1   live heap  forced  last gone after  releases"
    );
    let mut first = None;
    let mut worst: f64 = 0.0;
    let cycles = options.cycles.unwrap_or(CYCLES);
    for cycle in 1..=cycles {
        let (forced, cleanups) = (sockets.report().forced, plimsoll.cleanups(50).len());
        let client = Other::start(&["client", &address, &sockets_wanted.to_string()])?;
        let wanted = sockets_wanted as u64;
        until("all are open", PATIENCE, || sockets.report().open == wanted).await?;
        let open_rss = rss()?;
        client.cut()?;
        until("the cut is detected", PATIENCE, || sockets.report().open == 0).await?;
        let gone = until("none is left", deadline + SLACK, || {
            let report = sockets.report();
            report.closing == 0 && report.lingering == 0
        })
        .await?;
        until("the release", PATIENCE, || {
            plimsoll.cleanups(50).len() > cleanups.min(49)
                && plimsoll
                    .cleanups(50)
                    .first()
                    .is_some_and(|cleanup| cleanup.trigger == CleanupTrigger::Disconnect)
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = rss()?;
        let base = *first.get_or_insert(after);
        let ratio = self::ratio(after, base);
        worst = worst.max(ratio);
        println!(
            "{cycle:5}  {:5} MB  {:6} MB  {ratio:10.3}  {:6.2} MB  {:6}  {:13.1} s  {:8}",
            open_rss / 1_000_000,
            after / 1_000_000,
            self::ratio(live()?, 1_000_000),
            sockets.report().forced - forced,
            gone.as_secs_f64(),
            plimsoll.cleanups(50).len(),
        );
    }
    println!("worst to cycle 1: {worst:.3} (goal 1.15)");
    plimsoll.shutdown().await;
    if worst > 1.15 { Err("the working set drifts".into()) } else { Ok(()) }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 9 PB")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
