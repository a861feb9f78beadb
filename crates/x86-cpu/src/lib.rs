//! A portable software CPU: one Pentium II/III-class 32-bit x86 processor.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod fpu;
pub mod simd;
