//! The process that carries an internal network: a switch, a DHCP server, and a socket for every port.

use super::framed::Framed;
use super::port::Link;
use super::rundir::Files;
use crate::dhcp::{Config, DhcpSpec, Server};
use crate::switch::{PortId, PortOptions, Switch, SwitchPort};
use crate::{Arc, Mutex, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slotone_bus::VmInstant;
use slotone_net::{MacAddress, NetPort};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Ports of a network at most.
const CLIENTS: usize = 512;
/// A hub without ports ends after this time.
const IDLE: Duration = Duration::from_millis(500);
/// A connection that does not say what it is is closed after this time.
const HELLO: Duration = Duration::from_secs(2);
const VERSION: &str = "slotone-net 1";

/// What a port says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) mac: Option<MacAddress>,
    pub(super) promiscuous: bool,
    pub(super) isolated: bool,
    pub(super) dhcp: Option<DhcpSpec>,
}

impl std::fmt::Display for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{VERSION}")?;
        if let Some(mac) = self.mac {
            writeln!(f, "mac {mac}")?;
        }
        if self.promiscuous {
            writeln!(f, "promiscuous")?;
        }
        if self.isolated {
            writeln!(f, "isolated")?;
        }
        match &self.dhcp {
            Some(dhcp) => writeln!(f, "dhcp {dhcp}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Hello {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            return Err(format!("expected {VERSION}: another version of the program carries this network"));
        }
        let mut hello = Self { mac: None, promiscuous: false, isolated: false, dhcp: None };
        for line in lines {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("mac", value) => hello.mac = Some(value.parse().map_err(|_| line.to_string())?),
                ("promiscuous", "") => hello.promiscuous = true,
                ("isolated", "") => hello.isolated = true,
                ("dhcp", value) => {
                    let spec: DhcpSpec = value.parse().map_err(|error| format!("dhcp {error}"))?;
                    hello.dhcp = Some(spec);
                }
                _ => return Err(line.to_string()),
            }
        }
        Ok(hello)
    }
}

struct Client {
    framed: Framed,
    since: Instant,
    port: Option<SwitchPort>,
    blocked: bool,
    /// It was refused, and is closed when it has been told so.
    closing: bool,
}

struct Hub {
    network: String,
    files: Files,
    switch: Switch,
    clients: Vec<Client>,
    /// The server, where it is and where its leases are kept.
    server: Option<(Arc<Mutex<Server>>, PortId, PathBuf)>,
    /// Somebody has said what the server should be.
    said: bool,
    begun: Instant,
}

/// Starts the thread. It has the lock and the socket until the last port is gone or the process ends.
pub(super) fn spawn(network: &str, files: Files, lock: File, listener: UnixListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut hub = Hub {
        network: network.to_string(),
        files,
        switch: Switch::new(),
        clients: Vec::new(),
        server: None,
        said: false,
        begun: Instant::now(),
    };
    std::thread::Builder::new().name(format!("vnet hub {network}")).spawn(move || {
        hub.run(&listener);
        // The name first, then the lock: who finds the lock free finds no socket of ours.
        let _ = std::fs::remove_file(&hub.files.socket);
        drop(listener);
        drop(lock);
    })?;
    Ok(())
}

