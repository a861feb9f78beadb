//! Address translation with the host's sockets and the port's thread, in real time. Only the loopback is used, which the guest is allowed by the gateway's address.
#![cfg(all(feature = "nat", unix))]

mod common;
mod nat_world;

use common::{Guest, mac, run_real};
use slotone_bus::VmInstant;
use slotone_net::NetPort;
use slotone_vnet::nat::{NatEvent, NatPort, open_nat};
use slotone_vnet::spec::{NatSpec, NicMode, NicSpec};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::{tcp, udp};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 131, 254);
const GATEWAY_MAC: [u8; 6] = [0x02, 0x03, 0xff, 0x4e, 0x41, 0x54];
const LIMIT: Duration = Duration::from_secs(20);

struct Lab {
    guest: Guest<NatPort>,
    begun: Instant,
    events: Receiver<NatEvent>,
}

impl Lab {
    /// A guest that has got its lease.
    fn new(text: &str) -> Self {
        let nic: NicSpec = text.parse().unwrap();
        let NicMode::Nat(spec) = nic.mode else { panic!("{text} is no nat") };
        let (tell, events) = channel();
        let port = open_nat(&spec, move |event| tell.send(event).unwrap()).unwrap();
        let mut guest = Guest::new(port, mac(1), None);
        let begun = Instant::now();
        assert!(run_real(&mut guest, begun, LIMIT, |guest| guest.lease.is_some()));
        assert_eq!(guest.lease.unwrap().address(), Ipv4Addr::new(192, 168, 131, 16));
        guest.interface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
        Self { guest, begun, events }
    }

    fn run(&mut self, until: impl FnMut(&mut Guest<NatPort>) -> bool) -> bool {
        run_real(&mut self.guest, self.begun, LIMIT, until)
    }

    fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 20_000]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.guest.sockets.add(socket)
    }

    fn ask(&mut self, handle: SocketHandle, to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
        self.guest.sockets.get_mut::<udp::Socket>(handle).send_slice(data, to).unwrap();
        let mut answer = Vec::new();
        assert!(self.run(|guest| {
            let socket = guest.sockets.get_mut::<udp::Socket>(handle);
            socket
                .recv()
                .map(|(data, meta)| {
                    assert_eq!((meta.endpoint.addr, meta.endpoint.port), (to.0.into(), to.1));
                    answer = data.to_vec();
                })
                .is_ok()
        }));
        answer
    }
}

fn state(guest: &mut Guest<NatPort>, handle: SocketHandle) -> tcp::State {
    guest.sockets.get::<tcp::Socket>(handle).state()
}

/// Takes one connection, sends back what it is told until the other side ends, then says goodbye and ends too.
fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = stream.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            stream.write_all(&buffer[..n]).unwrap();
        }
        stream.write_all(b"goodbye").unwrap();
    });
    port
}

#[test]
fn ten_megabytes_through_the_host_and_back() {
    let mut lab = Lab::new("nat,host=on");
    let handle = lab.guest.connect((GATEWAY, echo_server()), 40_000);
    let long: Vec<u8> = (0..10_000_000u32).map(|i| (i ^ (i >> 9)) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    let begun = Instant::now();
    assert!(lab.run(|guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        if sent < long.len() {
            if socket.can_send() {
                sent += socket.send_slice(&long[sent..]).unwrap();
            }
            if sent == long.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket
                .recv(|data| {
                    got.extend_from_slice(data);
                    (data.len(), ())
                })
                .unwrap();
        }
        matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed)
    }));
    println!("10 MB out and back in {:?}, {:?}", begun.elapsed(), lab.guest.wire.port.stats());
    assert!(got.strip_suffix(b"goodbye").is_some_and(|echoed| echoed == long));
}

#[test]
fn a_port_that_nobody_has_is_refused_and_the_host_is_not_reached_unasked() {
    let mut lab = Lab::new("nat,host=on");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let handle = lab.guest.connect((GATEWAY, free), 40_000);
    let begun = Instant::now();
    assert!(lab.run(|guest| state(guest, handle) == tcp::State::Closed));
    assert!(begun.elapsed() < Duration::from_secs(5));
    // The same with a listener that the guest may not reach.
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let mut lab = Lab::new("nat");
    for (i, to) in [GATEWAY, Ipv4Addr::LOCALHOST].into_iter().enumerate() {
        let handle = lab.guest.connect((to, port), 40_000 + i as u16);
        assert!(lab.run(|guest| state(guest, handle) == tcp::State::Closed));
    }
    assert!(listener.accept().is_err());
    assert!(matches!(lab.events.try_recv(), Ok(NatEvent::Refused(_))));
}

