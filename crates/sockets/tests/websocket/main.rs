//! WebSockets of axum and of tokio-tungstenite over real sockets of this machine.
#![cfg(all(feature = "axum", feature = "tungstenite"))]

mod bad_input;
mod closing;
mod server;
mod talk;
