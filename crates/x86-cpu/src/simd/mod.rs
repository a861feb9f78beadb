//! MMX and SSE: packed operations as plain functions over values.
//!
//! MMX registers are the significands of the x87's physical registers; [`crate::fpu::Fpu::mmx`] and its neighbours
//! reach them with the effects on tags, TOP and exponents. The integer operations are in [`mmx`]; the XMM registers,
//! MXCSR and the single-precision operations of the Pentium III in [`sse`].
#![forbid(unsafe_code)]

pub mod mmx;
mod single;
pub mod sse;
