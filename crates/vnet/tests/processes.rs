//! Internal networks across processes: this program runs itself as the other processes.
#![cfg(all(feature = "host", unix))]

mod common;

use common::{Guest, mac, run_real};
use slotone_bus::VmInstant;
use slotone_net::NetPort;
use slotone_vnet::host::{HostError, HostPort, InternalOptions, open_internal};
use slotone_vnet::pcap::{Captured, Writer};
use smoltcp::socket::tcp;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

fn options(folder: &Path, n: u8) -> InternalOptions {
    InternalOptions { run_dir: folder.to_path_buf(), mac: Some(mac(n)), ..InternalOptions::new("lab") }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slotone-vnet-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Another process with a guest on the network. It obeys a line at a time.
struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn new(folder: &Path, n: u8) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process", "--nocapture", "--test-threads=1"])
            .env("SLOTONE_VNET_FOLDER", folder)
            .env("SLOTONE_VNET_NUMBER", n.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next line that is meant for us.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the other process ended");
            // The test harness writes lines of its own, and begins one.
            if let Some((_, text)) = line.split_once("@@ ") {
                return text.trim().to_string();
            }
        }
    }

    fn address(&mut self) -> Ipv4Addr {
        self.hear().parse().unwrap()
    }

    fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The body of the other process: gets a lease, then obeys `serve` (echo one connection) and `send ADDRESS COUNT` (send and compare).
#[test]
fn the_other_process() {
    let Some(folder) = std::env::var_os("SLOTONE_VNET_FOLDER") else { return };
    let n: u8 = std::env::var("SLOTONE_VNET_NUMBER").unwrap().parse().unwrap();
    let begun = Instant::now();
    let port = open_internal(options(Path::new(&folder), n)).unwrap();
    let mut guest = Guest::new(port, mac(n), None);
    assert!(run_real(&mut guest, begun, LIMIT, |guest| guest.lease.is_some()));
    println!("\n@@ {}", guest.lease.unwrap().address());
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["serve"] => echo(&mut guest, begun),
            ["send", address, count] => {
                println!(
                    "\n@@ {}",
                    send(&mut guest, begun, address.parse().unwrap(), count.parse().unwrap())
                );
            }
            _ => panic!("{line}"),
        }
    }
}

fn echo(guest: &mut Guest<HostPort>, begun: Instant) {
    let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.listen(7).unwrap();
    let handle = guest.sockets.add(socket);
    println!("\n@@ listening");
    let done = run_real(guest, begun, LIMIT, |guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        while socket.can_recv() && socket.can_send() {
            let room = socket.send_capacity() - socket.send_queue();
            let data =
                socket.recv(|data| (data.len().min(room), data[..data.len().min(room)].to_vec())).unwrap();
            assert_eq!(socket.send_slice(&data).unwrap(), data.len());
        }
        if socket.may_send() && !socket.may_recv() && !socket.can_recv() {
            socket.close();
        }
        !socket.is_active() && !socket.is_listening()
    });
    assert!(done);
    println!("\n@@ served");
}

fn send(guest: &mut Guest<HostPort>, begun: Instant, to: Ipv4Addr, count: usize) -> usize {
    let handle = guest.connect((to, 7), 5000);
    let (mut sent, mut got) = (0, 0);
    run_real(guest, begun, LIMIT, |guest| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        while socket.can_send() && sent < count {
            let piece: Vec<u8> = (sent..count.min(sent + 4096)).map(|n| (n / 11) as u8).collect();
            sent += socket.send_slice(&piece).unwrap();
        }
        while socket.can_recv() {
            let data = socket.recv(|data| (data.len(), data.to_vec())).unwrap();
            for byte in data {
                assert_eq!(byte, (got / 11) as u8);
                got += 1;
            }
        }
        if got == count {
            socket.close();
        }
        got == count && !socket.may_send() && socket.send_queue() == 0
    });
    // The end of the connection still has to leave.
    run_real(guest, begun, Duration::from_millis(50), |_| false);
    got
}

#[test]
fn two_processes_talk_and_a_third_hears_it() {
    let folder = Folder::new("talk");
    let capture = std::env::temp_dir().join(format!("slotone-vnet-capture-{}.pcap", std::process::id()));
    let listen = InternalOptions { promiscuous: true, mac: None, ..options(&folder.0, 0) };
    let file = std::io::BufWriter::new(std::fs::File::create(&capture).unwrap());
    let writer = Arc::new(Mutex::new(Writer::new(file, 1_000_000_000)));
    let mut port = Captured::new(open_internal(listen).unwrap(), writer.clone());
    let (mut a, mut b) = (Other::new(&folder.0, 1), Other::new(&folder.0, 2));
    let (at_a, at_b) = (a.address(), b.address());
    assert_ne!(at_a, at_b);
    a.say("serve");
    assert_eq!(a.hear(), "listening");
    b.say(&format!("send {at_a} 300000"));
    let heard = std::thread::scope(|scope| {
        let answer = scope.spawn(|| b.hear());
        let mut heard = 0;
        let begun = Instant::now();
        while !answer.is_finished() || port.receive(VmInstant::ZERO, &mut |_| {}) {
            while port.receive(VmInstant::from_nanos(begun.elapsed().as_nanos() as u64), &mut |_| heard += 1)
            {
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(answer.join().unwrap(), "300000");
        heard
    });
    assert!(heard > 400, "{heard}");
    writer.lock().unwrap().flush().unwrap();
    a.end();
    b.end();
    match Command::new("tcpdump").args(["-nn", "-v", "-r"]).arg(&capture).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            for remark in ["bad", "malformed", "truncated", "incorrect", "invalid", "missing"] {
                let said = text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == remark);
                assert!(!said && !text.contains("[|"), "{remark}: {text}");
            }
            assert!(text.contains("DHCP-Message (53), length 1: ACK"), "{text}");
            assert!(text.contains(&format!("{at_b}.5000 > {at_a}.7")));
        }
        Err(_) => {
            assert!(
                std::env::var_os("SLOTONE_CI").is_none_or(|v| v != "1"),
                "tcpdump is missing on a CI machine"
            );
            println!("SKIP reading the capture: no tcpdump; apt-get install tcpdump");
        }
    }
    std::fs::remove_file(&capture).unwrap();
}

