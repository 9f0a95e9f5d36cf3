//! The smallest axum server under Plimsoll
fn main() {}
