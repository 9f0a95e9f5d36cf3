//! The guard under each host, over real loopback sockets where there is a server.

mod axum;
mod hyper;
mod outer;
mod tonic;
