//! What a host leaves to its network cards, done here: checksums and the cutting of long TCP segments.
//!
//! A packet socket sees frames of local senders before the card does: with a checksum that is only begun, and TCP data of up to 64 KiB
//! in one piece. No guest's card could receive that.

use crate::wire::{ETHERNET_HEADER, ETHERTYPE_IPV4, Ethernet, Ipv4, PROTOCOL_UDP, pseudo_header, sum};

/// What a frame of an ordinary Ethernet carries.
const MTU: usize = 1500;
const PROTOCOL_TCP: u8 = 6;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Gives the frame as a card would have put it on the wire, in pieces if it must be.
pub(super) fn complete(frame: &[u8], take: &mut dyn FnMut(&[u8])) {
    let Some((ip, header)) = ipv4(frame) else {
        if frame.len() <= ETHERNET_HEADER + MTU + 4 {
            take(frame);
        }
        return;
    };
    let segment = ip.payload;
    let at = match ip.protocol {
        PROTOCOL_TCP if segment.len() >= 20 => 16,
        PROTOCOL_UDP if segment.len() >= 8 => 6,
        _ => return take(frame),
    };
    if header + segment.len() > MTU {
        if ip.protocol == PROTOCOL_TCP {
            cut(frame, &ip, header, take);
        }
        return;
    }
    let pseudo = pseudo_header(ip.source, ip.destination, ip.protocol, segment.len());
    let field = u16::from_be_bytes([segment[at], segment[at + 1]]);
    // Begun, not done: the field is the sum over what is not in the segment. A checksum that is right as it is stays the same.
    if field != sum(&[&pseudo]) {
        return take(frame);
    }
    let mut frame = frame.to_vec();
    let start = ETHERNET_HEADER + header;
    set_checksum(&mut frame[start..start + segment.len()], at, &pseudo);
    take(&frame);
}

fn ipv4(frame: &[u8]) -> Option<(Ipv4<'_>, usize)> {
    let ethernet = Ethernet::parse(frame).filter(|ethernet| ethernet.kind == ETHERTYPE_IPV4)?;
    let ip = Ipv4::parse(ethernet.payload)?;
    Some((ip, usize::from(ethernet.payload[0] & 15) * 4))
}

