//! Where a program has put another `malloc` in the place of glibc's, glibc is not told as a backend.
//!
//! A binary of its own: the symbols that it exports take the place of the C library's, for the whole
//! process, as those of jemalloc without a prefix would.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(unsafe_code, reason = "defines malloc")]

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use plimsoll_alloc::Glibc;
use tikv_jemalloc_sys as jemalloc;

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: as the caller calls it.
    unsafe { jemalloc::malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: as the caller calls it.
    unsafe { jemalloc::calloc(count, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the block came from one of these, by the caller's promise.
    unsafe { jemalloc::realloc(block, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the block came from one of these, by the caller's promise.
    unsafe { jemalloc::free(block) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, align: usize, size: usize) -> c_int {
    // SAFETY: as the caller calls it.
    unsafe { jemalloc::posix_memalign(to, align, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    let mut block = ptr::null_mut();
    // SAFETY: writes to a pointer that is there.
    let failed = unsafe { jemalloc::posix_memalign(&mut block, align, size) };
    if failed == 0 { block } else { ptr::null_mut() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    // SAFETY: as the caller calls it.
    unsafe { aligned_alloc(align, size) }
}

#[test]
fn an_empty_heap_of_glibc_is_no_backend() {
    assert!(!Glibc.serves_c_libraries());
    assert!(plimsoll_alloc::system_backends().is_empty());
    assert!(plimsoll_alloc::system_heap().is_none());
    // Rust's allocator is the C library's `malloc`, and so jemalloc's.
    let names: Vec<_> =
        plimsoll_alloc::program_backends().iter().map(|backend| backend.name()).collect();
    assert_eq!(names, ["jemalloc"]);
}
