//! Frames through the model alone.
fn main() {}
