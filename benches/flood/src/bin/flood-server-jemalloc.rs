//! The flooded server on jemalloc.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(plimsoll_flood::tuning::jemalloc)
}
