//! Network cards and what they are plugged into: `--nic`, `--dhcp`, `--pcap` and the faults of networks.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufWriter;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use slotone_bus::VmInstant;
use slotone_net::{MacAddress, NetPort, NotConnected};
use slotone_tulip_nic::Tulip;
use slotone_vmm_core::MachineBuilder;
use slotone_vmm_core::vs2005::name;
use slotone_vnet::dhcp::{self, DhcpSpec};
use slotone_vnet::fault::{Faults, Faulty};
use slotone_vnet::host;
use slotone_vnet::mac;
use slotone_vnet::nat::{NatPort, NatStats, open_nat};
use slotone_vnet::pcap::{Captured, Writer};
use slotone_vnet::services::{FileServer, FileServerConfig};
use slotone_vnet::spec::{NatSpec, NicMode};
use slotone_vnet::switch::{PortOptions, Switch};

use super::args::{Args, ClockArg};
use super::failure::Failure;

/// `NIC=FILE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PcapArg {
    /// 0 to 3.
    nic: usize,
    path: PathBuf,
}

impl FromStr for PcapArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (nic, path) =
            s.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or("expected NIC=FILE")?;
        let digit = nic.strip_prefix("nic").unwrap_or(nic);
        let nic = digit.parse().ok().filter(|n| *n < name::NICS.len()).ok_or("a card is nic0 to nic3")?;
        Ok(Self { nic, path: path.into() })
    }
}

/// `NETWORK=FOLDER`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilesArg {
    network: String,
    folder: PathBuf,
}

impl FromStr for FilesArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (network, folder) = s
            .split_once('=')
            .filter(|(network, folder)| !network.is_empty() && !folder.is_empty())
            .ok_or("expected NETWORK=FOLDER")?;
        Ok(Self { network: network.into(), folder: folder.into() })
    }
}

/// The addresses of the cards: those given, or our own, stable for the same seed and first disk.
pub(crate) fn addresses(args: &Args) -> Vec<MacAddress> {
    let mut seed = args.seed;
    if args.clock == ClockArg::Real {
        // Two machines with different disks are to differ; a counted run is to be the same run anywhere.
        let mut hasher = DefaultHasher::new();
        first_medium(args).map(|path| std::fs::canonicalize(path).ok()).hash(&mut hasher);
        seed ^= hasher.finish();
    }
    args.nic.iter().zip(0..).map(|(nic, i)| nic.mac.unwrap_or_else(|| mac::from_seed(seed, i))).collect()
}

/// What makes this machine another than the next: its first disk, IDE before SCSI, else its first disc.
fn first_medium(args: &Args) -> Option<&Path> {
    let ide = [&args.hda, &args.hdb, &args.hdc, &args.hdd].into_iter().flatten().map(|disk| &disk.path);
    let mut scsi: Vec<_> = args.scsi.iter().collect();
    scsi.sort_by_key(|unit| (unit.adapter, unit.id));
    let (discs, disks): (Vec<_>, Vec<_>) = scsi.into_iter().partition(|unit| unit.cdrom);
    let discs = args.cdrom.iter().map(|cd| &cd.path).chain(discs.into_iter().map(|unit| &unit.path));
    ide.chain(disks.into_iter().map(|unit| &unit.path)).chain(discs).next().map(PathBuf::as_path)
}

/// A capture file, shared with the port that fills it.
type Capture = Arc<Mutex<Writer<BufWriter<File>>>>;

/// A DHCP server that is on one of the machine's networks, and the file that keeps its leases.
type Leases = (Arc<Mutex<dhcp::Server>>, Option<PathBuf>);

/// What tells the counters of a card behind the host's connections.
type NatCounters = Box<dyn Fn() -> NatStats>;

/// The networks that the machine's cards are on.
#[derive(Default)]
pub(crate) struct Networks {
    internal: BTreeMap<String, Switch>,
    leases: Vec<Leases>,
    outside: bool,
    captures: Vec<(PathBuf, Capture)>,
    nats: Vec<(&'static str, NatCounters)>,
}

impl std::fmt::Debug for Networks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Networks").field("internal", &self.internal).finish_non_exhaustive()
    }
}

impl Networks {
    /// Whether a card is on a network that others outside this process can send on.
    pub(crate) fn lead_outside(&self) -> bool {
        self.outside
    }

    /// What the cards behind the host's own connections did, for `--stats`.
    pub(crate) fn nat_stats(&self) -> Value {
        let all = self.nats.iter().map(|(card, stats)| {
            let nat = stats();
            let stats = json!({
                "connections": nat.connections,
                "forwarded": nat.forwarded,
                "failed": nat.failed,
                "refused": nat.refused,
                "given_up": nat.given_up,
                "bytes_to_host": nat.to_host,
                "bytes_to_guest": nat.to_guest,
                "datagrams_out": nat.datagrams_out,
                "datagrams_in": nat.datagrams_in,
                "names": nat.names,
                "dropped": nat.dropped,
                "fragments": nat.fragments,
            });
            ((*card).to_string(), stats)
        });
        Value::Object(all.collect())
    }

