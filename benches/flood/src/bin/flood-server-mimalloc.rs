//! The flooded server on mimalloc.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(plimsoll_flood::tuning::mimalloc)
}
