//! The server's answers, message by message, read by smoltcp's parser.
#![cfg(feature = "dhcp")]

use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use slotone_vnet::dhcp::{DhcpEvent, DhcpSpec, Server};
use slotone_vnet::station::{Outbox, Station};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;
use std::net::Ipv4Addr;

const CLIENT: MacAddress = MacAddress([0, 3, 0xff, 0, 0, 1]);
const OTHER: MacAddress = MacAddress([0, 3, 0xff, 0, 0, 2]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 16);

fn server(more: &str) -> Server {
    let spec: DhcpSpec = format!("n=10.1.0.0/24,probe=off,lease=600{more}").parse().unwrap();
    Server::new(spec.config.unwrap()).unwrap()
}

fn repr(kind: DhcpMessageType, mac: MacAddress) -> DhcpRepr<'static> {
    DhcpRepr {
        message_type: kind,
        transaction_id: 0x1234_5678,
        secs: 0,
        client_hardware_address: EthernetAddress(mac.0),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    }
}

fn selecting(mac: MacAddress, address: Ipv4Addr, server: Ipv4Addr) -> DhcpRepr<'static> {
    DhcpRepr {
        requested_ip: Some(address),
        server_identifier: Some(server),
        ..repr(DhcpMessageType::Request, mac)
    }
}

fn renewing(mac: MacAddress, address: Ipv4Addr) -> DhcpRepr<'static> {
    DhcpRepr { client_ip: address, ..repr(DhcpMessageType::Request, mac) }
}

/// What came back: where to (Ethernet, IP, port), and the message.
struct Answer {
    mac: [u8; 6],
    to: (Ipv4Addr, u16),
    message: Vec<u8>,
}

impl Answer {
    fn kind(&self) -> DhcpMessageType {
        self.with(|repr, _| repr.message_type)
    }

    fn with<T>(&self, f: impl FnOnce(&DhcpRepr<'_>, &DhcpPacket<&[u8]>) -> T) -> T {
        let packet = DhcpPacket::new_checked(&self.message[..]).unwrap();
        f(&DhcpRepr::parse(&packet).unwrap(), &packet)
    }

    fn option(&self, code: u8) -> Option<Vec<u8>> {
        self.with(|_, packet| packet.options().find(|o| o.kind == code).map(|o| o.data.to_vec()))
    }
}

fn ask(server: &mut Server, now: u64, repr: &DhcpRepr<'_>) -> Option<Answer> {
    let mut message = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut message[..])).unwrap();
    let checks = ChecksumCapabilities::default();
    let udp = UdpRepr { src_port: 68, dst_port: 67 };
    let ip = Ipv4Repr {
        src_addr: Ipv4Addr::UNSPECIFIED,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: 8 + message.len(),
        hop_limit: 64,
    };
    let mut frame = vec![0; 42 + message.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_dst_addr(EthernetAddress::BROADCAST);
    ethernet.set_src_addr(repr.client_hardware_address);
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    ip.emit(&mut Ipv4Packet::new_unchecked(ethernet.payload_mut()), &checks);
    udp.emit(
        &mut UdpPacket::new_unchecked(&mut ethernet.payload_mut()[20..]),
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        message.len(),
        |payload| payload.copy_from_slice(&message),
        &checks,
    );
    let mut out = Outbox::new();
    server.frame(VmInstant::from_nanos(now * 1_000_000_000), &frame, &mut out);
    let frame = out.pop()?;
    assert!(out.is_empty());
    let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
    let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    let ip = Ipv4Repr::parse(&packet, &checks).unwrap();
    let udp = UdpPacket::new_checked(packet.payload()).unwrap();
    let ports = UdpRepr::parse(&udp, &ip.src_addr.into(), &ip.dst_addr.into(), &checks).unwrap();
    assert_eq!((ip.src_addr, ports.src_port), (SERVER, 67));
    Some(Answer {
        mac: ethernet.dst_addr().0,
        to: (ip.dst_addr, ports.dst_port),
        message: udp.payload().to_vec(),
    })
}

