//! The addresses that a switch has heard.

use super::PortId;
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use std::collections::BTreeMap;

/// An address that goes back and forth between two ports within this time is used by both, in nanoseconds.
const FLAPPING: u64 = 10_000_000_000;

#[derive(Debug, Clone, Copy)]
struct Entry {
    port: PortId,
    seen: VmInstant,
    /// Where it was before, and until when.
    before: Option<(PortId, VmInstant)>,
}

/// What learning an address told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Fine,
    /// Another port uses it too.
    Duplicate(PortId),
    /// There was no room for it.
    Full,
}

/// Addresses in the order of their bytes, so that nothing depends on a hash.
#[derive(Debug)]
pub(super) struct Table {
    /// Addresses of cards that are known from the start. They do not move.
    fixed: BTreeMap<MacAddress, PortId>,
    heard: BTreeMap<MacAddress, Entry>,
    limit: usize,
    ageing: u64,
    /// No entry is older than it may be before this instant.
    sweep: VmInstant,
}

impl Table {
    pub(super) fn new(limit: usize, ageing: u64) -> Self {
        Self { fixed: BTreeMap::new(), heard: BTreeMap::new(), limit, ageing, sweep: VmInstant::ZERO }
    }

    pub(super) fn fixed(&self, mac: MacAddress) -> Option<PortId> {
        self.fixed.get(&mac).copied()
    }

    pub(super) fn fix(&mut self, mac: MacAddress, port: PortId) {
        self.heard.remove(&mac);
        self.fixed.insert(mac, port);
    }

    pub(super) fn learn(&mut self, now: VmInstant, mac: MacAddress, port: PortId) -> Learned {
        if let Some(owner) = self.fixed(mac) {
            return if owner == port { Learned::Fine } else { Learned::Duplicate(owner) };
        }
        if let Some(entry) = self.heard.get_mut(&mac) {
            let old = entry.port;
            let last = entry.seen;
            entry.seen = now;
            if old == port {
                return Learned::Fine;
            }
            let back = matches!(entry.before, Some((p, until)) if p == port && now.since(until) < FLAPPING);
            entry.port = port;
            entry.before = Some((old, last));
            return if back { Learned::Duplicate(old) } else { Learned::Fine };
        }
        if self.heard.len() >= self.limit && now >= self.sweep {
            let ageing = self.ageing;
            self.heard.retain(|_, entry| now.since(entry.seen) < ageing);
            // The oldest that is left says when the next look is worth its time.
            self.sweep =
                self.heard.values().map(|entry| entry.seen).min().map_or(now, |oldest| oldest + ageing);
        }
        if self.heard.len() >= self.limit {
            return Learned::Full;
        }
        self.heard.insert(mac, Entry { port, seen: now, before: None });
        Learned::Fine
    }

    pub(super) fn find(&self, now: VmInstant, mac: MacAddress) -> Option<PortId> {
        self.fixed(mac).or_else(|| {
            let entry = self.heard.get(&mac)?;
            (now.since(entry.seen) < self.ageing).then_some(entry.port)
        })
    }

    pub(super) fn forget(&mut self, port: PortId) {
        self.fixed.retain(|_, owner| *owner != port);
        self.heard.retain(|_, entry| entry.port != port);
        self.sweep = VmInstant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PortId = PortId(0);
    const B: PortId = PortId(1);

    fn at(seconds: u64) -> VmInstant {
        VmInstant::from_nanos(seconds * 1_000_000_000)
    }

    fn mac(n: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, n])
    }

    #[test]
    fn an_address_ages_and_a_word_renews_it() {
        let mut table = Table::new(4, 300_000_000_000);
        table.learn(at(0), mac(1), A);
        assert_eq!(table.find(at(299), mac(1)), Some(A));
        assert_eq!(table.find(at(300), mac(1)), None);
        table.learn(at(299), mac(1), A);
        assert_eq!(table.find(at(300), mac(1)), Some(A));
    }

    #[test]
    fn a_move_is_no_duplicate_but_going_back_at_once_is() {
        let mut table = Table::new(4, 300_000_000_000);
        assert_eq!(table.learn(at(0), mac(1), A), Learned::Fine);
        assert_eq!(table.learn(at(1), mac(1), B), Learned::Fine);
        assert_eq!(table.find(at(1), mac(1)), Some(B));
        assert_eq!(table.learn(at(2), mac(1), A), Learned::Duplicate(B));
        assert_eq!(table.learn(at(100), mac(1), B), Learned::Fine);
    }

    #[test]
    fn a_full_table_makes_room_by_age_only() {
        let mut table = Table::new(2, 300_000_000_000);
        table.learn(at(0), mac(1), A);
        table.learn(at(200), mac(2), A);
        assert_eq!(table.learn(at(201), mac(3), B), Learned::Full);
        assert_eq!(table.learn(at(300), mac(3), B), Learned::Fine);
        assert_eq!(table.find(at(300), mac(1)), None);
        assert_eq!(table.find(at(300), mac(2)), Some(A));
        table.forget(A);
        assert_eq!(table.learn(at(300), mac(4), B), Learned::Fine);
    }
}
