//! The flooded server on jemalloc, which counts what each request allocates.
#![forbid(unsafe_code)]

use plimsoll::alloc::Attributing;

#[global_allocator]
static ALLOCATOR: Attributing<tikv_jemallocator::Jemalloc> =
    Attributing::new(tikv_jemallocator::Jemalloc);

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(plimsoll_flood::tuning::jemalloc)
}
