//! The few packet formats that the built-in stations speak: Ethernet II, ARP, IPv4 without fragments, UDP, ICMP echo.

use slotone_net::MacAddress;
use std::net::Ipv4Addr;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_UDP: u8 = 17;
/// Destination, source and type.
pub(crate) const ETHERNET_HEADER: usize = 14;
/// Shortest frame of the standard without its check sequence.
pub(crate) const SHORTEST_FRAME: usize = 60;
const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn ip_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(four))
}

pub(crate) fn mac_at(bytes: &[u8], at: usize) -> Option<MacAddress> {
    Some(MacAddress(bytes.get(at..at + 6)?.try_into().ok()?))
}

/// The Internet checksum's sum, folded but not inverted, over parts of even length but the last.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u32;
    for part in parts {
        let (pairs, rest) = part.as_chunks::<2>();
        for pair in pairs {
            total += u32::from(u16::from_be_bytes(*pair));
        }
        if let [last] = rest {
            total += u32::from(*last) << 8;
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// An Ethernet frame taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ethernet<'a> {
    pub(crate) destination: MacAddress,
    pub(crate) source: MacAddress,
    pub(crate) kind: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    pub(crate) fn parse(frame: &'a [u8]) -> Option<Self> {
        Some(Self {
            destination: mac_at(frame, 0)?,
            source: mac_at(frame, 6)?,
            kind: be16(frame, 12)?,
            payload: frame.get(ETHERNET_HEADER..)?,
        })
    }

    /// A frame of at least [`SHORTEST_FRAME`] bytes.
    pub(crate) fn build(
        destination: MacAddress,
        source: MacAddress,
        kind: u16,
        payload: &[&[u8]],
    ) -> Vec<u8> {
        let mut frame = Vec::with_capacity(SHORTEST_FRAME);
        frame.extend_from_slice(&destination.0);
        frame.extend_from_slice(&source.0);
        frame.extend_from_slice(&kind.to_be_bytes());
        for part in payload {
            frame.extend_from_slice(part);
        }
        if frame.len() < SHORTEST_FRAME {
            frame.resize(SHORTEST_FRAME, 0);
        }
        frame
    }
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) request: bool,
    pub(crate) sender_mac: MacAddress,
    pub(crate) sender: Ipv4Addr,
    pub(crate) target_mac: MacAddress,
    pub(crate) target: Ipv4Addr,
}

impl Arp {
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let request = match be16(packet, 6)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        Some(Self {
            request,
            sender_mac: mac_at(packet, 8)?,
            sender: ip_at(packet, 14)?,
            target_mac: mac_at(packet, 18)?,
            target: ip_at(packet, 24)?,
        })
    }

    pub(crate) fn bytes(&self) -> [u8; 28] {
        let mut out = [0; 28];
        out[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, if self.request { 1 } else { 2 }]);
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..28].copy_from_slice(&self.target.octets());
        out
    }
}

/// Whether an IPv4 packet is a piece of a datagram: more come, or it is not the first.
pub(crate) fn is_fragment(packet: &[u8]) -> bool {
    be16(packet, 6).is_some_and(|place| place & 0x3fff != 0)
}

/// An IPv4 packet taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ipv4<'a> {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// `None` also for fragments and wrong checksums.
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 15) * 4;
        let total = usize::from(be16(packet, 2)?);
        if first >> 4 != 4 || header < IPV4_HEADER || total < header || packet.len() < total {
            return None;
        }
        if is_fragment(packet) || sum(&[&packet[..header]]) != 0xffff {
            return None;
        }
        Some(Self {
            source: ip_at(packet, 12)?,
            destination: ip_at(packet, 16)?,
            protocol: packet[9],
            payload: &packet[header..total],
        })
    }

    /// The header of a packet with `len` bytes of payload.
    pub(crate) fn header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: usize) -> [u8; 20] {
        let mut out = [0; IPV4_HEADER];
        out[0] = 0x45;
        out[2..4].copy_from_slice(&((IPV4_HEADER + len) as u16).to_be_bytes());
        out[8] = 64;
        out[9] = protocol;
        out[12..16].copy_from_slice(&source.octets());
        out[16..20].copy_from_slice(&destination.octets());
        let checksum = !sum(&[&out]);
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
        out
    }
}

/// What the checksums of UDP and TCP cover besides the segment.
pub(crate) fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: usize) -> [u8; 12] {
    let mut out = [0; 12];
    out[..4].copy_from_slice(&source.octets());
    out[4..8].copy_from_slice(&destination.octets());
    out[9] = protocol;
    out[10..12].copy_from_slice(&(len as u16).to_be_bytes());
    out
}

/// A UDP datagram taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Udp<'a> {
    pub(crate) destination: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// `None` for a wrong checksum; zero means there is none.
    pub(crate) fn parse(packet: &Ipv4<'a>) -> Option<Self> {
        if packet.protocol != PROTOCOL_UDP {
            return None;
        }
        let data = packet.payload;
        let len = usize::from(be16(data, 4)?);
        if len < UDP_HEADER || data.len() < len {
            return None;
        }
        let data = &data[..len];
        let pseudo = pseudo_header(packet.source, packet.destination, PROTOCOL_UDP, len);
        if be16(data, 6)? != 0 && sum(&[&pseudo, data]) != 0xffff {
            return None;
        }
        Some(Self { destination: be16(data, 2)?, payload: &data[UDP_HEADER..] })
    }
}

