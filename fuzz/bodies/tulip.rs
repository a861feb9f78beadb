//! The 21140A under the harness, and its serial ROM.

use std::collections::{BTreeMap, VecDeque};

use slotone_bus::mem::Memory;
use slotone_bus::{At, Cx, Device, DmaFault, LentId, Pin, Port, ResetKind, TestPort, VmInstant, WindowId};
use slotone_fuzz_kit::{Harness, Operation, Script, assert_rules};
use slotone_net::{MAX_FRAME, MacAddress, NetClient, NetPort, Received, Sent, exchange};
use slotone_tulip_nic::registers::{csr0, csr6, csr9};
use slotone_tulip_nic::srom::{self, Srom};
use slotone_tulip_nic::{Tulip, TulipConfig};

use super::{Reader, text};

const MAC: MacAddress = MacAddress([0x00, 0x03, 0xff, 0x11, 0x22, 0x33]);

/// A network on which every frame comes back.
#[derive(Default)]
struct Echo(VecDeque<Vec<u8>>);

impl NetPort for Echo {
    fn send(&mut self, _: VmInstant, frame: &[u8]) -> Sent {
        if self.0.len() > 8 {
            return Sent::Full;
        }
        self.0.push_back(frame.to_vec());
        Sent::Taken
    }
    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        self.0.pop_front().map(|frame| take(&frame)).is_some()
    }
}

/// A card. `h 0 B` plugs the cable in or out, `h 1 LLLLTTTTTTTTTTTT..` is a frame of L bytes (little-endian) that arrives for address T, `h 2 N` lets the network take at most N frames, `h 3`
/// connects it for 32 frames to a network where every frame comes back.
pub fn tulip(input: &[u8]) {
    let make = || {
        Harness::new(|| Tulip::new(TulipConfig::new(MAC))).with_host(|card: &mut Tulip, cx, event, data| {
            let first = data.first().copied().unwrap_or(0);
            match event {
                0 => card.set_link(cx, first & 1 != 0),
                1 => {
                    let held = card.frame().map(<[u8]>::to_vec);
                    let (len, head) = data.split_at(data.len().min(2));
                    let len = len.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
                    let mut frame: Vec<u8> = (0..len % (MAX_FRAME + 1)).map(|n| n as u8).collect();
                    frame.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
                    card.receive(cx, &frame);
                    assert_eq!(card.frame(), held.as_deref(), "a frame stays until it is sent");
                }
                2 => {
                    for _ in 0..first {
                        let Some(frame) = card.frame() else { break };
                        assert!(frame.len() <= MAX_FRAME, "a frame of {} bytes", frame.len());
                        card.sent(cx);
                    }
                }
                _ => {
                    let done = exchange(card, &mut Echo::default(), cx, 32);
                    assert!(done.sent + done.received <= 32);
                }
            }
        })
    };
    let script = Script::from_input(input);
    assert_rules(make, &script);
    watched(&script);
}

/// Main memory that knows which descriptors the card has read, and so where it may write.
struct Watched {
    ram: Memory,
    /// Descriptors that the card owned when it read them, until it gives them back; how often it read them (a ring of one is its own
    /// next).
    owned: BTreeMap<u64, ([u32; 4], u32)>,
    /// The last set-up frame: its TDES1 and its bytes.
    setup: Option<(u32, Vec<u8>)>,
    /// DBO or BLE: what memory holds is not looked into.
    swapped: bool,
}

const OWN: u32 = 1 << 31;
const SET: u32 = 1 << 27;
const SETUP_DONE: [u8; 4] = 0x7fff_ffffu32.to_le_bytes();

impl Watched {
    fn word(data: &[u8], n: usize) -> u32 {
        u32::from_le_bytes([data[n], data[n + 1], data[n + 2], data[n + 3]])
    }

    /// A descriptor's two buffers as address and bytes.
    fn buffers([_, sizes, buffer1, buffer2]: [u32; 4]) -> [(u64, u64); 2] {
        let chained = sizes & 1 << 24 != 0;
        let second = if chained { 0 } else { sizes >> 11 & 0x7fc };
        [(u64::from(buffer1 & !3), u64::from(sizes & 0x7fc)), (u64::from(buffer2 & !3), u64::from(second))]
    }
}

