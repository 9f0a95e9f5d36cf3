//! Where the program has installed the counting allocator, `start` finds it.
//!
//! Alone in its binary: it installs an allocator.

use std::{alloc::System, hint::black_box};

use plimsoll::{Plimsoll, Start as _, alloc::Attributing};

#[global_allocator]
static ALLOCATOR: Attributing<System> = Attributing::new(System);

#[tokio::test]
async fn an_installed_counting_allocator_is_the_meter() {
    let plimsoll = Plimsoll::builder().start().expect("starts");
    let meter = plimsoll.allocation_meter().expect("installed above");
    let mark = meter.enter();
    drop(black_box(vec![1_u8; 100_000]));
    assert_eq!(meter.leave(mark).peak_bytes, 100_000);
    plimsoll.shutdown().await;
}
