//! MMX and SSE.
#![forbid(unsafe_code)]