#[test]
fn an_offer_has_every_option_of_the_settings() {
    let mut server = server(
        ",router=10.1.0.2,dns=10.1.0.3+10.1.0.4,wins=10.1.0.5+10.1.0.6,renewal=100,rebinding=200,next-server=10.1.0.7,boot-file=pxelinux.0,domain=lab",
    );
    let offer = ask(&mut server, 0, &repr(DhcpMessageType::Discover, CLIENT)).unwrap();
    assert_eq!((offer.mac, offer.to), (CLIENT.0, (FIRST, 68)));
    offer.with(|repr, packet| {
        assert_eq!(
            (repr.message_type, repr.your_ip, repr.transaction_id),
            (DhcpMessageType::Offer, FIRST, 0x1234_5678)
        );
        assert_eq!(
            (repr.router, repr.subnet_mask),
            (Some(Ipv4Addr::new(10, 1, 0, 2)), Some(Ipv4Addr::new(255, 255, 255, 0)))
        );
        assert_eq!(
            (repr.lease_duration, repr.renew_duration, repr.rebind_duration),
            (Some(600), Some(100), Some(200))
        );
        assert_eq!((repr.server_identifier, repr.server_ip), (Some(SERVER), Ipv4Addr::new(10, 1, 0, 7)));
        assert_eq!(packet.get_boot_file().unwrap(), "pxelinux.0");
    });
    // By hand: smoltcp 0.12 looks for the name 10 bytes too early, in the padding of the hardware address.
    assert_eq!(offer.message[44..53], *b"10.1.0.7\0");
    for (code, value) in [
        (6, &[10, 1, 0, 3, 10, 1, 0, 4][..]),
        (15, b"lab"),
        (44, &[10, 1, 0, 5, 10, 1, 0, 6]),
        (66, b"10.1.0.7"),
        (67, b"pxelinux.0"),
    ] {
        assert_eq!(offer.option(code).as_deref(), Some(value), "{code}");
    }
}

#[test]
fn replies_go_where_the_client_can_hear_them() {
    let mut server = server("");
    let discover = repr(DhcpMessageType::Discover, CLIENT);
    let flagged = ask(&mut server, 0, &DhcpRepr { broadcast: true, ..discover.clone() }).unwrap();
    assert_eq!((flagged.mac, flagged.to), ([0xff; 6], (Ipv4Addr::BROADCAST, 68)));
    let relay = Ipv4Addr::new(10, 1, 0, 9);
    let relayed = ask(&mut server, 0, &DhcpRepr { relay_agent_ip: relay, ..discover }).unwrap();
    assert_eq!(relayed.to, (relay, 67));
    ask(&mut server, 0, &selecting(CLIENT, FIRST, SERVER)).unwrap();
    let renewed = ask(&mut server, 9, &renewing(CLIENT, FIRST)).unwrap();
    assert_eq!((renewed.kind(), renewed.to), (DhcpMessageType::Ack, (FIRST, 68)));
}

#[test]
fn what_a_client_cannot_have_is_refused_aloud() {
    let mut server = server("");
    ask(&mut server, 0, &repr(DhcpMessageType::Discover, CLIENT)).unwrap();
    assert_eq!(ask(&mut server, 0, &selecting(CLIENT, FIRST, SERVER)).unwrap().kind(), DhcpMessageType::Ack);
    for bad in [
        selecting(OTHER, FIRST, SERVER),
        renewing(OTHER, FIRST),
        renewing(OTHER, Ipv4Addr::new(192, 168, 0, 1)),
        selecting(CLIENT, Ipv4Addr::new(10, 1, 0, 17), SERVER),
        renewing(OTHER, Ipv4Addr::new(10, 1, 0, 15)),
        renewing(OTHER, SERVER),
    ] {
        let nak = ask(&mut server, 0, &bad).unwrap();
        assert_eq!((nak.kind(), nak.to), (DhcpMessageType::Nak, (Ipv4Addr::BROADCAST, 68)));
        assert_eq!((nak.option(51), nak.option(1)), (None, None));
    }
    // Another server was chosen: that is no business of ours.
    assert!(ask(&mut server, 0, &selecting(OTHER, FIRST, Ipv4Addr::new(10, 1, 0, 9))).is_none());
    assert_eq!(server.stats().naks, 6);
}

