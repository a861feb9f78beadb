//! Contracts between emulated devices, their CPU and their machine: windows, lines, DMA, time, state.
#![cfg_attr(docsrs, feature(doc_cfg))]

