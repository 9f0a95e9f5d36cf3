//! The flooded server on mimalloc, which counts what each request allocates.
#![forbid(unsafe_code)]

use plimsoll::alloc::Attributing;

#[global_allocator]
static ALLOCATOR: Attributing<mimalloc::MiMalloc> = Attributing::new(mimalloc::MiMalloc);

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(plimsoll_flood::tuning::mimalloc)
}
