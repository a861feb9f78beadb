//! The 21140A under the harness, and its serial ROM.

use std::collections::VecDeque;

use slotone_bus::{At, Device, TestPort, VmInstant, WindowId};
use slotone_fuzz_kit::{Harness, Script, assert_rules};
use slotone_net::{MAX_FRAME, MacAddress, NetClient, NetPort, Sent, exchange};
use slotone_tulip_nic::registers::csr9;
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
    assert_rules(make, &Script::from_input(input));
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
