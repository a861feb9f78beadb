//! A sparse medium in memory.
