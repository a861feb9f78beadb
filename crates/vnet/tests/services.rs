//! The file server against a client that others wrote: smoltcp's TCP; TFTP by hand.
#![cfg(feature = "services")]

mod common;

use common::{Guest, mac, run, seconds};
use slotone_bus::VmInstant;
use slotone_vnet::fault::{Faults, Faulty};
use slotone_vnet::services::{FileServer, FileServerConfig, generated, generated_sha256};
use slotone_vnet::station::{Outbox, Station};
use slotone_vnet::switch::{PortOptions, Switch, SwitchPort};
use smoltcp::socket::{tcp, udp};
use std::net::Ipv4Addr;
use std::time::Instant;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 99);

fn network() -> (Switch, SwitchPort) {
    let mut server = FileServer::new(FileServerConfig::new(SERVER, 24)).unwrap();
    server.add("small", b"hello");
    let switch = Switch::new();
    switch.station(server).unwrap();
    let port = switch.port(PortOptions { mac: Some(mac(1)), ..PortOptions::default() }).unwrap();
    (switch, port)
}

/// Fetches by HTTP: head and body.
fn get<P: slotone_net::NetPort>(port: P, request: &str) -> (String, Vec<u8>) {
    let mut guests = [Guest::new(port, mac(1), Some((CLIENT, 24)))];
    let handle = guests[0].connect((SERVER, 80), 40_000);
    let mut request = request.as_bytes();
    let mut answer = Vec::new();
    run(&mut guests, VmInstant::ZERO, seconds(600), |guests| {
        let socket = guests[0].sockets.get_mut::<tcp::Socket>(handle);
        if socket.can_send() && !request.is_empty() {
            let n = socket.send_slice(request).unwrap();
            request = &request[n..];
        }
        while socket.can_recv() {
            socket
                .recv(|data| {
                    answer.extend_from_slice(data);
                    (data.len(), ())
                })
                .unwrap();
        }
        request.is_empty() && !socket.may_recv()
    });
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let body = answer.split_off(at);
    (String::from_utf8(answer).unwrap(), body)
}

#[test]
fn http_gives_files_parts_and_checksums() {
    let (_switch, port) = network();
    let (head, body) = get(port, "GET /small HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 5\r\n"), "{head}");
    assert_eq!(body, b"hello");
    let (_switch, port) = network();
    let (head, body) = get(port, "GET /small HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n");
    assert!(head.contains("Content-Range: bytes 1-2/5\r\n"), "{head}");
    assert_eq!(body, b"el");
    let (_switch, port) = network();
    let (_, body) = get(port, "GET /generate/1000.sha256 HTTP/1.1\r\n\r\n");
    assert_eq!(String::from_utf8(body).unwrap(), format!("{}  1000\n", generated_sha256(1000)));
    let (_switch, port) = network();
    let (head, body) = get(port, "HEAD /generate/1000 HTTP/1.1\r\n\r\n");
    assert!(head.contains("Content-Length: 1000\r\n") && body.is_empty(), "{head}");
    let (_switch, port) = network();
    let (head, _) = get(port, &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(5000)));
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[test]
fn fifty_megabytes_arrive_as_they_are_in_a_second_or_two() {
    let (switch, port) = network();
    let id = port.id();
    let began = Instant::now();
    let (_, body) = get(port, "GET /generate/50000000 HTTP/1.1\r\n\r\n");
    let took = began.elapsed();
    let mut expected = vec![0; 50_000_000];
    generated(0, &mut expected);
    assert!(body == expected);
    println!("50 MB in {took:?}, events {:?}, {id}", switch.events());
    // Generous: a busy host and no optimization of the stack.
    assert!(took.as_secs() < 15, "{took:?}");
}

