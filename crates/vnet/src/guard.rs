//! What smoltcp must not be shown.
//!
//! smoltcp 0.12, the last that the oldest compiler of this crate builds, panics when a peer sends beyond the window that it was told (its issue 1048, fixed in 0.13; a
//! peer can when no acknowledgement got out meanwhile), and overflows when it has to say which bytes it holds out of order where numbers wrap (its request
//! 1136). A guest can do both, so segments are cut to the window and nobody is offered selective acknowledgement.

use crate::wire::{Ipv4, be16, pseudo_header, sum};
use std::borrow::Cow;
use std::net::Ipv4Addr;

/// TCP's protocol number.
const PROTOCOL: u8 = 6;
/// The largest receive buffer whose window is told without a scale, which would round it.
#[cfg(feature = "nat")]
pub(crate) const LARGEST_WINDOW: usize = 65_535;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 0x10;
/// Option kinds (RFC 9293, RFC 2018).
const END: u8 = 0;
const NOTHING: u8 = 1;
const SACK_PERMITTED: u8 = 4;

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The end of the window that a packet of ours tells, if it tells one.
pub(crate) fn told(packet: &[u8]) -> Option<u32> {
    let tcp =
        packet.get(usize::from(packet.first()? & 15) * 4..).filter(|_| packet.get(9) == Some(&PROTOCOL))?;
    let flags = *tcp.get(13)?;
    if flags & (RST | ACK) != ACK {
        return None;
    }
    Some(be32(tcp, 8)?.wrapping_add(be16(tcp, 14)?.into()))
}

/// A guest's packet, whose sums are right, cut to the window that ends at `edge`; without one no bytes fit.
pub(crate) fn fit<'a>(packet: &'a [u8], edge: Option<u32>) -> Cow<'a, [u8]> {
    changed(packet, edge).map_or(Cow::Borrowed(packet), Cow::Owned)
}

fn changed(packet: &[u8], edge: Option<u32>) -> Option<Vec<u8>> {
    let begins = usize::from(packet.first()? & 15) * 4;
    let tcp = packet.get(begins..).filter(|_| packet.get(9) == Some(&PROTOCOL))?;
    let flags = *tcp.get(13)?;
    let head = usize::from(tcp.get(12)? >> 4) * 4;
    let len = tcp.len().checked_sub(head).filter(|_| head >= 20)?;
    let first = be32(tcp, 4)?.wrapping_add(u32::from(flags & SYN != 0));
    // How far the edge is; what is behind it is the guest's past.
    let room = edge.map_or(0, |edge| edge.wrapping_sub(first).cast_signed().max(0).cast_unsigned() as usize);
    let offers = flags & SYN != 0 && permits(&tcp[20..head]).is_some();
    if len <= room && !offers {
        return None;
    }
    let keep = len.min(room);
    let mut out = packet[..begins + head + keep].to_vec();
    let total = u16::try_from(out.len()).ok()?;
    out[2..4].copy_from_slice(&total.to_be_bytes());
    out[10..12].fill(0);
    let checksum = !sum(&[&out[..begins]]);
    out[10..12].copy_from_slice(&checksum.to_be_bytes());
    let (ip, tcp) = out.split_at_mut(begins);
    if keep < len {
        // The end comes behind the bytes.
        tcp[13] &= !(FIN | PSH);
    }
    while flags & SYN != 0
        && let Some((at, len)) = permits(&tcp[20..head])
    {
        tcp[20 + at..20 + at + len].fill(NOTHING);
    }
    tcp[16..18].fill(0);
    let end = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    let checksum = !sum(&[&pseudo_header(end(12), end(16), PROTOCOL, tcp.len()), tcp]);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    debug_assert!(Ipv4::parse(&out).is_some());
    Some(out)
}

/// Where among the options selective acknowledgement is offered.
fn permits(options: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        match *options.get(at)? {
            END => return None,
            NOTHING => at += 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                if len < 2 || at + len > options.len() {
                    return None;
                }
                if kind == SACK_PERMITTED {
                    return Some((at, len));
                }
                at += len;
            }
        }
    }
}

