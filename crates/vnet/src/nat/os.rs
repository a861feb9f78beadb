//! The host's own sockets.

use super::host::{Host, HostSocket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_linger, socket_error};
use rustix::net::{AddressFamily, SocketType, socket};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long the list of resolvers is believed.
const FRESH: Duration = Duration::from_secs(5);
/// Of the list, so many.
const RESOLVERS: usize = 3;

/// The world as this process may see it.
#[derive(Debug, Default)]
pub struct OsHost {
    resolvers: Option<(Instant, Vec<SocketAddr>)>,
}

/// A socket of the host.
#[derive(Debug)]
pub struct OsSocket(Kind);

#[derive(Debug)]
enum Kind {
    Stream(TcpStream),
    Listener(TcpListener),
    Datagrams(UdpSocket),
}

impl AsFd for OsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Stream(socket) => socket.as_fd(),
            Kind::Listener(socket) => socket.as_fd(),
            Kind::Datagrams(socket) => socket.as_fd(),
        }
    }
}

impl OsSocket {
    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        match &mut self.0 {
            Kind::Stream(socket) => Ok(socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn datagrams(&mut self) -> io::Result<&mut UdpSocket> {
        match &mut self.0 {
            Kind::Datagrams(socket) => Ok(socket),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl HostSocket for OsSocket {
    fn connected(&mut self) -> io::Result<bool> {
        let stream = self.stream()?;
        let mut fds = [PollFd::new(stream, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now))? == 0 {
            return Ok(false);
        }
        socket_error(&*stream)??;
        Ok(true)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream()?.read(into)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream()?.write(from)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stream()?.shutdown(Shutdown::Write)
    }

    fn reset(&mut self) {
        if let Kind::Stream(stream) = &self.0 {
            // Without it the connection ends as if all were well; there is nothing else to do.
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        }
    }

    fn send_to(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.datagrams()?.send_to(data, to).map(|_| ())
    }

    fn receive_from(&mut self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.datagrams()?.recv_from(into)
    }

    fn accept(&mut self) -> io::Result<Self> {
        let Kind::Listener(listener) = &self.0 else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self(Kind::Stream(stream)))
    }
}

/// A socket that does not block and that a program started by this one does not get.
fn open(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<rustix::net::Protocol>,
) -> io::Result<OwnedFd> {
    let socket = socket(family, kind, protocol)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

impl Host for OsHost {
    type Socket = OsSocket;

    fn connect(&mut self, to: SocketAddr) -> io::Result<OsSocket> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = open(family, SocketType::STREAM, None)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(OsSocket(Kind::Stream(stream)))
    }

    fn listen(&mut self, at: SocketAddr) -> io::Result<OsSocket> {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        Ok(OsSocket(Kind::Listener(listener)))
    }

    fn datagrams(&mut self, at: SocketAddr) -> io::Result<OsSocket> {
        let socket = UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        Ok(OsSocket(Kind::Datagrams(socket)))
    }

    #[cfg(target_os = "linux")]
    fn echo(&mut self) -> io::Result<OsSocket> {
        let socket = open(AddressFamily::INET, SocketType::DGRAM, Some(rustix::net::ipproto::ICMP))?;
        Ok(OsSocket(Kind::Datagrams(UdpSocket::from(socket))))
    }

    #[cfg(not(target_os = "linux"))]
    fn echo(&mut self) -> io::Result<OsSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A packet to an address of the host leaves from this address; nothing is sent to find out.
    fn is_own(&mut self, address: Ipv4Addr) -> bool {
        let from = || -> io::Result<SocketAddr> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((address, 9))?;
            socket.local_addr()
        };
        // An address without a route is not the host's.
        from().is_ok_and(|local| local.ip() == address)
    }

    fn resolvers(&mut self) -> Vec<SocketAddr> {
        if let Some((at, list)) = &self.resolvers
            && at.elapsed() < FRESH
        {
            return list.clone();
        }
        let list = parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
        self.resolvers = Some((Instant::now(), list.clone()));
        list
    }
}

/// The name servers of a resolv.conf. Link-local ones need an interface, which only the system's own resolver knows how to read: they are left out.
fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let word = words.next()?;
        let v6 = || word.parse().ok().map(|address| SocketAddrV6::new(address, 53, 0, 0).into());
        word.parse::<Ipv4Addr>().ok().map(|address| SocketAddr::from((address, 53))).or_else(v6)
    });
    servers.take(RESOLVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_system_reads_them() {
        let text = "# nameserver 1.1.1.1\nsearch lab\nnameserver 127.0.0.53\n nameserver\t9.9.9.9 # x\nnameserver fe80::1%eth0\n\
            nameserver 2001:db8::1\nnameserver x\nnameserver 8.8.8.8\noptions edns0\n";
        let list: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(list, ["127.0.0.53:53", "9.9.9.9:53", "[2001:db8::1]:53"]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn loopback_is_the_hosts_own() {
        assert!(OsHost::default().is_own(Ipv4Addr::LOCALHOST));
        assert!(!OsHost::default().is_own(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
