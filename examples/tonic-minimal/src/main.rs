//! The smallest tonic server under Plimsoll
fn main() {}