#[test]
fn datagrams_and_names_go_to_the_host_and_back() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((n, from)) = server.recv_from(&mut buffer) {
            let answer = [b"heard ", &buffer[..n]].concat();
            server.send_to(&answer, from).unwrap();
        }
    });
    let mut lab = Lab::new(&format!("nat,host=on,dns=127.0.0.1:{port}"));
    let handle = lab.udp(5000);
    assert_eq!(lab.ask(handle, (GATEWAY, port), b"data"), b"heard data");
    assert_eq!(lab.ask(handle, (GATEWAY, 53), b"name"), b"heard name");
    let large = vec![7; 1400];
    assert_eq!(lab.ask(handle, (GATEWAY, port), &large)[6..], large);
}

#[test]
fn a_forward_leads_from_the_host_to_the_guest() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut lab = Lab::new(&format!("nat,forward=tcp:{free}:22"));
    let mut socket =
        tcp::Socket::new(tcp::SocketBuffer::new(vec![0; 4096]), tcp::SocketBuffer::new(vec![0; 4096]));
    socket.listen(22).unwrap();
    let handle = lab.guest.sockets.add(socket);
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, free)).unwrap();
        stream.write_all(b"ping").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    let mut got = Vec::new();
    assert!(lab.run(|guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        while socket.can_recv() {
            socket
                .recv(|data| {
                    got.extend_from_slice(data);
                    (data.len(), ())
                })
                .unwrap();
        }
        let ended = socket.state() == tcp::State::CloseWait;
        if ended {
            socket.send_slice(b"pong").unwrap();
            socket.close();
        }
        ended
    }));
    assert_eq!(got, b"ping");
    assert!(lab.run(|guest| state(guest, handle) == tcp::State::Closed));
    assert_eq!(client.join().unwrap(), b"pong");
    // The port is taken while the machine runs, and free again when it is gone.
    let forwards = vec![format!("tcp:{free}:22").parse().unwrap()];
    let spec = NatSpec { forwards, ..NatSpec::default() };
    let error = open_nat(&spec, |_| {}).unwrap_err().to_string();
    assert!(error.starts_with(&format!("forward=tcp:{free}:22: ")), "{error}");
    drop(lab);
    open_nat(&spec, |_| {}).unwrap();
}

/// Needs a host whose `net.ipv4.ping_group_range` has this user's group, and an address besides the loopback.
#[test]
fn pings_leave_by_a_ping_socket() {
    let outside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let own = outside.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).and_then(|()| outside.local_addr());
    let Ok(SocketAddr::V4(own)) = own else {
        println!("SKIP: this host has no route to anywhere");
        return;
    };
    let mut lab = Lab::new("nat,host=on");
    let Some(SocketAddr::V4(guest)) = lab.guest.lease.map(|lease| SocketAddr::from((lease.address(), 0)))
    else {
        panic!("a lease")
    };
    let mut message = vec![8, 0, 0, 0, 0, 77, 0, 1];
    message.extend_from_slice(b"what is sent comes back");
    let checksum = !nat_world::sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = vec![0x45, 0, 0, 20 + message.len() as u8, 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend_from_slice(&guest.ip().octets());
    packet.extend_from_slice(&own.ip().octets());
    let checksum = !nat_world::sum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    let frame = [&GATEWAY_MAC[..], &mac(1).0, &[8, 0], &packet, &message].concat();
    let port = &mut lab.guest.wire.port;
    port.send(VmInstant::ZERO, &frame);
    let begun = Instant::now();
    let mut answer = None;
    while answer.is_none() && begun.elapsed() < LIMIT {
        let said = lab.events.try_recv();
        if said == Ok(NatEvent::NoEcho) {
            println!("SKIP: this user may have no ping socket");
            return;
        }
        port.receive(VmInstant::ZERO, &mut |frame| {
            answer = (frame[23] == 1).then(|| frame.to_vec()).or(answer.take())
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    let answer = answer.expect("an answer");
    assert_eq!((&answer[26..30], &answer[30..34]), (&own.ip().octets()[..], &guest.ip().octets()[..]));
    assert_eq!((&answer[34..36], &answer[38..34 + message.len()]), (&[0, 0][..], &message[4..]));
}