#[test]
fn a_bad_network_loses_no_byte() {
    let (_switch, port) = network();
    let faults = Faults { loss: 10_000, duplicate: 10_000, reorder: 10_000, delay: 100_000, seed: 3 };
    let (_, body) = get(Faulty::new(port, faults), "GET /generate/1000000 HTTP/1.1\r\n\r\n");
    let mut expected = vec![0; 1_000_000];
    generated(0, &mut expected);
    assert!(body == expected);
}

/// Fetches by TFTP; the options go into the request. Answers the option acknowledgement and the data, or the error.
fn tftp<P: slotone_net::NetPort>(
    port: P,
    name: &str,
    options: &[(&str, &str)],
    window: usize,
) -> Result<(Vec<u8>, Vec<u8>), Vec<u8>> {
    let mut guests = [Guest::new(port, mac(1), Some((CLIENT, 24)))];
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 256], vec![0; 400_000]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(2000).unwrap();
    let mut request = [&[0, 1], name.as_bytes(), b"\0octet\0"].concat();
    for (key, value) in options {
        request.extend_from_slice(format!("{key}\0{value}\0").as_bytes());
    }
    let block = options.iter().find(|(key, _)| *key == "blksize").map_or(512, |(_, n)| n.parse().unwrap());
    socket.send_slice(&request, (SERVER, 69)).unwrap();
    let handle = guests[0].sockets.add(socket);
    let (mut oack, mut data, mut next, mut error, mut since) = (Vec::new(), Vec::new(), 1u16, None, 0);
    let mut finished = false;
    run(&mut guests, VmInstant::ZERO, seconds(600), |guests| {
        let socket = guests[0].sockets.get_mut::<udp::Socket>(handle);
        while let Ok((packet, from)) = socket.recv() {
            let packet = packet.to_vec();
            let ack = match packet[1] {
                6 => {
                    oack = packet[2..].to_vec();
                    Some(0)
                }
                3 if u16::from_be_bytes([packet[2], packet[3]]) == next => {
                    data.extend_from_slice(&packet[4..]);
                    finished = packet.len() < 4 + block;
                    since += 1;
                    next = next.wrapping_add(1);
                    (finished || since % window == 0).then(|| next.wrapping_sub(1))
                }
                3 => Some(next.wrapping_sub(1)),
                _ => {
                    error = Some(packet);
                    None
                }
            };
            if let Some(number) = ack {
                let [a, b] = number.to_be_bytes();
                socket.send_slice(&[0, 4, a, b], from.endpoint).unwrap();
            }
        }
        finished || error.is_some()
    });
    match error {
        Some(error) => Err(error),
        None => {
            assert!(finished);
            Ok((oack, data))
        }
    }
}

#[test]
fn tftp_gives_files_with_and_without_options() {
    for len in [0, 5, 511, 512, 513, 1024] {
        let (_switch, port) = network();
        let (oack, data) = tftp(port, &format!("generate/{len}"), &[], 1).unwrap();
        let mut expected = vec![0; len];
        generated(0, &mut expected);
        assert!(oack.is_empty() && data == expected, "{len}");
    }
    let (_switch, port) = network();
    let options = [("blksize", "1432"), ("tsize", "0"), ("windowsize", "8"), ("unknown", "1")];
    let (oack, data) = tftp(port, "/generate/100000", &options, 8).unwrap();
    assert_eq!(oack, b"blksize\x001432\x00tsize\x00100000\x00windowsize\x008\x00");
    let mut expected = vec![0; 100_000];
    generated(0, &mut expected);
    assert!(data == expected);
    let (_switch, port) = network();
    assert_eq!(tftp(port, "nothing", &[], 1).unwrap_err(), b"\0\x05\0\x01file not found\0");
}

#[test]
fn tftp_numbers_wrap() {
    let (_switch, port) = network();
    let (_, data) = tftp(port, "generate/600000", &[("blksize", "8")], 1).unwrap();
    let mut expected = vec![0; 600_000];
    generated(0, &mut expected);
    assert!(data == expected);
}