/// Where a datagram comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) source_mac: MacAddress,
    pub(crate) destination_mac: MacAddress,
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
}

/// A frame with a UDP datagram of at most 1472 bytes of payload.
pub(crate) fn udp_frame(path: &Path, payload: &[u8]) -> Vec<u8> {
    let len = UDP_HEADER + payload.len();
    let mut header = [0; UDP_HEADER];
    header[..2].copy_from_slice(&path.source.1.to_be_bytes());
    header[2..4].copy_from_slice(&path.destination.1.to_be_bytes());
    header[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    let pseudo = pseudo_header(path.source.0, path.destination.0, PROTOCOL_UDP, len);
    let checksum = match !sum(&[&pseudo, &header, payload]) {
        0 => 0xffff,
        other => other,
    };
    header[6..8].copy_from_slice(&checksum.to_be_bytes());
    let ip = Ipv4::header(path.source.0, path.destination.0, PROTOCOL_UDP, len);
    Ethernet::build(path.destination_mac, path.source_mac, ETHERTYPE_IPV4, &[&ip, &header, payload])
}

/// The answer to an ARP request or an ICMP echo request that is meant for the station `mac`/`address`.
pub(crate) fn answer(mac: MacAddress, address: Ipv4Addr, frame: &Ethernet<'_>) -> Option<Vec<u8>> {
    if frame.source.is_group() {
        return None;
    }
    match frame.kind {
        ETHERTYPE_ARP => {
            let arp = Arp::parse(frame.payload)?;
            if !arp.request || arp.target != address {
                return None;
            }
            let reply = Arp {
                request: false,
                sender_mac: mac,
                sender: address,
                target_mac: arp.sender_mac,
                target: arp.sender,
            };
            Some(Ethernet::build(frame.source, mac, ETHERTYPE_ARP, &[&reply.bytes()]))
        }
        ETHERTYPE_IPV4 if frame.destination == mac => {
            let ip = Ipv4::parse(frame.payload)?;
            if ip.protocol != PROTOCOL_ICMP || ip.destination != address {
                return None;
            }
            // Echo request, code 0.
            if ip.payload.get(..2)? != [8, 0] || ip.payload.len() < 8 || sum(&[ip.payload]) != 0xffff {
                return None;
            }
            let mut body = ip.payload.to_vec();
            body[0] = 0;
            body[2..4].fill(0);
            let checksum = !sum(&[&body]);
            body[2..4].copy_from_slice(&checksum.to_be_bytes());
            let header = Ipv4::header(address, ip.source, PROTOCOL_ICMP, body.len());
            Some(Ethernet::build(frame.source, mac, ETHERTYPE_IPV4, &[&header, &body]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const B: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_datagram_comes_back_as_it_was_built() {
        let path = Path {
            source_mac: A,
            destination_mac: B,
            source: (Ipv4Addr::new(10, 0, 0, 1), 68),
            destination: (Ipv4Addr::new(10, 0, 0, 2), 67),
        };
        for payload in [&b""[..], b"x", b"four", &[0xff; 1472]] {
            let frame = udp_frame(&path, payload);
            let ethernet = Ethernet::parse(&frame).unwrap();
            assert_eq!((ethernet.source, ethernet.destination, ethernet.kind), (A, B, ETHERTYPE_IPV4));
            let ip = Ipv4::parse(ethernet.payload).unwrap();
            let udp = Udp::parse(&ip).unwrap();
            assert_eq!((udp.destination, udp.payload), (67, payload));
        }
    }

    #[test]
    fn a_changed_bit_of_header_or_datagram_is_refused() {
        let path = Path {
            source_mac: A,
            destination_mac: B,
            source: (Ipv4Addr::LOCALHOST, 1),
            destination: (Ipv4Addr::BROADCAST, 2),
        };
        let good = udp_frame(&path, b"some data here, long enough for no padding");
        for bit in ETHERNET_HEADER * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let ethernet = Ethernet::parse(&bad).unwrap();
            let parsed = Ipv4::parse(ethernet.payload);
            assert!(parsed.and_then(|ip| Udp::parse(&ip)).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn every_shorter_piece_is_refused() {
        let arp = Arp {
            request: true,
            sender_mac: A,
            sender: Ipv4Addr::LOCALHOST,
            target_mac: B,
            target: Ipv4Addr::BROADCAST,
        };
        let bytes = arp.bytes();
        assert_eq!(Arp::parse(&bytes), Some(arp));
        for len in 0..bytes.len() {
            assert_eq!(Arp::parse(&bytes[..len]), None);
        }
        for len in 0..ETHERNET_HEADER {
            assert!(Ethernet::parse(&[0; 64][..len]).is_none());
        }
    }
}
