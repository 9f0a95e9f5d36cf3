//! The allocation meter that a Plimsoll is started with is the one that it hands out.

use std::sync::Arc;

use plimsoll_core::{AllocationMeter, MeterMark, MeterUsage, Plimsoll, PlimsollBuilder};
use plimsoll_testkit::ScriptedSource;

/// Tells the number that it was made with.
struct Tells(u64);

impl AllocationMeter for Tells {
    fn enter(&self) -> MeterMark {
        MeterMark::new(-1, self.0, 0)
    }

    fn leave(&self, mark: MeterMark) -> MeterUsage {
        MeterUsage { allocated_bytes: mark.freed_bytes(), ..MeterUsage::default() }
    }
}

/// What the meter of a Plimsoll started from `builder` tells.
async fn told(builder: PlimsollBuilder) -> Option<u64> {
    let (source, _) = ScriptedSource::with_rss(1);
    let plimsoll = builder.start_with(source).expect("starts");
    let meter = plimsoll.allocation_meter();
    plimsoll.shutdown().await;
    drop(plimsoll);
    // Still there, since requests may be.
    meter.map(|meter| meter.leave(meter.enter()).allocated_bytes)
}

#[tokio::test]
async fn the_meter_that_was_set_wins_over_the_default_in_whatever_order() {
    assert_eq!(told(Plimsoll::builder()).await, None);
    let (set, default) = (Arc::new(Tells(1)), Arc::new(Tells(2)));
    let builder = || Plimsoll::builder().default_allocation_meter(default.clone());
    assert_eq!(told(builder()).await, Some(2));
    assert_eq!(told(builder().allocation_meter(set.clone())).await, Some(1));
    let builder = Plimsoll::builder().allocation_meter(set).default_allocation_meter(default);
    assert_eq!(told(builder).await, Some(1));
}