    /// Plugs every card of the machine in.
    pub(crate) fn plug(builder: &mut MachineBuilder, args: &Args) -> Result<Self, Failure> {
        let mut networks = Self::default();
        let dhcp = args.dhcp.iter().map(|spec| ("--dhcp", &spec.network));
        for (flag, network) in dhcp.chain(args.files.iter().map(|files| ("--files", &files.network))) {
            if !args.nic.iter().any(|n| n.mode == NicMode::Internal(network.clone())) {
                return Err(Failure::usage(format!(
                    "{flag} {network}: no card is on that network; add --nic internal={network}"
                )));
            }
        }
        if let Some(pcap) = args.pcap.iter().find(|p| p.nic >= args.nic.len()) {
            return Err(Failure::usage(format!("--pcap nic{}: the machine has no such card", pcap.nic)));
        }
        for (i, (nic, mac)) in args.nic.iter().zip(addresses(args)).enumerate() {
            let Ok(id) = builder.find(name::NICS[i]) else { continue };
            let given = |network: &str| args.dhcp.iter().rfind(|spec| spec.network == network);
            let mut port: Box<dyn NetPort> = match &nic.mode {
                NicMode::None => Box::new(NotConnected),
                NicMode::Internal(network) if is_own(args, network) => {
                    let options = PortOptions {
                        mac: Some(mac),
                        promiscuous: nic.promiscuous,
                        isolated: nic.isolated,
                        ..PortOptions::default()
                    };
                    let port = networks.switch(network, args)?.port(options);
                    Box::new(port.map_err(|e| {
                        Failure::usage(format!("--nic internal={network}: {e}; give each card its own mac="))
                    })?)
                }
                NicMode::Nat(spec) => {
                    let nats = args.nic[..i].iter().filter(|nic| matches!(nic.mode, NicMode::Nat(_)));
                    networks.outside = true;
                    let port = nat(args, i, nats.count(), spec)?;
                    networks.nats.push((name::NICS[i], Box::new(port.watch())));
                    Box::new(port)
                }
                mode => {
                    networks.outside = true;
                    let dhcp = match mode {
                        NicMode::Internal(network) => given(network),
                        _ => None,
                    };
                    host::open(nic, mac, dhcp).map_err(|e| Failure::usage(e.to_string()))?
                }
            };
            if let Some(faults) = faults(args, name::NICS[i])? {
                port = Box::new(Faulty::new(port, faults));
            }
            for pcap in args.pcap.iter().filter(|p| p.nic == i) {
                let writer = networks.capture(pcap)?;
                port = Box::new(Captured::new(port, writer));
            }
            builder.network::<Tulip>(id, port);
        }
        Ok(networks)
    }

    /// The switch of an internal network, made with its DHCP server by the first card on it.
    fn switch(&mut self, network: &str, args: &Args) -> Result<&Switch, Failure> {
        if !self.internal.contains_key(network) {
            let switch = Switch::new();
            let given = args.dhcp.iter().rfind(|spec| spec.network == network);
            let default = dhcp::Config::for_network(network);
            let mut spec = given.cloned().unwrap_or_else(|| DhcpSpec {
                network: network.into(),
                config: Some(default.clone()),
                leases: None,
            });
            if let Some(files) = args.files.iter().rfind(|files| files.network == network) {
                let config = spec.config.as_ref().unwrap_or(&default);
                let address = Ipv4Addr::from_bits(config.network.to_bits() + 2);
                let bad = |e: &dyn std::fmt::Display| {
                    Failure::usage(format!(
                        "--files {network}={}: {e}; name a folder",
                        files.folder.display()
                    ))
                };
                let root = Some(files.folder.clone());
                let server = FileServerConfig { root, ..FileServerConfig::new(address, config.prefix) };
                let server = FileServer::new(server).map_err(|e| bad(&e))?;
                switch.station(server).map_err(|e| bad(&e))?;
                if let Some(config) = &mut spec.config {
                    config.next_server.get_or_insert(address);
                }
            }
            if let Some(config) = &spec.config {
                let bad = |e: &dyn std::fmt::Display| Failure::usage(format!("--dhcp {network}: {e}"));
                let mut server = dhcp::Server::new(config.clone()).map_err(|e| bad(&e))?;
                if let Some(path) = &spec.leases {
                    server.load(VmInstant::ZERO, path).map_err(|e| bad(&e))?;
                }
                let server = Arc::new(Mutex::new(server));
                switch.station(Arc::clone(&server)).map_err(|e| bad(&e))?;
                self.leases.push((server, spec.leases.clone()));
            }
            self.internal.insert(network.into(), switch);
        }
        Ok(&self.internal[network])
    }

