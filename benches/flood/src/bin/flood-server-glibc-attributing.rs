//! The flooded server on glibc, which counts what each request allocates.
#![forbid(unsafe_code)]

use std::alloc::System;

use plimsoll::alloc::Attributing;

#[global_allocator]
static ALLOCATOR: Attributing<System> = Attributing::new(System);

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(plimsoll_flood::tuning::glibc)
}
