//! A learning switch: frames go to the port behind which their destination was last heard.
//!
//! The switch is one process's. Its handle is shared, its ports belong to the machines. It has no thread and no clock: it works when a port is used,
//! and its time is what the ports say. Machines whose clocks differ may share one: the first call of a port ties the machine's clock to the
//! switch's, and the switch is as late as the latest of them.

mod core;
mod queue;
mod table;

use crate::station::Station;
use crate::{Arc, Mutex, lock};
use slotone_bus::VmInstant;
use slotone_net::{MacAddress, NetPort, Sent, Waker};

use self::core::Core;

/// Which port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(u32);

impl std::fmt::Display for PortId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {}", self.0)
    }
}

/// The bounds of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Addresses that are remembered (4096). Frames for others go to every port.
    pub addresses: usize,
    /// Nanoseconds after which an address that was not heard again is forgotten (300 s).
    pub ageing: u64,
    /// Ports, stations among them (1024).
    pub ports: usize,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self { addresses: 4096, ageing: 300_000_000_000, ports: 1024 }
    }
}

/// What a port may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortOptions {
    /// The address of the card behind the port, if known: no other port may have it, it does not age, and frames for unknown stations do not come
    /// here unless the port is promiscuous.
    pub mac: Option<MacAddress>,
    /// The card may hear every frame of the network, as `allow_promiscuous_mode` of the original.
    pub promiscuous: bool,
    /// Isolated ports do not hear each other, only ports that are not isolated.
    pub isolated: bool,
    /// Frames that wait for the card at most (1024); what comes then is dropped and counted.
    pub queue_frames: usize,
    /// Bytes that wait for the card at most (2 MiB).
    pub queue_bytes: usize,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self { mac: None, promiscuous: false, isolated: false, queue_frames: 1024, queue_bytes: 2 << 20 }
    }
}

/// What a port has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Frames that the card sent.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames put into the port's queue.
    pub delivered_frames: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Frames for the card that were dropped because its queue was full.
    pub overflows: u64,
    /// Frames of the card that no station was to get: too short or long, for the port they came from, reserved for bridges,
    /// or from a port without a link.
    pub filtered: u64,
}

/// Something the owner of a network should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchEvent {
    /// Two ports use the same Ethernet address.
    DuplicateMac {
        /// The address.
        mac: MacAddress,
        /// The port that had it.
        first: PortId,
        /// The port that uses it too.
        second: PortId,
    },
    /// The address table is full: frames go to more ports than they should.
    TableFull,
}

impl std::fmt::Display for SwitchEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DuplicateMac { mac, first, second } => {
                write!(f, "two cards use the Ethernet address {mac}: {first} and {second}")
            }
            Self::TableFull => f.write_str("more Ethernet addresses than the switch can remember"),
        }
    }
}

/// Why a port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchError {
    /// The card at another port has the same address.
    DuplicateMac(MacAddress, PortId),
    /// [`PortOptions::mac`] is a group address.
    NotAStation(MacAddress),
    /// [`SwitchConfig::ports`] are in use.
    NoPort,
}

impl std::fmt::Display for SwitchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DuplicateMac(mac, port) => write!(
                f,
                "the card at {port} of this network has the Ethernet address {mac} already: give one of them another (mac=..)"
            ),
            Self::NotAStation(mac) => write!(f, "{mac} is no address of a single card"),
            Self::NoPort => f.write_str("every port of this network is in use"),
        }
    }
}

impl std::error::Error for SwitchError {}

/// Where [`Switch::capture`] listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturePoint {
    /// What the card at the port sends, and what is delivered to it.
    Port(PortId),
    /// Every frame once, as it enters the switch.
    Network,
}

/// Takes copies of frames.
pub trait FrameSink: Send {
    /// A frame passed at `now`.
    fn frame(&mut self, now: VmInstant, frame: &[u8]);
}

impl<S: FrameSink + ?Sized> FrameSink for Arc<Mutex<S>> {
    fn frame(&mut self, now: VmInstant, frame: &[u8]) {
        lock(self).frame(now, frame);
    }
}

/// A handle of a switch. Clones are handles of the same switch.
///
/// ```
/// use slotone_bus::VmInstant;
/// use slotone_net::{NetPort, Sent};
/// use slotone_vnet::switch::{PortOptions, Switch};
///
/// let switch = Switch::new();
/// let mut a = switch.port(PortOptions::default())?;
/// let mut b = switch.port(PortOptions::default())?;
/// let mut frame = vec![0xff; 60];
/// frame[6..12].copy_from_slice(&[0, 3, 0xff, 0, 0, 1]);
/// assert_eq!(a.send(VmInstant::ZERO, &frame), Sent::Taken);
/// assert!(b.receive(VmInstant::ZERO, &mut |got| assert_eq!(got, frame)));
/// assert!(!a.receive(VmInstant::ZERO, &mut |_| {}));
/// # Ok::<(), slotone_vnet::switch::SwitchError>(())
/// ```
#[derive(Clone, Default)]
pub struct Switch {
    core: Arc<Mutex<Core>>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("ports", &self.ports()).finish()
    }
}

