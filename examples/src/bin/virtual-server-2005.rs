//! The full machine.
fn main() {}