#[test]
fn tftp_survives_a_bad_network() {
    let (_switch, port) = network();
    let faults = Faults { loss: 20_000, duplicate: 20_000, reorder: 0, delay: 100_000, seed: 3 };
    let (_, data) = tftp(Faulty::new(port, faults), "generate/100000", &[], 1).unwrap();
    let mut expected = vec![0; 100_000];
    generated(0, &mut expected);
    assert!(data == expected);
}

/// The Internet checksum.
fn checksum(data: &[u8]) -> [u8; 2] {
    let mut total: u32 =
        data.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0))).sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    (!(total as u16)).to_be_bytes()
}

/// A client that floods the window, and one that sends out of order where numbers wrap: smoltcp 0.12 alone overflows at the second.
#[test]
fn who_sends_too_much_or_out_of_order_stops_nobody() {
    for (begins, ahead) in [(100u32, false), (0xffff_f800, true)] {
        let mut server = FileServer::new(FileServerConfig::new(SERVER, 24)).unwrap();
        let mut out = Outbox::new();
        let segment = |flags: u8, numbers: (u32, u32), options: &[u8], data: &[u8]| {
            let mut tcp = vec![0x80, 0, 0, 80];
            tcp.extend_from_slice(&numbers.0.to_be_bytes());
            tcp.extend_from_slice(&numbers.1.to_be_bytes());
            tcp.extend_from_slice(&[((20 + options.len()) as u8) << 2, flags, 0xff, 0xff, 0, 0, 0, 0]);
            tcp.extend_from_slice(options);
            tcp.extend_from_slice(data);
            let ends = [CLIENT.octets(), SERVER.octets()].concat();
            let sum = checksum(&[&ends[..], &[0, 6], &(tcp.len() as u16).to_be_bytes(), &tcp].concat());
            tcp[16..18].copy_from_slice(&sum);
            let mut ip = vec![0x45, 0];
            ip.extend_from_slice(&(20 + tcp.len() as u16).to_be_bytes());
            ip.extend_from_slice(&[0, 0, 0, 0, 64, 6, 0, 0]);
            ip.extend_from_slice(&ends);
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum);
            [&[0x02, 0x03, 0xff, 244, 0, 2][..], &mac(1).0, &[8, 0], &ip, &tcp].concat()
        };
        let arp = [
            &[0xff; 6][..],
            &mac(1).0,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &mac(1).0,
            &CLIENT.octets(),
            &[0; 6],
            &SERVER.octets(),
        ];
        server.frame(VmInstant::ZERO, &arp.concat(), &mut out);
        assert!(out.pop().is_some());
        // The largest segments are said to be welcome, so that acknowledgements are not in a hurry; and selective acknowledgement.
        let options = [2, 4, 0xff, 0xff, 4, 2, 1, 1];
        server.frame(VmInstant::ZERO, &segment(2, (begins, 0), &options, b""), &mut out);
        let answer = out.pop().unwrap();
        let theirs = u32::from_be_bytes(answer[38..42].try_into().unwrap()).wrapping_add(1);
        let mut next = begins.wrapping_add(1);
        server.frame(VmInstant::ZERO, &segment(0x10, (next, theirs), &[], b""), &mut out);
        if ahead {
            let early = segment(0x10, (next.wrapping_add(3000), theirs), &[], &[7; 100]);
            server.frame(VmInstant::ZERO, &early, &mut out);
        }
        for _ in 0..16 {
            server.frame(VmInstant::ZERO, &segment(0x18, (next, theirs), &[], &[b'x'; 1400]), &mut out);
            next = next.wrapping_add(1400);
        }
        let mut said = Vec::new();
        while let Some(frame) = out.pop() {
            said.extend_from_slice(&frame[54..]);
        }
        // A request that long has its answer, and others are served as before.
        assert!(String::from_utf8_lossy(&said).contains("431 "), "{begins}");
    }
}