fn set_checksum(segment: &mut [u8], at: usize, pseudo: &[u8]) {
    segment[at..at + 2].fill(0);
    let checksum = match !sum(&[pseudo, segment]) {
        // UDP means "none" by zero; both are the same number otherwise.
        0 => 0xffff,
        other => other,
    };
    segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Cuts a TCP segment into as many as it takes.
fn cut(frame: &[u8], ip: &Ipv4<'_>, header: usize, take: &mut dyn FnMut(&[u8])) {
    let tcp = usize::from(ip.payload[12] >> 4) * 4;
    if tcp < 20 || ip.payload.len() < tcp || header + tcp >= MTU {
        return;
    }
    let start = ETHERNET_HEADER + header;
    let (front, data) = (&frame[..start + tcp], &ip.payload[tcp..]);
    let flags = front[start + 13];
    let sequence =
        u32::from_be_bytes([front[start + 4], front[start + 5], front[start + 6], front[start + 7]]);
    let id = u16::from_be_bytes([front[ETHERNET_HEADER + 4], front[ETHERNET_HEADER + 5]]);
    let most = MTU - header - tcp;
    let pieces = data.len().div_ceil(most);
    for (i, piece) in data.chunks(most).enumerate() {
        let mut out = [front, piece].concat();
        let ip_header = &mut out[ETHERNET_HEADER..start];
        ip_header[2..4].copy_from_slice(&((header + tcp + piece.len()) as u16).to_be_bytes());
        ip_header[4..6].copy_from_slice(&id.wrapping_add(i as u16).to_be_bytes());
        ip_header[10..12].fill(0);
        let checksum = !sum(&[ip_header]);
        ip_header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let segment = &mut out[start..];
        segment[4..8].copy_from_slice(&sequence.wrapping_add((i * most) as u32).to_be_bytes());
        segment[13] = flags;
        if i + 1 < pieces {
            segment[13] &= !FIN_PSH;
        }
        if i > 0 {
            segment[13] &= !CWR;
        }
        let pseudo = pseudo_header(ip.source, ip.destination, PROTOCOL_TCP, segment.len());
        set_checksum(segment, 16, &pseudo);
        take(&out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotone_net::MacAddress;
    use std::net::Ipv4Addr;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn tcp(data: &[u8], flags: u8, options: usize, checksum: impl Fn(&[u8], &[u8]) -> u16) -> Vec<u8> {
        let mut segment = vec![0; 20 + options];
        segment[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        segment[12] = (((20 + options) / 4) << 4) as u8;
        segment[13] = flags;
        segment.extend_from_slice(data);
        let pseudo = pseudo_header(A, B, 6, segment.len());
        let sum = checksum(&pseudo, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        let header = Ipv4::header(A, B, 6, segment.len());
        let mac = MacAddress([2; 6]);
        Ethernet::build(mac, mac, ETHERTYPE_IPV4, &[&header, &segment])
    }

    fn pieces(frame: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        complete(frame, &mut |piece| out.push(piece.to_vec()));
        out
    }

    fn is_right(frame: &[u8]) -> bool {
        let (ip, _) = ipv4(frame).unwrap();
        let pseudo = pseudo_header(ip.source, ip.destination, ip.protocol, ip.payload.len());
        sum(&[&pseudo, ip.payload]) == 0xffff
    }

    #[test]
    fn a_checksum_that_is_begun_is_done_and_others_stay() {
        let data: Vec<u8> = (0..=255).collect();
        let begun = tcp(&data, 0x18, 12, |pseudo, _| sum(&[pseudo]));
        assert!(!is_right(&begun));
        let done = pieces(&begun);
        assert!(done.len() == 1 && is_right(&done[0]));
        let right = tcp(&data, 0x18, 12, |pseudo, segment| !sum(&[pseudo, segment]));
        assert_eq!(pieces(&right), [right]);
        let wrong = tcp(&data, 0x18, 12, |_, _| 0x1234);
        assert_eq!(pieces(&wrong), [wrong]);
    }

    #[test]
    fn a_long_segment_becomes_many_with_all_its_bytes() {
        let data: Vec<u8> = (0..20_000u32).map(|n| (n / 7) as u8).collect();
        // FIN, PSH, ACK, CWR.
        let long = tcp(&data, 0x99, 12, |pseudo, _| sum(&[pseudo]));
        let all = pieces(&long);
        assert_eq!(all.len(), 20_000_usize.div_ceil(1448));
        let mut bytes = Vec::new();
        for (i, piece) in all.iter().enumerate() {
            assert!(piece.len() <= 1514 && is_right(piece));
            let (ip, _) = ipv4(piece).unwrap();
            let sequence = u32::from_be_bytes(ip.payload[4..8].try_into().unwrap());
            assert_eq!(sequence, u32::MAX.wrapping_add(bytes.len() as u32));
            let expected = 0x10 | if i == 0 { 0x80 } else { 0 } | if i + 1 == all.len() { 9 } else { 0 };
            assert_eq!(ip.payload[13], expected);
            bytes.extend_from_slice(&ip.payload[32..]);
        }
        assert_eq!(bytes, data);
    }

    #[test]
    fn what_is_no_ip_passes_and_what_cannot_be_is_dropped() {
        let mut arp = vec![0xff; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(pieces(&arp), [arp]);
        assert!(pieces(&[0; 3000]).is_empty());
        let mut bad = tcp(&[0; 3000], 0x10, 0, |_, _| 0);
        bad[ETHERNET_HEADER + 20 + 12] = 0x10;
        assert!(pieces(&bad).is_empty());
        assert_eq!(pieces(&[1, 2, 3]), [[1, 2, 3]]);
    }
}
