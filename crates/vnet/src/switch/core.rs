//! What the handles of a switch share.

use super::queue::{Buffers, FrameQueue};
use super::table::{Learned, Table};
use super::{CapturePoint, Counters, FrameSink, PortId, PortOptions, SwitchConfig, SwitchError, SwitchEvent};
use crate::station::{Outbox, Station};
use crate::wire::mac_at;
use slotone_bus::VmInstant;
use slotone_net::{MAX_FRAME, MacAddress, Waker};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Events that are kept for an owner who does not ask.
const EVENTS: usize = 64;
/// Frames of stations that one call carries. Stations that answer each other for ever get the rest at the next call.
const STATION_FRAMES: usize = 4096;
/// Destination and source, type.
const SHORTEST: usize = 14;

/// Nobody behind a bridge may get these: 01-80-C2-00-00-00 to -0F (IEEE 802.1D table 7-10).
fn is_for_bridges(mac: MacAddress) -> bool {
    mac.0[..5] == [0x01, 0x80, 0xc2, 0, 0] && mac.0[5] < 16
}

enum End {
    Card(FrameQueue),
    Station(Box<dyn Station>),
}

struct PortState {
    end: End,
    mac: Option<MacAddress>,
    promiscuous: bool,
    isolated: bool,
    link: bool,
    counters: Counters,
    waker: Option<Waker>,
    /// Two names of one instant, the port's and the switch's, set by the first call.
    origin: Option<(VmInstant, VmInstant)>,
    /// The last instant that the port's owner said.
    last: VmInstant,
}

impl PortState {
    fn new(end: End, mac: Option<MacAddress>) -> Self {
        Self {
            end,
            mac,
            promiscuous: false,
            isolated: false,
            link: true,
            counters: Counters::default(),
            waker: None,
            origin: None,
            last: VmInstant::ZERO,
        }
    }

    /// The port's time as the switch's, which is `switch` now, or not yet running.
    fn join(&mut self, now: VmInstant, switch: Option<VmInstant>) -> VmInstant {
        self.last = now;
        let (own, joined) = *self.origin.get_or_insert((now, switch.unwrap_or(now)));
        joined + now.since(own)
    }

    /// The switch's time as the port's.
    fn to_port(&self, at: VmInstant) -> VmInstant {
        match self.origin {
            Some((own, joined)) => own + at.since(joined),
            None => at,
        }
    }
}

pub(super) struct Core {
    config: SwitchConfig,
    now: VmInstant,
    /// A port has said what time it is.
    running: bool,
    next_id: u32,
    /// How many ports are promiscuous.
    listeners: usize,
    ports: BTreeMap<u32, PortState>,
    table: Table,
    events: VecDeque<SwitchEvent>,
    sinks: Vec<(CapturePoint, Box<dyn FrameSink>)>,
    buffers: Buffers,
    /// Frames of stations that are still to be carried.
    work: VecDeque<(PortId, Vec<u8>)>,
    outbox: Outbox,
}

impl Default for Core {
    fn default() -> Self {
        Self::new(SwitchConfig::default())
    }
}

impl Core {
    pub(super) fn new(config: SwitchConfig) -> Self {
        Self {
            config,
            now: VmInstant::ZERO,
            running: false,
            next_id: 0,
            listeners: 0,
            ports: BTreeMap::new(),
            table: Table::new(config.addresses, config.ageing),
            events: VecDeque::new(),
            sinks: Vec::new(),
            buffers: Buffers::default(),
            work: VecDeque::new(),
            outbox: Outbox::new(),
        }
    }

    fn add(&mut self, state: PortState) -> Result<PortId, SwitchError> {
        if self.ports.len() >= self.config.ports {
            return Err(SwitchError::NoPort);
        }
        let id = PortId(self.next_id);
        if let Some(mac) = state.mac {
            if mac.is_group() {
                return Err(SwitchError::NotAStation(mac));
            }
            if let Some(other) = self.table.fixed(mac) {
                return Err(SwitchError::DuplicateMac(mac, other));
            }
            self.table.fix(mac, id);
        }
        self.next_id += 1;
        self.ports.insert(id.0, state);
        self.count_listeners();
        Ok(id)
    }

    pub(super) fn add_port(&mut self, options: PortOptions) -> Result<PortId, SwitchError> {
        let queue = FrameQueue::new(options.queue_frames, options.queue_bytes);
        let mut state = PortState::new(End::Card(queue), options.mac);
        state.promiscuous = options.promiscuous;
        state.isolated = options.isolated;
        self.add(state)
    }