#[test]
fn when_the_carrying_process_is_killed_another_one_takes_over() {
    let folder = Folder::new("takeover");
    let mut first = Other::new(&folder.0, 1);
    let lost = first.address();
    let (mut a, mut b) = (Other::new(&folder.0, 2), Other::new(&folder.0, 3));
    let (at_a, at_b) = (a.address(), b.address());
    first.end();
    a.say("serve");
    assert_eq!(a.hear(), "listening");
    b.say(&format!("send {at_a} 100000"));
    assert_eq!(b.hear(), "100000");
    assert_eq!(a.hear(), "served");
    // The next server knows the leases of the one before.
    let mut late = Other::new(&folder.0, 4);
    let fourth = late.address();
    assert!(![lost, at_a, at_b].contains(&fourth), "{fourth}");
    for other in [a, b, late] {
        other.end();
    }
}

#[test]
fn while_the_carrying_process_is_stopped_cards_lose_frames_and_afterwards_all_is_well() {
    let folder = Folder::new("stopped");
    let mut first = Other::new(&folder.0, 1);
    let at_first = first.address();
    let begun = Instant::now();
    let mut guest = Guest::new(open_internal(options(&folder.0, 2)).unwrap(), mac(2), None);
    assert!(run_real(&mut guest, begun, LIMIT, |guest| guest.lease.is_some()));
    let pid = first.child.id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, pid.as_str()]).status().unwrap().success());
    };
    signal("-STOP");
    let mut frame = [0x88; 1514];
    frame[..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 3, 0xff, 0, 0, 2]);
    let stopped = Instant::now();
    while guest.wire.port.stats().lost == 0 {
        assert!(stopped.elapsed() < LIMIT, "the card waits");
        if guest.wire.port.send(VmInstant::ZERO, &frame) == slotone_net::Sent::Full {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(guest.wire.port.link());
    signal("-CONT");
    first.say("serve");
    assert_eq!(first.hear(), "listening");
    assert_eq!(send(&mut guest, begun, at_first, 100_000), 100_000);
    assert_eq!(first.hear(), "served");
    first.end();
}

#[test]
fn a_second_card_with_the_address_is_refused_and_says_why() {
    let folder = Folder::new("twice");
    let first = open_internal(options(&folder.0, 1)).unwrap();
    assert!(first.link());
    let error = open_internal(options(&folder.0, 1)).unwrap_err();
    assert!(matches!(error, HostError::Refused(..)));
    let text = error.to_string();
    assert!(
        text.starts_with(
            "network lab: the card at port 2 of this network has the Ethernet address 00-03-FF-00-00-01"
        ),
        "{text}"
    );
    drop(first);
    // The address is free again as soon as the hub has seen the end.
    let again = Instant::now();
    while open_internal(options(&folder.0, 1)).is_err() {
        assert!(again.elapsed() < LIMIT);
    }
}

#[test]
fn what_the_first_process_says_about_dhcp_is_heard() {
    let folder = Folder::new("dhcp");
    let mut first = options(&folder.0, 1);
    first.dhcp = Some("lab=192.168.9.0/24,start=192.168.9.77".parse().unwrap());
    let begun = Instant::now();
    let mut guest = Guest::new(open_internal(first).unwrap(), mac(1), None);
    assert!(run_real(&mut guest, begun, LIMIT, |guest| guest.lease.is_some()));
    assert_eq!(guest.lease.unwrap().address(), Ipv4Addr::new(192, 168, 9, 77));
    let mut second = options(&folder.0, 2);
    second.dhcp = Some("lab=off".parse().unwrap());
    let mut guest = Guest::new(open_internal(second).unwrap(), mac(2), None);
    assert!(run_real(&mut guest, begun, LIMIT, |guest| guest.lease.is_some()));
    assert_eq!(guest.lease.unwrap().address(), Ipv4Addr::new(192, 168, 9, 78));
}

#[test]
fn a_plain_socket_is_a_port_and_comes_back() {
    let folder = Folder::new("socket");
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("hub");
    let missing = slotone_vnet::host::open_socket(&path).unwrap_err().to_string();
    assert!(missing.contains("/hub: No such file or directory"), "{missing}");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut port = slotone_vnet::host::open_socket(&path).unwrap();
    for round in 0..2u8 {
        let (mut stream, _) = listener.accept().unwrap();
        let begun = Instant::now();
        while !port.link() {
            assert!(begun.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(port.send(VmInstant::ZERO, &[round; 60]), slotone_net::Sent::Taken);
        let mut got = [0; 64];
        std::io::Read::read_exact(&mut stream, &mut got).unwrap();
        assert_eq!((&got[..4], &got[4..]), (&[0, 0, 0, 60][..], &[round; 60][..]));
        stream.write_all(&[0, 0, 0, 2, 8, round]).unwrap();
        let mut answer = Vec::new();
        while !port.receive(VmInstant::ZERO, &mut |frame| answer = frame.to_vec()) {
            assert!(begun.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(answer, [8, round]);
        drop(stream);
        while port.link() {
            assert!(begun.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(port.trouble().is_some());
    }
}