impl Switch {
    /// A switch without ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch with other bounds.
    pub fn with_config(config: SwitchConfig) -> Self {
        Self { core: Arc::new(Mutex::new(Core::new(config))) }
    }

    /// A new port for a card.
    ///
    /// # Errors
    /// [`SwitchError`] if the address is in use or no port is left.
    pub fn port(&self, options: PortOptions) -> Result<SwitchPort, SwitchError> {
        let id = lock(&self.core).add_port(options)?;
        Ok(SwitchPort { core: self.core.clone(), id, spare: None })
    }

    /// Puts a station on the network for as long as the network lives, or until [`Switch::remove`].
    ///
    /// # Errors
    /// [`SwitchError`] if the station's address is in use or no port is left.
    pub fn station(&self, station: impl Station + 'static) -> Result<PortId, SwitchError> {
        lock(&self.core).add_station(Box::new(station))
    }

    /// Takes a port or a station off the network. Frames that wait are lost; a [`SwitchPort`] that is left has no link.
    pub fn remove(&self, port: PortId) {
        lock(&self.core).remove(port);
    }

    /// The ports in the order they came, stations among them.
    pub fn ports(&self) -> Vec<PortId> {
        lock(&self.core).ports()
    }

    /// What passed at a port; `None` if there is no such port.
    pub fn counters(&self, port: PortId) -> Option<Counters> {
        lock(&self.core).counters(port)
    }

    /// Behind which port an address was heard, or is known to be.
    pub fn locate(&self, mac: MacAddress) -> Option<PortId> {
        lock(&self.core).locate(mac)
    }

    /// What happened since the last call; the oldest are forgotten when nobody asks.
    pub fn events(&self) -> Vec<SwitchEvent> {
        lock(&self.core).take_events()
    }

    /// Gives `sink` a copy of the frames that pass at a point, until the switch ends. Times are the switch's.
    pub fn capture(&self, point: CapturePoint, sink: impl FrameSink + 'static) {
        lock(&self.core).capture(point, Box::new(sink));
    }

    /// Plugs the cable of a port in or out.
    pub fn set_link(&self, port: PortId, up: bool) {
        let waker = lock(&self.core).set_link(port, up);
        if let Some(waker) = waker {
            waker();
        }
    }

    /// Changes whether a port may hear every frame.
    pub fn set_promiscuous(&self, port: PortId, allowed: bool) {
        lock(&self.core).set_promiscuous(port, allowed);
    }
}

/// A port of a [`Switch`]. Dropping it takes it off the network.
///
/// Frames that wait count as a deadline that has come: [`NetPort::next_deadline`] answers an instant that is not after the
/// last call's, so a machine with two cards on one network goes on without being woken. A machine whose card takes no frames now asks again
/// a little later. The [`Waker`] is called when a frame comes to an empty queue from a port with another one.
pub struct SwitchPort {
    core: Arc<Mutex<Core>>,
    id: PortId,
    /// The buffer of the last frame, which goes back to the switch.
    spare: Option<Vec<u8>>,
}

impl SwitchPort {
    /// Its number.
    pub fn id(&self) -> PortId {
        self.id
    }
}

impl std::fmt::Debug for SwitchPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SwitchPort").field("id", &self.id).finish_non_exhaustive()
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker();
    }
}

impl NetPort for SwitchPort {
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent {
        // Nobody is called while the lock is held.
        let wakers = lock(&self.core).send(self.id, now, frame);
        wake(wakers);
        Sent::Taken
    }

    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        let spare = self.spare.take();
        let (frame, wakers) = lock(&self.core).receive(self.id, now, spare);
        wake(wakers);
        let Some(frame) = frame else { return false };
        take(&frame);
        self.spare = Some(frame);
        true
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        lock(&self.core).next_deadline(self.id)
    }

    fn link(&self) -> bool {
        lock(&self.core).link(self.id)
    }

    fn set_waker(&mut self, waker: Waker) {
        lock(&self.core).set_waker(self.id, waker);
    }
}

impl Drop for SwitchPort {
    fn drop(&mut self) {
        lock(&self.core).remove(self.id);
    }
}
