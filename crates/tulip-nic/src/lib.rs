//! DEC/Intel 21140A (tulip) Fast Ethernet controller.
#![forbid(unsafe_code)]