impl Port for Watched {
    fn line(&mut self, _: Pin, _: bool) {}
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.ram.read(address, data).map_err(|_| DmaFault { address, len: data.len() })?;
        if self.swapped {
            return Ok(());
        }
        if data.len() == 16 && Self::word(data, 0) & OWN != 0 {
            let (descriptor, times) = self.owned.entry(address).or_default();
            *descriptor = [0, 4, 8, 12].map(|n| Self::word(data, n));
            *times += 1;
        }
        Ok(())
    }
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        let len = data.len() as u64;
        let status = self.owned.get_mut(&address).filter(|_| len == 4);
        if let Some((descriptor, times)) = status {
            // A set-up frame that was taken: what is missing of it counts as zeros.
            if descriptor[1] & SET != 0 && data == SETUP_DONE {
                let mut frame = vec![0; 192];
                let len = 192.min(descriptor[1] as usize & 0x7ff);
                let known = self.ram.read(descriptor[2].into(), &mut frame[..len]).is_ok();
                self.setup = known.then_some((descriptor[1], frame));
            }
            *times -= 1;
            if *times == 0 {
                self.owned.remove(&address);
            }
        } else if !self.swapped {
            let mut buffers = self.owned.values().flat_map(|(d, _)| Self::buffers(*d));
            let inside = buffers.any(|(at, size)| address >= at && address + len <= at + size);
            assert!(inside, "{len} bytes written to {address:x}, where no descriptor of the card's lets it");
        }
        self.ram.write(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn lent(&mut self, _: LentId) -> Option<&mut Memory> {
        None
    }
}

/// Whether a frame to `address` passes, by the table of the manual; the modes come from the set-up frame.
fn passes(control: u32, setup: Option<&(u32, Vec<u8>)>, address: [u8; 6]) -> bool {
    let group = address[0] & 1 != 0;
    if control & (csr6::PR | csr6::RA) != 0 || group && control & csr6::PM != 0 {
        return true;
    }
    let Some((kind, bytes)) = setup else { return false };
    // Two bytes of an address, or 16 bits of the hash table, in the low half of each longword.
    let entry = |n: usize| -> [u8; 6] { std::array::from_fn(|at| bytes[n * 4 + at / 2 * 4 + at % 2]) };
    let crc = address.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 })
    });
    let index = (crc & 0x1ff) as usize;
    let hashed = bytes[index / 16 * 4 + index % 16 / 8] >> (index % 8) & 1 != 0;
    let listed = (0..16).any(|n| entry(n * 3) == address);
    match (kind & 1 << 28 != 0, kind & 1 << 22 != 0) {
        (false, false) => listed,
        (true, false) => !listed,
        (false, true) if !group => entry(39) == address,
        _ => hashed,
    }
}

