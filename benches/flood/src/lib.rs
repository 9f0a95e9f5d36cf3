//! The server that the flood hits, shared by one program per allocator, and the guards that it
//! can be put behind.
//!
//! The flood itself is the program `plimsoll-flood`; see its README for what it measures.
#![forbid(unsafe_code)]

mod guard;
mod server;

pub use self::{
    guard::{Guard, MB, UnknownGuard},
    server::{serve, tuning},
};
