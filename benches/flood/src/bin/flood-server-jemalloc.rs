//! The flooded server on jemalloc.
#![forbid(unsafe_code)]

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(|| {
        plimsoll::alloc::jemalloc::give_back_after(Duration::ZERO);
    })
}
