//! The server against a client that others wrote: smoltcp's, each on a port of one switch.
#![cfg(all(feature = "switch", feature = "dhcp"))]

mod common;

use common::{Guest, mac, run, seconds};
use slotone_bus::VmInstant;
use slotone_vnet::dhcp::{Config, DhcpEvent, LeaseState, Server};
use slotone_vnet::fault::{Faults, Faulty};
use slotone_vnet::switch::{PortOptions, Switch, SwitchPort};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

fn network(config: Config) -> (Switch, Arc<Mutex<Server>>) {
    let switch = Switch::new();
    let server = Arc::new(Mutex::new(Server::new(config).unwrap()));
    switch.station(server.clone()).unwrap();
    (switch, server)
}

fn config() -> Config {
    Config::new(Ipv4Addr::new(10, 244, 0, 0), 24).unwrap()
}

fn guest(switch: &Switch, n: u8) -> Guest<SwitchPort> {
    let options = PortOptions { mac: Some(mac(n)), ..PortOptions::default() };
    Guest::new(switch.port(options).unwrap(), mac(n), None)
}

fn leased<P: slotone_net::NetPort>(guests: &mut [Guest<P>]) -> bool {
    guests.iter().all(|guest| guest.lease.is_some())
}

#[test]
fn guests_get_addresses_from_the_sixteenth_on() {
    let (switch, server) = network(config());
    let mut guests: Vec<_> = (0..5).map(|n| guest(&switch, n)).collect();
    let done = run(&mut guests, VmInstant::ZERO, seconds(30), leased);
    assert!(done < seconds(2), "{done:?}");
    let mut last: Vec<u8> = guests.iter().map(|guest| guest.lease.unwrap().address().octets()[3]).collect();
    last.sort_unstable();
    assert_eq!(last, [16, 17, 18, 19, 20]);
    assert!(guests.iter().all(|guest| guest.lease.unwrap().prefix_len() == 24));
    assert_eq!(server.lock().unwrap().stats().acks, 5);
    assert!(switch.events().is_empty());
}

#[test]
fn leases_are_renewed_for_days() {
    let mut settings = config();
    (settings.lease, settings.renewal, settings.rebinding) = (600, 300, 450);
    let (switch, server) = network(settings);
    let mut guests = vec![guest(&switch, 1), guest(&switch, 2)];
    run(&mut guests, VmInstant::ZERO, seconds(30), leased);
    let before: Vec<_> = guests.iter().map(|guest| guest.lease).collect();
    let mut lost = false;
    run(&mut guests, seconds(30), seconds(86_400), |guests| {
        lost |= guests.iter().any(|guest| guest.lease.is_none());
        lost
    });
    assert!(!lost);
    assert_eq!(guests.iter().map(|guest| guest.lease).collect::<Vec<_>>(), before);
    let renewals = server.lock().unwrap().stats().acks;
    assert!((2 * 280..2 * 300).contains(&renewals), "{renewals}");
}

#[test]
fn an_address_that_somebody_uses_is_not_given_out() {
    let (switch, server) = network(config());
    let squatter = Ipv4Addr::new(10, 244, 0, 16);
    let port = switch.port(PortOptions::default()).unwrap();
    let mut guests = vec![Guest::new(port, mac(9), Some((squatter, 24))), guest(&switch, 1)];
    run(&mut guests, VmInstant::ZERO, seconds(30), |guests| guests[1].lease.is_some());
    assert_eq!(guests[1].lease.unwrap().address(), Ipv4Addr::new(10, 244, 0, 17));
    assert!(server.lock().unwrap().events().contains(&DhcpEvent::Conflict(mac(9), squatter)));
}

#[test]
fn an_exhausted_pool_says_so_and_goes_on_when_a_lease_ends() {
    let mut settings = config();
    (settings.lease, settings.renewal, settings.rebinding) = (60, 30, 45);
    settings.end = Ipv4Addr::new(10, 244, 0, 17);
    let (switch, server) = network(settings);
    let mut guests: Vec<_> = (1..=2).map(|n| guest(&switch, n)).collect();
    let now = run(&mut guests, VmInstant::ZERO, seconds(30), leased);
    guests.push(guest(&switch, 3));
    let now = run(&mut guests, now, now + 20_000_000_000, |guests| guests[2].lease.is_some());
    assert!(guests[2].lease.is_none());
    let text: Vec<String> = server.lock().unwrap().events().iter().map(|event| event.to_string()).collect();
    assert!(
        text.iter().any(|line| line.starts_with("no address for 00-03-FF-00-00-03: every address")),
        "{text:?}"
    );
    guests.remove(0);
    run(&mut guests, now, now + 180_000_000_000, leased);
    assert!(leased(&mut guests));
}

#[test]
fn leases_outlive_the_server() {
    let folder = std::env::temp_dir().join(format!("slotone-vnet-leases-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("leases");
    let mut before = Vec::new();
    for round in 0..2 {
        let (switch, server) = network(config());
        server.lock().unwrap().load(VmInstant::ZERO, &file).unwrap();
        // Another guest comes first the second time.
        let order: &[u8] = if round == 0 { &[1, 2] } else { &[3, 2, 1] };
        let mut guests = Vec::new();
        let mut now = VmInstant::ZERO;
        for n in order {
            guests.push(guest(&switch, *n));
            now = run(&mut guests, now, now + 30_000_000_000, leased);
        }
        let mut server = server.lock().unwrap();
        server.save(now, &file).unwrap();
        assert!(!server.changed());
        let leases: Vec<_> = server.leases(now).into_iter().map(|lease| (lease.mac, lease.address)).collect();
        assert!(server.leases(now).iter().all(|lease| lease.state == LeaseState::Bound));
        if round == 0 {
            before = leases;
        } else {
            assert!(before.iter().all(|lease| leases.contains(lease)), "{before:?} {leases:?}");
            assert_eq!(leases.len(), 3);
        }
    }
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["leases"]);
    std::fs::write(&file, "nonsense").unwrap();
    let error = Server::new(config()).unwrap().load(VmInstant::ZERO, &file).unwrap_err().to_string();
    assert!(error.ends_with("leases: not a lease file: line 1: expected slotone-leases 1"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_bad_network_only_takes_longer_and_always_as_long() {
    let once = |seed| {
        let (switch, _) = network(config());
        let faults = Faults { loss: 300_000, duplicate: 300_000, reorder: 300_000, delay: 1_000_000, seed };
        let mut guests: Vec<_> = (0..3)
            .map(|n| {
                let options = PortOptions { mac: Some(mac(n)), ..PortOptions::default() };
                Guest::new(Faulty::new(switch.port(options).unwrap(), faults), mac(n), None)
            })
            .collect();
        let done = run(&mut guests, VmInstant::ZERO, seconds(600), leased);
        assert!(leased(&mut guests), "seed {seed}");
        done
    };
    for seed in 0..8 {
        assert_eq!(once(seed), once(seed), "seed {seed}");
    }
}
