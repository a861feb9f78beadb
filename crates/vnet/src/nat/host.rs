//! What a [`Nat`](super::Nat) needs of the world outside.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// A socket of the outside. No call blocks: [`io::ErrorKind::WouldBlock`] says that there is nothing to do now.
pub trait HostSocket: Send + Sized {
    /// Whether a connection that was begun stands. An error is its end.
    ///
    /// # Errors
    /// Why it does not.
    fn connected(&mut self) -> io::Result<bool>;

    /// Takes bytes of a connection; 0 is the other side's end.
    ///
    /// # Errors
    /// `WouldBlock`, or the connection is broken.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// Gives bytes to a connection and answers how many it took.
    ///
    /// # Errors
    /// `WouldBlock`, or the connection is broken.
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;

    /// No more bytes come from this side; the other direction stays open.
    ///
    /// # Errors
    /// The connection is broken.
    fn finish(&mut self) -> io::Result<()>;

    /// When the socket is dropped next, its connection is broken and not ended.
    fn reset(&mut self);

    /// Sends a datagram. Echo sockets take an ICMP message and ignore the port.
    ///
    /// # Errors
    /// `WouldBlock`, or the outside refuses it.
    fn send_to(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()>;

    /// Takes a datagram, and from whom; of one that is longer than `into` the rest is lost. Echo sockets give an ICMP message and port 0.
    ///
    /// # Errors
    /// `WouldBlock`, or an error that an earlier datagram caused.
    fn receive_from(&mut self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Takes a connection that came in.
    ///
    /// # Errors
    /// `WouldBlock`, or it is gone already.
    fn accept(&mut self) -> io::Result<Self>;
}

/// The world outside as a [`Nat`](super::Nat) sees it.
pub trait Host: Send {
    /// Its sockets.
    type Socket: HostSocket;

    /// Begins a connection.
    ///
    /// # Errors
    /// It cannot even be begun.
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;

    /// A socket for connections that come in at an address of the host.
    ///
    /// # Errors
    /// The address or port cannot be had.
    fn listen(&mut self, at: SocketAddr) -> io::Result<Self::Socket>;

    /// A socket for datagrams at an address of the host, which may be unspecified, and its port 0.
    ///
    /// # Errors
    /// The address or port cannot be had.
    fn datagrams(&mut self, at: SocketAddr) -> io::Result<Self::Socket>;

    /// A socket for ICMP echo.
    ///
    /// # Errors
    /// The host does not let this user have one.
    fn echo(&mut self) -> io::Result<Self::Socket>;

    /// Whether an address is the host's own, so that what is sent there ends in the host.
    fn is_own(&mut self, address: Ipv4Addr) -> bool;

    /// The name servers that the host uses, best first.
    fn resolvers(&mut self) -> Vec<SocketAddr>;
}

/// Whether an error only says that there is nothing to do now.
pub(super) fn later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
