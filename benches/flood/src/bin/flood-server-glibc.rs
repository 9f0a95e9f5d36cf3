//! The flooded server on glibc.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    plimsoll_flood::serve(plimsoll_flood::tuning::glibc)
}