/// The script once more on a card alone: it writes nothing but its own descriptors and into their buffers, and takes no frame that its
/// filter keeps out.
fn watched(script: &Script) {
    let ram = Memory::new(1 << 20).expect("a mebibyte");
    let mut port = Watched { ram, owned: BTreeMap::new(), setup: None, swapped: false };
    let mut card = Tulip::new(TulipConfig::new(MAC));
    let (mut now, mut ticks) = (0u64, 0);
    for operation in &script.operations {
        let csr = |card: &mut Tulip, port: &mut Watched, n: u64| {
            let mut value = [0; 4];
            let at = At { window: WindowId(1), offset: 8 * n };
            card.read(&mut Cx::new(VmInstant::from_nanos(now), port), at, &mut value);
            u32::from_le_bytes(value)
        };
        let control = csr(&mut card, &mut port, 6);
        let cx = |port: &mut Watched, f: &mut dyn FnMut(&mut Cx<'_>)| {
            f(&mut Cx::new(VmInstant::from_nanos(now), port));
        };
        match operation {
            Operation::Write { window, offset, data } if *window < 3 => {
                let at = At { window: WindowId((*window).into()), offset: (*offset).into() };
                // A write that may reset the card or change its byte order.
                if *window != 0 && offset & 0x7f < 4 {
                    port.swapped |=
                        Watched::word(&[&data[..], &[0; 4]].concat(), 0) & (csr0::DBO | csr0::BLE) != 0;
                    port.setup = port.setup.take().filter(|_| data[0] & 1 == 0);
                }
                cx(&mut port, &mut |cx| card.write(cx, at, data));
                let value = csr(&mut card, &mut port, 0);
                port.swapped |= value & (csr0::DBO | csr0::BLE) != 0;
                if csr(&mut card, &mut port, 6) & (csr6::SR | csr6::ST) == 0 {
                    port.owned.clear();
                }
            }
            Operation::Memory { address, data } => {
                let at = u64::from(*address) % (1 << 20);
                let fits = data.len().min(((1 << 20) - at) as usize);
                port.ram.write(at, &data[..fits]).expect("in memory");
            }
            Operation::Advance { nanos } => {
                let end = now + u64::from(*nanos);
                while let Some(due) = card.next_deadline().map(|due| due.as_nanos())
                    && due <= end
                    && ticks < 2_000
                {
                    now = now.max(due);
                    ticks += 1;
                    card.tick(&mut Cx::new(VmInstant::from_nanos(now), &mut port));
                }
                now = end;
            }
            Operation::Reset => {
                card.reset(ResetKind::Bus);
                port.setup = None;
                port.owned.clear();
            }
            Operation::Host { event: 0, data } => {
                let on = data.first().is_some_and(|byte| byte & 1 != 0);
                cx(&mut port, &mut |cx| card.set_link(cx, on));
            }
            Operation::Host { event: 1, data } => {
                let (len, head) = data.split_at(data.len().min(2));
                let len = len.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
                let mut frame: Vec<u8> = (0..len % (MAX_FRAME + 1)).map(|n| n as u8).collect();
                frame.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
                let mut to = [0; 6];
                to.iter_mut().zip(&frame).for_each(|(to, from)| *to = *from);
                let may = passes(control, port.setup.as_ref(), to);
                let mut received = Received::Filtered;
                cx(&mut port, &mut |cx| received = card.receive(cx, &frame));
                let known = !port.swapped;
                assert!(
                    may || !known || received == Received::Filtered,
                    "{to:02x?} is {received:?}, CSR6 {control:x}"
                );
            }
            Operation::Host { event: 2, data } => {
                for _ in 0..data.first().copied().unwrap_or(0) {
                    if card.frame().is_none() {
                        break;
                    }
                    cx(&mut port, &mut |cx| card.sent(cx));
                }
            }
            _ => {}
        }
    }
}

/// A serial ROM's bytes, the first one saying what is made right (1 both CRCs, 2 version and controller count): what is read is
/// written again and read alike, and the chip gives every bit as it is.
pub fn srom(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut r = Reader(&bytes);
    let mend = r.u8();
    let mut image: [u8; srom::LEN] = r.array();
    if mend & 2 != 0 {
        (image[18], image[19]) = (3, 1);
    }
    if mend & 1 != 0 {
        srom::seal(&mut image);
    }
    if let Ok(rom) = Srom::parse(&image)
        && let Ok(own) = rom.image()
    {
        assert_eq!(Srom::parse(&own).as_ref(), Ok(&rom), "what was written is read");
    }

    let mut card = Tulip::new(TulipConfig { srom: Some(image), ..TulipConfig::new(MAC) });
    let mut port = TestPort::new(4096);
    let mut config = |offset: u64, data: &[u8]| {
        port.at(0, |cx| card.write(cx, At { window: WindowId(0), offset }, data));
    };
    config(0x10, &[0x81, 0xe8, 0, 0]);
    config(0x04, &[1]);
    let at = At { window: WindowId(1), offset: 9 * 8 };
    for (n, expected) in (0u32..).zip(image.chunks(2)) {
        let mut got = 0u16;
        let command = 0b110 << 6 | n;
        for bit in (0..9 + 16).rev() {
            let data = if bit >= 16 && command >> (bit - 16) & 1 != 0 { csr9::SR_DI } else { 0 };
            let select = csr9::SR | csr9::SR_CS | data;
            port.at(0, |cx| {
                card.write(cx, at, &select.to_le_bytes());
                card.write(cx, at, &(select | csr9::SR_SK).to_le_bytes());
            });
            let mut value = [0; 4];
            port.at(0, |cx| card.read(cx, at, &mut value));
            got = got << 1 | u16::from(value[0] & 8 != 0);
        }
        port.at(0, |cx| card.write(cx, at, &csr9::SR.to_le_bytes()));
        assert_eq!(got.to_le_bytes(), expected, "word {n}");
    }
    let mut id = [0; 4];
    port.at(0, |cx| card.read(cx, At { window: WindowId(0), offset: 0x2c }, &mut id));
    let sound = srom::id_crc(&image) == image[16];
    assert_eq!(id, if sound { [image[0], image[1], image[2], image[3]] } else { [0; 4] }, "CSID");
}
