//! TAP and the packet socket against Linux itself: network namespaces, dnsmasq and a TCP server on the other side. Needs root, ip and dnsmasq;
//! says SKIP and why where they are missing.
#![cfg(all(feature = "tap", feature = "external", target_os = "linux"))]

mod common;

use common::{Guest, mac, run_real};
use slotone_net::NetPort;
use slotone_vnet::host::{HostError, HostPort, open_external, open_tap};
use smoltcp::socket::tcp;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
const SIZE: usize = 5_000_000;

fn pattern(n: usize) -> u8 {
    (n ^ (n >> 8) ^ (n >> 16)) as u8
}

/// Namespaces and processes that end with the test.
#[derive(Default)]
struct Lab {
    spaces: Vec<String>,
    children: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for space in &self.spaces {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Lab {
    fn space(&mut self, name: &str) -> Result<String, String> {
        let name = format!("slotone-{name}-{}", std::process::id());
        ip(&format!("netns add {name}"))?;
        self.spaces.push(name.clone());
        ip(&format!("-n {name} link set lo up"))?;
        Ok(name)
    }

    /// Runs this program again in a namespace, as one of the tests below, and reads until it says that it is ready.
    fn role(&mut self, space: &str, role: &str, argument: &str) -> BufReader<std::process::ChildStdout> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", space])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "a_role", "--nocapture", "--test-threads=1"])
            .env("SLOTONE_VNET_ROLE", role)
            .env("SLOTONE_VNET_ARGUMENT", argument)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.children.push(child);
        output
    }

    fn dnsmasq(&mut self, space: &str, interface: &str, net: &str) -> Result<(), String> {
        Command::new("dnsmasq").arg("--version").output().map_err(|error| format!("dnsmasq: {error}"))?;
        let child = Command::new("ip")
            .args(["netns", "exec", space, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0"])
            .args(["--bind-interfaces", "--no-ping", "--user=root", "--pid-file=", "--leasefile-ro"])
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-range={net}.50,{net}.60,1h"))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("dnsmasq: {error}"))?;
        self.children.push(child);
        Ok(())
    }
}

fn wait_for(output: &mut BufReader<std::process::ChildStdout>, what: &str) {
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the process ended before it said {what}");
    }
    println!("{}", line.trim());
}

/// The bodies of the other processes.
#[test]
fn a_role() {
    let Ok(role) = std::env::var("SLOTONE_VNET_ROLE") else { return };
    let argument = std::env::var("SLOTONE_VNET_ARGUMENT").unwrap();
    match role.as_str() {
        "serve" => {
            let listener = TcpListener::bind((argument.as_str(), 8000)).unwrap();
            println!("\n@@ ready");
            let data: Vec<u8> = (0..SIZE).map(pattern).collect();
            for stream in listener.incoming() {
                stream.unwrap().write_all(&data).unwrap();
            }
        }
        "external" => fetch(open_external(&argument).unwrap()),
        "tap" => fetch(open_tap(&argument).unwrap()),
        "errors" => errors(),
        _ => panic!("{role}"),
    }
}

/// A guest gets a lease and the data, whose every byte is compared.
fn fetch(port: HostPort) {
    assert!(port.link());
    let begun = Instant::now();
    let mut guest = Guest::new(port, mac(5), None);
    assert!(run_real(&mut guest, begun, LIMIT, |guest| guest.lease.is_some()));
    let lease = guest.lease.unwrap();
    let [a, b, c, last] = lease.address().octets();
    assert!((50..=60).contains(&last));
    println!("\n@@ leased");
    let handle = guest.connect((Ipv4Addr::new(a, b, c, 1), 8000), 40_000);
    let mut got = 0;
    run_real(&mut guest, begun, LIMIT, |guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        while socket.can_recv() {
            let fine = socket.recv(|data| {
                let fine = data.iter().enumerate().all(|(i, byte)| *byte == pattern(got + i));
                got += data.len();
                (data.len(), fine)
            });
            assert!(fine.unwrap());
        }
        got == SIZE
    });
    assert_eq!(got, SIZE);
    println!("\n@@ fetched in {:?}, {:?}", begun.elapsed(), guest.wire.port.stats());
}

fn errors() {
    let error = open_external("nothing0").unwrap_err();
    assert!(matches!(error, HostError::NoInterface(_)), "{error}");
    assert_eq!(error.to_string(), "nothing0: no such interface (ip link shows them)");
    let error = open_external("down0").unwrap_err();
    assert_eq!(error.to_string(), "down0: the interface is down: ip link set down0 up");
    let first = open_tap("busy0").unwrap();
    let error = open_tap("busy0").unwrap_err();
    assert_eq!(error.to_string(), "busy0: another program uses it");
    drop(first);
    assert!(open_tap("busy0").is_ok());
    println!("\n@@ done");
}

fn external() -> Result<(), String> {
    let mut lab = Lab::default();
    let (near, far) = (lab.space("near")?, lab.space("far")?);
    ip(&format!("-n {near} link add v0 type veth peer name v1 netns {far}"))?;
    ip(&format!("-n {near} link set v0 up"))?;
    ip(&format!("-n {far} addr add 192.168.77.1/24 dev v1"))?;
    ip(&format!("-n {far} link set v1 up"))?;
    lab.dnsmasq(&far, "v1", "192.168.77")?;
    wait_for(&mut lab.role(&far, "serve", "192.168.77.1"), "@@ ready");
    wait_for(&mut lab.role(&near, "external", "v0"), "@@ fetched");
    Ok(())
}

fn tap() -> Result<(), String> {
    let mut lab = Lab::default();
    let space = lab.space("tap")?;
    // As an administrator makes one for a user.
    ip(&format!("-n {space} tuntap add tap0 mode tap"))?;
    ip(&format!("-n {space} addr add 192.168.78.1/24 dev tap0"))?;
    ip(&format!("-n {space} link set tap0 up"))?;
    lab.dnsmasq(&space, "tap0", "192.168.78")?;
    wait_for(&mut lab.role(&space, "serve", "192.168.78.1"), "@@ ready");
    wait_for(&mut lab.role(&space, "tap", "tap0"), "@@ fetched");
    Ok(())
}

fn mistakes() -> Result<(), String> {
    let mut lab = Lab::default();
    let space = lab.space("errors")?;
    ip(&format!("-n {space} link add down0 type veth peer name down1"))?;
    wait_for(&mut lab.role(&space, "errors", ""), "@@ done");
    Ok(())
}

fn or_skip(what: &str, result: Result<(), String>) {
    if let Err(why) = result {
        println!("SKIP {what}: {why}");
    }
}

#[test]
fn a_guest_gets_a_lease_and_a_file_through_the_packet_socket() {
    or_skip("packet socket", external());
}

#[test]
fn a_guest_gets_a_lease_and_a_file_through_tap() {
    or_skip("TAP", tap());
}

#[test]
fn what_cannot_be_opened_says_why() {
    or_skip("errors of interfaces", mistakes());
}
