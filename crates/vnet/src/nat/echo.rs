//! ICMP messages: echo, and destination unreachable for datagrams that go nowhere.

use crate::wire::{ETHERTYPE_IPV4, Ethernet, Ipv4, PROTOCOL_ICMP, be16, sum};
use slotone_net::MacAddress;
use std::net::Ipv4Addr;

/// Bytes of the packet that an error quotes: a header without options and eight of what follows.
const QUOTED: usize = 28;

/// Codes of destination unreachable (RFC 792, RFC 1122).
pub(super) const PORT: u8 = 3;
/// RFC 1812 section 5.2.7.1.
pub(super) const PROHIBITED: u8 = 13;

/// The identifier of an echo request that is whole.
pub(super) fn request(message: &[u8]) -> Option<u16> {
    (message.len() >= 8 && message[..2] == [8, 0] && sum(&[message]) == 0xffff).then(|| be16(message, 4))?
}

/// Makes an echo reply that came from outside one for `identifier`; `false`: it is none.
pub(super) fn reply(message: &mut [u8], identifier: u16) -> bool {
    if message.len() < 8 || message[..2] != [0, 0] {
        return false;
    }
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message[2..4].fill(0);
    let checksum = !sum(&[message]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// A frame with an ICMP message.
pub(super) fn frame(from: (MacAddress, Ipv4Addr), to: (MacAddress, Ipv4Addr), message: &[u8]) -> Vec<u8> {
    let header = Ipv4::header(from.1, to.1, PROTOCOL_ICMP, message.len());
    Ethernet::build(to.0, from.0, ETHERTYPE_IPV4, &[&header, message])
}

/// "Destination unreachable" about a packet.
pub(super) fn unreachable(code: u8, packet: &[u8]) -> Vec<u8> {
    let mut message = vec![3, code, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&packet[..packet.len().min(QUOTED)]);
    let checksum = !sum(&[&message]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}
