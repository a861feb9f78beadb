//! A small file server for guests: TFTP and HTTP on a network of its own, without the host's network.
//!
//! [`FileServer`] is a [`Station`](crate::station::Station): it works in virtual time and, as long as its files stay the same, deterministically. It is
//! made to boot and to measure guests, not to serve people: GET and HEAD, read requests, no names, no access control.

mod content;
mod http;
mod server;
mod tftp;

pub use content::{generated, generated_sha256};
pub use server::{FileServer, FileServerConfig, FileServerError, FileServerStats};
