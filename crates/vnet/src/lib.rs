//! Virtual networks: learning switch, DHCP server, TAP, packet and unix socket ports, pcap.
#![forbid(unsafe_code)]