#[test]
fn a_server_among_others_is_silent_about_clients_it_does_not_know() {
    let mut quiet = server(",authoritative=off");
    assert!(ask(&mut quiet, 0, &renewing(CLIENT, FIRST)).is_none());
    assert_eq!(
        ask(&mut quiet, 0, &renewing(CLIENT, Ipv4Addr::LOCALHOST)).unwrap().kind(),
        DhcpMessageType::Nak
    );
    let mut alone = server("");
    assert_eq!(ask(&mut alone, 0, &renewing(CLIENT, FIRST)).unwrap().kind(), DhcpMessageType::Ack);
}

#[test]
fn release_decline_and_inform() {
    let mut server = server("");
    ask(&mut server, 0, &renewing(CLIENT, FIRST)).unwrap();
    // Not its own.
    assert!(
        ask(&mut server, 0, &DhcpRepr { client_ip: FIRST, ..repr(DhcpMessageType::Release, OTHER) })
            .is_none()
    );
    assert_eq!(ask(&mut server, 0, &renewing(OTHER, FIRST)).unwrap().kind(), DhcpMessageType::Nak);
    assert!(
        ask(&mut server, 0, &DhcpRepr { client_ip: FIRST, ..repr(DhcpMessageType::Release, CLIENT) })
            .is_none()
    );
    assert_eq!(ask(&mut server, 1, &renewing(OTHER, FIRST)).unwrap().kind(), DhcpMessageType::Ack);
    let decline = DhcpRepr { message_type: DhcpMessageType::Decline, ..selecting(OTHER, FIRST, SERVER) };
    assert!(ask(&mut server, 1, &decline).is_none());
    assert!(server.events().contains(&DhcpEvent::Declined(OTHER, FIRST)));
    let offer = ask(&mut server, 1, &repr(DhcpMessageType::Discover, OTHER)).unwrap();
    assert_eq!(offer.with(|repr, _| repr.your_ip), Ipv4Addr::new(10, 1, 0, 17));
    let own = Ipv4Addr::new(10, 1, 0, 5);
    let inform =
        ask(&mut server, 1, &DhcpRepr { client_ip: own, ..repr(DhcpMessageType::Inform, CLIENT) }).unwrap();
    assert_eq!((inform.kind(), inform.to), (DhcpMessageType::Ack, (own, 68)));
    assert_eq!((inform.option(51), inform.with(|repr, _| repr.your_ip)), (None, Ipv4Addr::UNSPECIFIED));
    assert_eq!(inform.option(1), Some(vec![255, 255, 255, 0]));
}

#[test]
fn an_answer_is_as_short_as_the_client_says_and_never_cuts_an_option() {
    let long =
        format!(",boot-file={},server-name={},domain={}", "b".repeat(200), "s".repeat(60), "d".repeat(60));
    let mut server = server(&long);
    let small = ask(&mut server, 0, &repr(DhcpMessageType::Discover, CLIENT)).unwrap();
    assert!(small.message.len() <= 548 && small.option(51).is_some());
    let large = DhcpRepr { max_size: Some(1500), ..repr(DhcpMessageType::Discover, CLIENT) };
    let large = ask(&mut server, 0, &large).unwrap();
    assert_eq!(large.option(67).unwrap().len(), 200);
    assert_eq!(large.option(15).unwrap().len(), 60);
}