impl Hub {
    fn now(&self) -> VmInstant {
        VmInstant::from_nanos(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn run(&mut self, listener: &UnixListener) {
        // Takes no frame; it only knows the stations' deadlines and brings time to them.
        let quiet = PortOptions { queue_frames: 0, isolated: true, ..PortOptions::default() };
        let Ok(mut clock) = self.switch.port(quiet) else { return };
        let mut alone = Instant::now();
        loop {
            let now = self.now();
            clock.receive(now, &mut |_| {});
            // A lease is kept before its client hears of it: this process may end at any moment.
            self.save(now);
            self.deliver(now);
            if !self.clients.is_empty() {
                alone = Instant::now();
            } else if alone.elapsed() >= IDLE {
                return;
            }
            let mut wait = IDLE.as_nanos() as u64;
            if let Some(at) = clock.next_deadline() {
                wait = wait.min(at.since(now));
            }
            let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
            for client in &self.clients {
                let out = if client.blocked { PollFlags::OUT } else { PollFlags::empty() };
                fds.push(PollFd::from_borrowed_fd(client.framed.fd(), PollFlags::IN | out));
            }
            let limit =
                Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as i64 };
            if poll(&mut fds, Some(&limit)).is_err() {
                continue;
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            let now = self.now();
            for i in (0..self.clients.len()).rev() {
                let late = self.clients[i].port.is_none() && self.clients[i].since.elapsed() > HELLO;
                if late || (ready[i + 1] && self.read(i, now).is_err()) {
                    self.clients.swap_remove(i);
                }
            }
            if ready[0] {
                self.accept(listener);
            }
        }
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.clients.len() < CLIENTS
                && let Ok(framed) = Framed::new(stream)
            {
                let since = Instant::now();
                self.clients.push(Client { framed, since, port: None, blocked: false, closing: false });
            }
        }
    }

    /// Takes what a client sent; an error is its end.
    fn read(&mut self, i: usize, now: VmInstant) -> io::Result<()> {
        let mut frames = Vec::new();
        let client = &mut self.clients[i];
        let result = match &mut client.port {
            Some(port) => client.framed.read(&mut |frame| {
                port.send(now, frame);
            }),
            None => client.framed.read(&mut |frame| frames.push(frame.to_vec())),
        };
        let mut frames = frames.into_iter();
        if let Some(first) = frames.next().filter(|_| !client.closing) {
            let hello: Result<Hello, String> = String::from_utf8_lossy(&first).parse();
            let port = hello.and_then(|hello| self.join(&hello, now));
            let client = &mut self.clients[i];
            match port {
                Ok(mut port) => {
                    client.framed.push(format!("ok {}", port.id()).as_bytes());
                    for frame in frames {
                        port.send(now, &frame);
                    }
                    client.port = Some(port);
                }
                Err(why) => {
                    client.framed.push(format!("error {why}").as_bytes());
                    client.closing = true;
                }
            }
        }
        result
    }

    fn join(&mut self, hello: &Hello, now: VmInstant) -> Result<SwitchPort, String> {
        if !self.said && (hello.dhcp.is_some() || self.server.is_none()) {
            self.said = hello.dhcp.is_some();
            self.serve_dhcp(hello.dhcp.as_ref(), now)?;
        }
        let options = PortOptions {
            mac: hello.mac,
            promiscuous: hello.promiscuous,
            isolated: hello.isolated,
            ..PortOptions::default()
        };
        self.switch.port(options).map_err(|error| error.to_string())
    }

    /// Puts the server on the network that a port asks for, or the default one.
    fn serve_dhcp(&mut self, spec: Option<&DhcpSpec>, now: VmInstant) -> Result<(), String> {
        if let Some((_, port, _)) = self.server.take() {
            self.switch.remove(port);
        }
        let config = match spec {
            Some(DhcpSpec { config: None, .. }) => return Ok(()),
            Some(DhcpSpec { config: Some(config), .. }) => config.clone(),
            None => Config::for_network(&self.network),
        };
        let path = spec.and_then(|spec| spec.leases.clone()).unwrap_or_else(|| self.files.leases.clone());
        let mut server = Server::new(config).map_err(|error| error.to_string())?;
        server.load(now, &path).map_err(|error| error.to_string())?;
        let server = Arc::new(Mutex::new(server));
        let port = self.switch.station(server.clone()).map_err(|error| error.to_string())?;
        self.server = Some((server, port, path));
        Ok(())
    }

    fn deliver(&mut self, now: VmInstant) {
        self.clients.retain_mut(|client| {
            let Client { framed, port, .. } = client;
            if let Some(port) = port {
                while framed.has_room() && port.receive(now, &mut |frame| framed.push(frame)) {}
            }
            match framed.flush() {
                Ok(done) => {
                    client.blocked = !done;
                    !(client.closing && done)
                }
                Err(_) => false,
            }
        });
    }

    fn save(&mut self, now: VmInstant) {
        if let Some((server, _, path)) = &self.server {
            let mut server = lock(server);
            // A folder that cannot be written costs the memory of leases, not the network.
            let _ = server.write(now, path, *path != self.files.leases);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_what_it_was() {
        for dhcp in [
            None,
            Some("lab=off"),
            Some("lab=10.1.0.0/16,dns=10.1.0.9+8.8.8.8,boot-file=a/b,probe=off,leases=/x"),
        ] {
            let hello = Hello {
                mac: Some(MacAddress([0, 3, 0xff, 1, 2, 3])),
                promiscuous: true,
                isolated: dhcp.is_some(),
                dhcp: dhcp.map(|text| text.parse().unwrap()),
            };
            assert_eq!(hello.to_string().parse(), Ok(hello));
        }
        for bad in ["", "slotone-net 2\n", "slotone-net 1\nmac x\n", "slotone-net 1\nfoo\n"] {
            assert!(bad.parse::<Hello>().is_err());
        }
    }
}