/// The ends of windows of several connections, by the guest's end. Those told last are remembered.
#[cfg(feature = "services")]
#[derive(Debug, Default)]
pub(crate) struct Edges(std::collections::VecDeque<((Ipv4Addr, u16), u32)>);

#[cfg(feature = "services")]
impl Edges {
    /// More than there are connections at a time.
    const KEPT: usize = 64;

    /// A packet of ours.
    pub(crate) fn sent(&mut self, packet: &[u8]) {
        let begins = usize::from(packet.first().copied().unwrap_or(0) & 15) * 4;
        let to = crate::wire::ip_at(packet, 16).zip(be16(packet, begins + 2));
        if let (Some(to), Some(edge)) = (to, told(packet)) {
            self.0.retain(|(known, _)| *known != to);
            self.0.truncate(Self::KEPT - 1);
            self.0.push_front((to, edge));
        }
    }

    /// A guest's packet, cut to its window.
    pub(crate) fn fit<'a>(&self, packet: &'a [u8]) -> Cow<'a, [u8]> {
        let begins = usize::from(packet.first().copied().unwrap_or(0) & 15) * 4;
        let from = crate::wire::ip_at(packet, 12).zip(be16(packet, begins));
        let edge = self.0.iter().find(|(known, _)| Some(*known) == from).map(|(_, edge)| *edge);
        fit(packet, edge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ipv4;

    const A: Ipv4Addr = Ipv4Addr::new(192, 168, 131, 20);
    const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn segment(flags: u8, sequence: u32, options: &[u8], data: &[u8]) -> Vec<u8> {
        let mut tcp = vec![7, 208, 0, 80];
        tcp.extend_from_slice(&sequence.to_be_bytes());
        tcp.extend_from_slice(&[0, 0, 0, 9, ((20 + options.len()) as u8) << 2, flags, 1, 0, 0, 0, 0, 0]);
        tcp.extend_from_slice(options);
        tcp.extend_from_slice(data);
        let checksum = !sum(&[&pseudo_header(A, B, 6, tcp.len()), &tcp]);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        [&Ipv4::header(A, B, 6, tcp.len())[..], &tcp].concat()
    }

    #[test]
    fn what_fits_is_left_and_the_rest_is_cut() {
        let whole = segment(ACK | PSH | FIN, u32::MAX - 1, &[], b"abcdef");
        for (edge, expected) in [(4, None), (2, Some(4)), (u32::MAX - 1, Some(0)), (u32::MAX - 50, Some(0))] {
            match (fit(&whole, Some(edge)), expected) {
                (Cow::Borrowed(_), None) => {}
                (Cow::Owned(cut), Some(n)) => {
                    assert_eq!(cut, segment(ACK, u32::MAX - 1, &[], &b"abcdef"[..n]), "{edge}");
                }
                (got, _) => panic!("{edge}: {got:?}"),
            }
        }
        assert_eq!(fit(&whole, None)[..], segment(ACK, u32::MAX - 1, &[], b""));
        // An end without bytes is at the edge or before it, or smoltcp refuses it.
        assert!(matches!(fit(&segment(ACK | FIN, 5, &[], b""), Some(5)), Cow::Borrowed(_)));
        assert_eq!(told(&segment(ACK, 0, &[], b"")), Some(9 + 256));
        assert_eq!((told(&segment(ACK | RST, 0, &[], b"")), told(&segment(SYN, 0, &[], b""))), (None, None));
    }

    #[test]
    fn selective_acknowledgement_is_offered_to_nobody() {
        let options = [2, 4, 5, 0xb4, 1, 4, 2, 4, 2, 3, 3, 7];
        let without = [2, 4, 5, 0xb4, 1, 1, 1, 1, 1, 3, 3, 7];
        assert_eq!(fit(&segment(SYN, 1, &options, b""), None)[..], segment(SYN, 1, &without, b""));
        assert!(matches!(fit(&segment(SYN, 1, &without, b""), None), Cow::Borrowed(_)));
        for broken in [[4, 0, 0, 0], [4, 9, 0, 0], [1, 1, 1, 4], [0, 4, 2, 0], [2, 1, 4, 2]] {
            assert!(matches!(fit(&segment(SYN, 1, &broken, b""), None), Cow::Borrowed(_)), "{broken:?}");
        }
    }
}
