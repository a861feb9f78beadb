//! Fault layers: errors, latency, short writes and power cuts over any medium.