    fn capture(&mut self, pcap: &PcapArg) -> Result<Capture, Failure> {
        let file = File::create(&pcap.path).map_err(|e| {
            Failure::usage(format!(
                "--pcap {}: {e}; check the folder and its permissions",
                pcap.path.display()
            ))
        })?;
        let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let writer = Writer::new(BufWriter::new(file), epoch.map_or(0, |d| d.as_secs()));
        let writer = Arc::new(Mutex::new(writer));
        self.captures.push((pcap.path.clone(), Arc::clone(&writer)));
        Ok(writer)
    }

    /// Writes what is to outlive the run: leases and captures.
    pub(crate) fn finish(&self, now: VmInstant) -> Result<(), Failure> {
        for (server, path) in &self.leases {
            if let (Ok(mut server), Some(path)) = (server.lock(), path) {
                server.save(now, path).map_err(|e| Failure::usage(format!("--dhcp: {e}")))?;
            }
        }
        for (path, writer) in &self.captures {
            if let Ok(mut writer) = writer.lock() {
                writer.flush().map_err(|e| {
                    Failure::usage(format!("--pcap {}: {e}; the file is not complete", path.display()))
                })?;
            }
        }
        Ok(())
    }
}

/// The network behind the host's own connections of card `i`, the `n`th of the kind.
fn nat(args: &Args, i: usize, n: usize, spec: &NatSpec) -> Result<NatPort, Failure> {
    if args.clock == ClockArg::Counted {
        return Err(Failure::usage(
            "--nic nat: what the host's networks say cannot be repeated; leave --clock counted out, or take --nic internal",
        ));
    }
    // Cards of one machine are on networks that differ.
    let network = spec.network.or(Some((Ipv4Addr::new(192, 168, 131 + n as u8, 0), 24)));
    let spec = NatSpec { network, ..spec.clone() };
    let tell = move |event| eprintln!("virtual-server-2005: {}: {event}", name::NICS[i]);
    open_nat(&spec, tell).map_err(|e| Failure::usage(format!("--nic nat: {e}")))
}

/// Whether an internal network is this process's own: so that a counted run is the same run whatever else the host does, and
/// because the file server is in this process.
fn is_own(args: &Args, network: &str) -> bool {
    args.clock == ClockArg::Counted || args.files.iter().any(|files| files.network == network)
}

/// What `--fault nicN=loss=..` says about a card's network; a dead card is taken out with the other devices.
fn faults(args: &Args, card: &str) -> Result<Option<Faults>, Failure> {
    let mut kinds = args.fault.iter().filter(|f| f.device == card).filter_map(|f| f.kind.as_deref());
    let Some(kind) = kinds.rfind(|kind| *kind != "dead") else { return Ok(None) };
    kind.parse().map(Some).map_err(|e| Failure::usage(format!("--fault {card}={e}, or dead")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn addresses_of(more: &[&str]) -> Vec<MacAddress> {
        addresses(&Args::try_parse_from([&["vs", "--nic", "none", "--nic", "none"], more].concat()).unwrap())
    }

    #[test]
    fn machines_with_different_media_have_different_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, []).unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let (a, b) = (file("a"), file("b"));
        let at = |place: &str, path: &str| format!("{place}={path}");
        for flag in ["--hda", "--hdb", "--hdc", "--hdd", "--cdrom"] {
            assert_ne!(addresses_of(&[flag, &a]), addresses_of(&[flag, &b]), "{flag}");
        }
        for (scsi, other) in
            [(at("0:1", &a), at("0:1", &b)), (at("0:1", &a) + ",cdrom", at("0:1", &b) + ",cdrom")]
        {
            assert_ne!(addresses_of(&["--scsi", &scsi]), addresses_of(&["--scsi", &other]), "{scsi}");
        }
        // The first disk decides, by its place.
        let two = addresses_of(&["--scsi", &at("1:0", &b), "--scsi", &at("0:6", &a)]);
        assert_eq!(two, addresses_of(&["--scsi", &at("0:6", &a)]));
        assert_eq!(two, addresses_of(&["--hda", &a, "--scsi", &at("0:0", &b)]));
        assert_eq!(two, addresses_of(&["--cdrom", &b, "--hdb", &a]));
        // A counted run is the same run anywhere.
        let counted = |path: &str| addresses_of(&["--clock", "counted", "--scsi", &at("0:0", path)]);
        assert_eq!(counted(&a), counted(&b));
    }
}
