//! The contract between network cards and networks, as `slotone-block` is the one between disk controllers and media.
//!
//! Three parties: a **card** ([`NetClient`], for instance `slotone-tulip-nic`) turns descriptors into frames and back; a **port**
//! ([`NetPort`], for instance of a `slotone-vnet` switch) takes and gives frames; the **machine** carries frames between the two with
//! [`exchange`]. Neither card nor port blocks, and neither has a thread or a clock: virtual time is an argument, so two runs with the
//! same inputs are the same run.
//!
//! A frame is an Ethernet frame from the destination address to the end of the data, without preamble and frame check sequence. A card pads or
//! cuts nothing; frames of 0 to [`MAX_FRAME`] bytes are passed on, the other party decides whether they are too short.
#![forbid(unsafe_code)]

use slotone_bus::{Cx, VmInstant};
use std::sync::Arc;

/// Longest frame that crosses the contract, in bytes. A 21140A can be told to send more than the 1518 of the standard; what is longer than this is
/// cut by the card.
pub const MAX_FRAME: usize = 4096;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The group bit is set: a multicast or the broadcast address.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}-{b:02X}-{c:02X}-{d:02X}-{e:02X}-{g:02X}")
    }
}

/// Text that is no Ethernet address: six pairs of hexadecimal digits with `-` or `:` between them, or twelve digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseMacError;

impl std::fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("expected an Ethernet address such as 00-03-FF-12-34-56")
    }
}

impl std::error::Error for ParseMacError {}

impl std::str::FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let separated = text.len() == 17 && text.bytes().skip(2).step_by(3).all(|b| b == b'-' || b == b':');
        if !text.is_ascii() || !(separated || text.len() == 12) {
            return Err(ParseMacError);
        }
        let step = if separated { 3 } else { 2 };
        let mut out = [0; 6];
        for (i, byte) in out.iter_mut().enumerate() {
            let pair = &text[i * step..i * step + 2];
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseMacError)?;
        }
        Ok(Self(out))
    }
}

/// What a port did with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way, or was dropped as a real network may.
    Taken,
    /// There is no room now. The port asks to be served again by [`NetPort::next_deadline`] or its [`Waker`].
    Full,
}

/// What a card did with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It is in the guest's memory.
    Taken,
    /// The card's address filter, its state or the link refused it.
    Filtered,
    /// It was meant for the card, but no descriptor was free: the card has counted it as missed.
    Missed,
}

/// Called, from any thread, when something outside happened that lets [`NetPort::receive`] give a frame or [`NetPort::send`] take one. Calls may be
/// lost among each other but never all of them: the owner serves the port until it has nothing to do.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A place on a network into which a card is plugged.
pub trait NetPort: Send {
    /// Takes a frame from the card.
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent;

    /// Gives the next frame for the card to `take` and answers whether there was one. Frames come in order; one that the card refuses is gone.
    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool;

    /// When the port wants to be served though nothing happened outside: a frame that is delayed, a timer of a built-in server.
    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    /// The cable is plugged in.
    fn link(&self) -> bool {
        true
    }

    /// Who to call when something happened outside. Ports that know no outside ignore it.
    fn set_waker(&mut self, waker: Waker) {
        let _ = waker;
    }
}

impl<P: NetPort + ?Sized> NetPort for Box<P> {
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent {
        (**self).send(now, frame)
    }

    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        (**self).receive(now, take)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        (**self).next_deadline()
    }

    fn link(&self) -> bool {
        (**self).link()
    }

    fn set_waker(&mut self, waker: Waker) {
        (**self).set_waker(waker);
    }
}

/// A card whose frames the machine carries.
pub trait NetClient {
    /// The frame that the transmitter holds ready. It stays the same until [`NetClient::sent`].
    fn frame(&self) -> Option<&[u8]>;

    /// [`NetClient::frame`] was taken by the network: the card closes its descriptors and may hold the next one ready.
    fn sent(&mut self, cx: &mut Cx<'_>);

    /// A frame from the network.
    fn receive(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Received;

    /// A frame offered now would be taken, or refused for good. `false`: the receiver runs but has no free descriptor, and waiting may help;
    /// [`exchange`] leaves frames with the port meanwhile, whose queue is bounded, as a switch with flow control would.
    fn ready(&self) -> bool;

    /// The cable was plugged in or out.
    fn set_link(&mut self, cx: &mut Cx<'_>, up: bool);
}

/// What [`exchange`] did and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exchanged {
    /// Frames that the port took.
    pub sent: u32,
    /// Frames that the port gave.
    pub received: u32,
    /// Bytes of both.
    pub bytes: u64,
    /// The budget ended before the frames did: call again soon.
    pub more: bool,
}

/// Carries frames both ways until neither side has any, the port is full, or `budget` frames have been moved. A budget is what keeps a guest whose
/// descriptors never end from holding the machine.
pub fn exchange(
    client: &mut dyn NetClient,
    port: &mut dyn NetPort,
    cx: &mut Cx<'_>,
    budget: u32,
) -> Exchanged {
    let mut done = Exchanged::default();
    let now = cx.now();
    let mut full = false;
    while done.sent + done.received < budget {
        let mut idle = true;
        if !full && let Some(frame) = client.frame() {
            let bytes = frame.len() as u64;
            match port.send(now, frame) {
                Sent::Taken => {
                    client.sent(cx);
                    done.sent += 1;
                    done.bytes += bytes;
                    idle = false;
                }
                Sent::Full => full = true,
            }
        }
        if done.sent + done.received < budget && client.ready() {
            let mut bytes = 0;
            let got = port.receive(now, &mut |frame| {
                bytes = frame.len() as u64;
                client.receive(cx, frame);
            });
            if got {
                done.received += 1;
                done.bytes += bytes;
                idle = false;
            }
        }
        if idle {
            return done;
        }
    }
    done.more = true;
    done
}

/// A port into which no cable is plugged.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotConnected;

impl NetPort for NotConnected {
    fn send(&mut self, _: VmInstant, _: &[u8]) -> Sent {
        Sent::Taken
    }

    fn receive(&mut self, _: VmInstant, _: &mut dyn FnMut(&[u8])) -> bool {
        false
    }

    fn link(&self) -> bool {
        false
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
