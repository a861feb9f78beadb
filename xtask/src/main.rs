//! Project scripts: `cargo xtask guests|bench|ci|fuzz`.
fn main() {}
