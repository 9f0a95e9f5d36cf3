//! One file for each route, or for those that share a thing.

pub(crate) mod aggressive;
pub(crate) mod alerts;
pub(crate) mod history;
pub(crate) mod memory;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod sockets;
pub(crate) mod stream;
pub(crate) mod tables;

pub(crate) use self::stream::{EventStream, StreamSlots};
