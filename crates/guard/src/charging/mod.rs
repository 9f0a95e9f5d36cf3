//! Charges request bodies as they arrive: those whose length nobody has declared, and whatever
//! a body delivers beyond its declared length.
//!
//! The inner service gets its request with a [`ChargedBody`]. Where the body's length is known,
//! that only counts. Else it shares an [`Upload`](upload::Upload) with the future and with the
//! response body, so that the bytes are given back when the last of the three has gone, and so
//! that the future can answer in the place of a handler whose upload has outgrown its room.

mod body;
mod error;
mod future;
mod layer;
mod response;
mod service;
mod upload;

pub use self::{
    body::ChargedBody, error::ChargedBodyError, future::ChargingGuardFuture,
    layer::ChargingGuardLayer, response::ChargingGuardBody, service::ChargingGuard,
};
