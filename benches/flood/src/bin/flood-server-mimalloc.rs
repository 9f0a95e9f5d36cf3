//! The flooded server on mimalloc.
#![forbid(unsafe_code)]

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(|| {
        plimsoll::alloc::mimalloc::purge_after(Duration::ZERO);
    })
}
