//! Figures and release of the program's allocator, for Plimsoll.
//!
//! An allocator keeps what a program frees. The resident set stays up, and a guard that decides by it
//! sheds for ever although the memory is free to use. A [`ReleaseBackend`] gives such pages back to the
//! system, and a [`HeapSource`] tells how much of the resident set the program really holds. And where
//! the application has put [`Attributing`] over its allocator, [`attribution`] tells what one stretch of
//! a thread's work allocates: a request, for instance.
//!
//! ```
//! for backend in plimsoll_alloc::program_backends() {
//!     backend.release();
//! }
//! if let Some(figures) = plimsoll_alloc::program_heap().and_then(|heap| heap.figures()) {
//!     println!("{} of {} bytes in use", figures.allocated_bytes, figures.resident_bytes);
//! }
//! ```
//!
//! # What it protects
//! The one crate of Plimsoll with `unsafe` code: calls of the C library and of the allocators that its
//! features name, and an allocator that hands every call on. It installs no allocator and changes no
//! setting unless called for it; its only state is three numbers for each thread, which stay zero
//! unless the application has installed [`Attributing`].
//!
//! # What it cannot see
//! - Fragmentation: a page is given back only when nothing on it is in use.
//! - Heaps of allocators that no feature names. A program with jemalloc or mimalloc has a glibc heap as
//!   well (its C libraries use it), so releasing glibc's is right there too, while its figures would
//!   tell a fraction: [`system_heap`] then gives none.
//! - Systems without glibc: there [`system_backends`] is empty and [`system_heap`] is `None`.
//! - Who allocated a block: what a thread frees counts for the scope that it is in, whoever made it.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `jemalloc` | no | `Jemalloc`: release and heap figures; `jemalloc::give_back_after` |
//! | `mimalloc` | no | `Mimalloc`: release; `mimalloc::forbid_huge_pages`, `mimalloc::purge_after`. mimalloc tells no heap figures |
//!
//! A feature builds the allocator's C code and installs nothing; what it adds is in use where the
//! application has made that allocator its own. The crates that do so are `tikv-jemallocator` and
//! `mimalloc`; a program has one copy of the C code under them, so their versions have to fit the
//! ones that this crate asks for (`tikv-jemalloc-sys` 0.6 or 0.7, `libmimalloc-sys` 0.1).
//!
//! MSRV: 1.88.
#![deny(unsafe_op_in_unsafe_fn)]

use std::sync::Arc;

use plimsoll_core::{HeapSource, ReleaseBackend};

mod attributing;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod glibc;
#[cfg(feature = "jemalloc")]
pub mod jemalloc;
#[cfg(feature = "mimalloc")]
pub mod mimalloc;
mod tally;

pub use self::attributing::{Attributing, Attribution, attribution};
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use self::glibc::Glibc;
#[cfg(feature = "jemalloc")]
pub use self::jemalloc::Jemalloc;
#[cfg(feature = "mimalloc")]
pub use self::mimalloc::Mimalloc;

/// The release backends of the C library that this program runs on: glibc's where its C libraries
/// allocate from it, or none. Finding out allocates 40 MiB for a moment, without touching them.
pub fn system_backends() -> Vec<Arc<dyn ReleaseBackend>> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    return match Glibc.serves_c_libraries() {
        true => vec![Arc::new(Glibc)],
        false => Vec::new(),
    };
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    return Vec::new();
}

/// The figures of the C library's heap, where the program's Rust code allocates there.
///
/// `None` where it does not: with another global allocator the C library's figures would pass a
/// fraction for the whole. Finding out allocates 40 MiB for a moment, without touching them.
pub fn system_heap() -> Option<Arc<dyn HeapSource>> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    return Glibc.serves_this_program().then(|| Arc::new(Glibc) as Arc<dyn HeapSource>);
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    return None;
}

/// The release backends of every allocator that this program uses: of those that a feature names
/// the ones that its Rust code allocates from, and the C library's, which its C libraries use.
pub fn program_backends() -> Vec<Arc<dyn ReleaseBackend>> {
    let mut backends: Vec<Arc<dyn ReleaseBackend>> = Vec::new();
    #[cfg(feature = "jemalloc")]
    if Jemalloc.serves_this_program() {
        backends.push(Arc::new(Jemalloc));
    }
    #[cfg(feature = "mimalloc")]
    if Mimalloc.serves_this_program() {
        backends.push(Arc::new(Mimalloc));
    }
    backends.extend(system_backends());
    backends
}

/// The figures of the heap that this program's Rust code allocates from: jemalloc's with the feature,
/// or the C library's. `None` where it does not tell them (mimalloc) or is not known.
pub fn program_heap() -> Option<Arc<dyn HeapSource>> {
    #[cfg(feature = "jemalloc")]
    if Jemalloc.serves_this_program() {
        return Some(Arc::new(Jemalloc));
    }
    system_heap()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The tests of an allocator that serves the program stand in binaries of their own.
    #[test]
    fn an_allocator_that_is_linked_and_not_installed_is_not_taken_for_the_programs() {
        #[cfg(feature = "jemalloc")]
        assert!(!Jemalloc.serves_this_program());
        #[cfg(feature = "mimalloc")]
        assert!(!Mimalloc.serves_this_program());
        let names = |backends: Vec<Arc<dyn ReleaseBackend>>| {
            backends.iter().map(|backend| backend.name()).collect::<Vec<_>>()
        };
        assert_eq!(names(program_backends()), names(system_backends()));
        assert_eq!(program_heap().is_some(), system_heap().is_some());
    }
}
