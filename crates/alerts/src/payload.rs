//! The buffer that a sink writes its payloads into.

use std::sync::{Mutex, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

/// Room for the largest payload; the texts in it are cut so that it fits.
pub(crate) const CAPACITY: usize = 16 * 1024;

/// Characters of a summary, of the instance, and of an identifier that are sent.
pub(crate) const SUMMARY: usize = 700;
pub(crate) const INSTANCE: usize = 120;
pub(crate) const ID: usize = 120;

/// A buffer that is allocated once and used again as soon as the last payload is gone, so that a
/// payload needs no memory when there is none.
#[derive(Debug)]
pub(crate) struct PayloadBuffer(Mutex<BytesMut>);

impl PayloadBuffer {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BytesMut::with_capacity(CAPACITY)))
    }

    /// Writes a document. While an earlier one is still being sent, which only a test of the sinks
    /// beside a delivery does, it takes a buffer of its own.
    pub(crate) fn write(&self, document: &impl Serialize) -> Bytes {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !buffer.try_reclaim(CAPACITY) {
            *buffer = BytesMut::with_capacity(CAPACITY);
        }
        serde_json::to_writer((&mut *buffer).writer(), document)
            .expect("a document of strings and numbers, into memory");
        buffer.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_used_again_once_its_payload_is_gone() {
        let buffer = PayloadBuffer::new();
        let first = buffer.write(&"one");
        let place = first.as_ptr();
        let beside = buffer.write(&"two");
        assert_ne!(beside.as_ptr(), place);
        assert_eq!((&first[..], &beside[..]), (&br#""one""#[..], &br#""two""#[..]));
        let place = beside.as_ptr();
        drop((first, beside));
        for text in ["three", "four"] {
            assert_eq!(buffer.write(&text).as_ptr(), place);
        }
    }
}