    pub(super) fn add_station(&mut self, station: Box<dyn Station>) -> Result<PortId, SwitchError> {
        let mac = station.mac();
        self.add(PortState::new(End::Station(station), Some(mac)))
    }

    pub(super) fn remove(&mut self, port: PortId) {
        self.ports.remove(&port.0);
        self.count_listeners();
        self.table.forget(port);
        self.work.retain(|(from, _)| *from != port);
    }

    pub(super) fn ports(&self) -> Vec<PortId> {
        self.ports.keys().map(|id| PortId(*id)).collect()
    }

    pub(super) fn counters(&self, port: PortId) -> Option<Counters> {
        self.ports.get(&port.0).map(|state| state.counters)
    }

    pub(super) fn locate(&self, mac: MacAddress) -> Option<PortId> {
        self.table.find(self.now, mac)
    }

    pub(super) fn take_events(&mut self) -> Vec<SwitchEvent> {
        self.events.drain(..).collect()
    }

    pub(super) fn capture(&mut self, point: CapturePoint, sink: Box<dyn FrameSink>) {
        self.sinks.push((point, sink));
    }

    pub(super) fn set_link(&mut self, port: PortId, up: bool) -> Option<Waker> {
        let state = self.ports.get_mut(&port.0)?;
        state.link = up;
        if !up && let End::Card(queue) = &mut state.end {
            queue.clear();
        }
        state.waker.clone()
    }

    pub(super) fn set_promiscuous(&mut self, port: PortId, allowed: bool) {
        if let Some(state) = self.ports.get_mut(&port.0) {
            state.promiscuous = allowed;
        }
        self.count_listeners();
    }

    fn count_listeners(&mut self) {
        self.listeners = self.ports.values().filter(|state| state.promiscuous).count();
    }

    pub(super) fn set_waker(&mut self, port: PortId, waker: Waker) {
        if let Some(state) = self.ports.get_mut(&port.0) {
            state.waker = Some(waker);
        }
    }

    pub(super) fn link(&self, port: PortId) -> bool {
        self.ports.get(&port.0).is_some_and(|state| state.link)
    }

    pub(super) fn next_deadline(&self, port: PortId) -> Option<VmInstant> {
        let state = self.ports.get(&port.0)?;
        if let End::Card(queue) = &state.end
            && !queue.is_empty()
        {
            return Some(state.last);
        }
        if !self.work.is_empty() {
            return Some(state.last);
        }
        let stations = self.ports.values().filter_map(|p| match &p.end {
            End::Station(station) => station.next_deadline(),
            End::Card(_) => None,
        });
        stations.min().map(|at| state.to_port(at))
    }

