//! Int 10h: the screen.

pub(crate) mod font;
pub(crate) mod modes;
