//! The flooded server on glibc.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(|| {
        plimsoll::alloc::glibc::fix_mmap_threshold(1 << 20);
    })
}