    pub(super) fn send(&mut self, from: PortId, now: VmInstant, frame: &[u8]) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.advance(from, now, &mut wakers);
        self.carry(from, Frame::Borrowed(frame), &mut wakers);
        self.carry_work(&mut wakers);
        self.without_own(from, wakers)
    }

    pub(super) fn receive(
        &mut self,
        port: PortId,
        now: VmInstant,
        spare: Option<Vec<u8>>,
    ) -> (Option<Vec<u8>>, Vec<Waker>) {
        if let Some(spare) = spare {
            self.buffers.give_back(spare);
        }
        let mut wakers = Vec::new();
        self.advance(port, now, &mut wakers);
        let frame = match self.ports.get_mut(&port.0) {
            Some(PortState { end: End::Card(queue), .. }) => queue.pop(),
            _ => None,
        };
        (frame, self.without_own(port, wakers))
    }

    /// A machine is not woken by itself.
    fn without_own(&self, port: PortId, mut wakers: Vec<Waker>) -> Vec<Waker> {
        if !wakers.is_empty()
            && let Some(own) = self.ports.get(&port.0).and_then(|state| state.waker.as_ref())
        {
            wakers.retain(|waker| !Arc::ptr_eq(waker, own));
        }
        wakers
    }

    /// Brings time up to the port's and serves stations whose time has come.
    fn advance(&mut self, port: PortId, now: VmInstant, wakers: &mut Vec<Waker>) {
        if let Some(state) = self.ports.get_mut(&port.0) {
            self.now = self.now.max(state.join(now, self.running.then_some(self.now)));
            self.running = true;
        }
        let now = self.now;
        let mut work = std::mem::take(&mut self.work);
        for (id, state) in &mut self.ports {
            if let End::Station(station) = &mut state.end
                && station.next_deadline().is_some_and(|at| at <= now)
            {
                station.poll(now, &mut self.outbox);
                take_out(&mut self.outbox, PortId(*id), &mut work);
            }
        }
        self.work = work;
        self.carry_work(wakers);
    }

    fn carry_work(&mut self, wakers: &mut Vec<Waker>) {
        for _ in 0..STATION_FRAMES {
            let Some((from, frame)) = self.work.pop_front() else { return };
            self.carry(from, Frame::Owned(frame), wakers);
        }
    }

    fn report(&mut self, event: SwitchEvent) {
        if self.events.contains(&event) {
            return;
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Carries one frame to where it belongs.
    fn carry(&mut self, from: PortId, mut frame: Frame<'_>, wakers: &mut Vec<Waker>) {
        let now = self.now;
        let bytes = frame.bytes();
        for (point, sink) in &mut self.sinks {
            if matches!(point, CapturePoint::Network) || *point == CapturePoint::Port(from) {
                sink.frame(now, bytes);
            }
        }
        let Some(state) = self.ports.get_mut(&from.0) else { return };
        state.counters.sent_frames += 1;
        state.counters.sent_bytes += bytes.len() as u64;
        let isolated = state.isolated;
        let addresses = mac_at(bytes, 0).zip(mac_at(bytes, 6));
        let fits = (SHORTEST..=MAX_FRAME).contains(&bytes.len()) && state.link;
        let Some((destination, source)) = addresses.filter(|(to, _)| fits && !is_for_bridges(*to)) else {
            state.counters.filtered += 1;
            return;
        };
        if !source.is_group() {
            match self.table.learn(now, source, from) {
                Learned::Fine => {}
                Learned::Full => self.report(SwitchEvent::TableFull),
                Learned::Duplicate(first) => {
                    self.report(SwitchEvent::DuplicateMac { mac: source, first, second: from });
                }
            }
        }
        let known = if destination.is_group() { None } else { self.table.find(now, destination) };
        let unknown = known.is_none() && !destination.is_group();
        if known == Some(from)
            && let Some(state) = self.ports.get_mut(&from.0)
        {
            state.counters.filtered += 1;
        }
        let mut single = None;
        let candidates = match known {
            Some(port) if self.listeners == 0 => port.0..=port.0,
            _ => 0..=u32::MAX,
        };
        for (id, state) in self.ports.range_mut(candidates) {
            let id = PortId(*id);
            let meant = match known {
                Some(port) => port == id || state.promiscuous,
                // A port whose only card is known does not hear what is for others.
                None => !unknown || state.mac.is_none() || state.promiscuous,
            };
            if id == from || !meant || !state.link || (isolated && state.isolated) {
                continue;
            }
            for (point, sink) in &mut self.sinks {
                if *point == CapturePoint::Port(id) {
                    sink.frame(now, frame.bytes());
                }
            }
            let len = frame.bytes().len();
            match &mut state.end {
                End::Card(queue) => {
                    if !queue.has_room(len) {
                        state.counters.overflows += 1;
                        continue;
                    }
                    if queue.is_empty()
                        && let Some(waker) = &state.waker
                    {
                        wakers.push(waker.clone());
                    }
                    // The one destination of most frames gets the buffer itself.
                    if known == Some(id) {
                        single = Some(id);
                    } else {
                        queue.push(self.buffers.copy(frame.bytes()));
                    }
                }
                End::Station(station) => {
                    station.frame(now, frame.bytes(), &mut self.outbox);
                    take_out(&mut self.outbox, id, &mut self.work);
                }
            }
            state.counters.delivered_frames += 1;
            state.counters.delivered_bytes += len as u64;
        }
        let frame = match (frame.take(), single) {
            (Some(owned), Some(_)) => owned,
            (Some(owned), None) => return self.buffers.give_back(owned),
            (None, Some(_)) => self.buffers.copy(frame.bytes()),
            (None, None) => return,
        };
        if let Some(id) = single
            && let Some(PortState { end: End::Card(queue), .. }) = self.ports.get_mut(&id.0)
        {
            queue.push(frame);
        }
    }
}

fn take_out(outbox: &mut Outbox, from: PortId, work: &mut VecDeque<(PortId, Vec<u8>)>) {
    while let Some(frame) = outbox.pop() {
        work.push_back((from, frame));
    }
}

enum Frame<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Frame<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// The buffer, if it is its own; nothing is left then.
    fn take(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Borrowed(_) => None,
            Self::Owned(bytes) => Some(std::mem::take(bytes)),
        }
    }
}
