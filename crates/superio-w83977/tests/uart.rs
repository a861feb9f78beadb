//! The UART as drivers use it.

use proptest::prelude::*;
use slotone_bus::state::{StateError, StateReader};
use slotone_bus::{Device, ResetKind};
use slotone_fuzz_kit::Rig;
use slotone_superio_w83977::uart::pin::IRQ;
use slotone_superio_w83977::uart::{OUTPUT_LIMIT, register};
use slotone_superio_w83977::{ModemLines, Pacing, Uart, UartConfig};

const BASE: u16 = 0x3f8;
const THR: u16 = BASE;
const RBR: u16 = BASE;
const IER: u16 = BASE + register::IER as u16;
const IIR: u16 = BASE + register::IIR_FCR as u16;
const FCR: u16 = IIR;
const LCR: u16 = BASE + register::LCR as u16;
const MCR: u16 = BASE + register::MCR as u16;
const LSR: u16 = BASE + register::LSR as u16;
const MSR: u16 = BASE + register::MSR as u16;
const SCR: u16 = BASE + register::SCR as u16;

fn uart() -> Rig<Uart> {
    Rig::new(Uart::new(UartConfig::new(BASE)))
}

fn with(fifo_64: bool, pacing: Pacing) -> Rig<Uart> {
    Rig::new(Uart::new(UartConfig { fifo_64, pacing, ..UartConfig::new(BASE) }))
}

fn receive(rig: &mut Rig<Uart>, data: &[u8]) -> usize {
    rig.settle();
    let accepted = rig.port.at(rig.now, |cx| rig.device.receive(cx, data));
    rig.lines();
    accepted
}

#[test]
fn registers_after_reset() {
    let mut u = uart();
    let values = [RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR].map(|port| u.inb(port));
    assert_eq!(values, [0x00, 0x00, 0x01, 0x00, 0x00, 0x60, 0xb0, 0x00]);
}

#[test]
fn writable_bits() {
    for (port, mask) in [(IER, 0x0f), (LCR, 0x7f), (MCR, 0x1f), (SCR, 0xff)] {
        for value in [0x00, 0x55, 0xaa, 0xff] {
            let mut u = uart();
            u.outb(port, value & if port == LCR { 0x7f } else { 0xff });
            assert_eq!(u.inb(port), value & mask, "{port:#x} <- {value:#x}");
        }
    }
    let mut u = uart();
    u.outb(LSR, 0xff);
    assert_eq!(u.inb(LSR), 0x60, "LSR is read-only");
    u.outb(LCR, 0x80);
    u.outb(THR, 0x34);
    u.outb(IER, 0x12);
    assert_eq!((u.inb(RBR), u.inb(IER)), (0x34, 0x12), "divisor");
    u.outb(LCR, 0x03);
    assert_eq!((u.inb(RBR), u.inb(IER)), (0x00, 0x00));
}

/// The steps by which Linux's 8250 driver tells what it has found.
#[test]
fn linux_autoconfig_sees_a_16550a() {
    let mut u = uart();
    u.outb(IER, 0x0f);
    assert_eq!(u.inb(IER) & 0x0f, 0x0f);
    u.outb(IER, 0x00);
    assert_eq!(u.inb(IER) & 0x0f, 0x00);
    u.outb(MCR, 0x1a);
    assert_eq!(u.inb(MSR) & 0xf0, 0x90, "loopback of RTS and OUT2");
    u.outb(MCR, 0x00);
    u.outb(LCR, 0xbf);
    u.outb(FCR, 0x00);
    u.outb(LCR, 0x00);
    u.outb(FCR, 0x01);
    assert_eq!(u.inb(IIR) >> 6, 3, "FIFOs work");
    u.outb(LCR, 0x80);
    assert_ne!(u.inb(FCR), 0, "no EFR, whatever is read there");
    u.outb(LCR, 0xbf);
    assert_ne!(u.inb(FCR), 0);
    // 64-byte FIFO, first without DLAB, then with it.
    u.outb(LCR, 0x00);
    u.outb(FCR, 0x21);
    assert_eq!(u.inb(IIR) >> 5, 6);
    u.outb(LCR, 0x80);
    u.outb(FCR, 0x21);
    assert_eq!(u.inb(IIR) >> 5, 6, "not a TI16750");
    u.outb(LCR, 0x00);
    u.outb(IER, 0x40);
    assert_eq!(u.inb(IER) & 0x40, 0, "not an XScale");
}

#[test]
fn the_look_of_virtual_server_is_a_ti16750() {
    let mut u = with(true, Pacing::Immediate);
    u.outb(FCR, 0x21);
    assert_eq!(u.inb(IIR) >> 5, 6, "not without DLAB");
    u.outb(LCR, 0x80);
    u.outb(FCR, 0x21);
    assert_eq!(u.inb(IIR) >> 5, 7);
    u.outb(LCR, 0x00);
    assert_eq!(u.device.room(), 64);
    u.outb(FCR, 0x01);
    assert_eq!(u.inb(IIR) >> 5, 7, "the bit keeps");
    u.outb(FCR, 0x00);
    assert_eq!(u.device.room(), 1);
}

#[test]
fn text_comes_out_at_once() {
    let mut u = uart();
    u.outb(LCR, 0x03);
    u.outb(FCR, 0x07);
    for byte in b"Slot One\r\n" {
        u.outb(THR, *byte);
        u.now += 1;
        assert_eq!(u.inb(LSR) & 0x60, 0x60, "a polling driver never waits");
    }
    assert_eq!(u.device.take_output(), b"Slot One\r\n");
    assert!(!u.device.has_output());
}

#[test]
fn an_interrupt_driven_transmitter() {
    let mut u = uart();
    u.outb(LCR, 0x03);
    u.outb(FCR, 0x01);
    u.outb(MCR, 0x08);
    assert_eq!(u.outb(IER, 0x02), [(IRQ, true)], "THRE: the transmitter is empty already");
    assert_eq!(u.inb(IIR), 0xc2);
    assert!(!u.levels().get(IRQ), "reading IIR takes it back");
    assert_eq!(u.inb(IIR), 0xc1);
    for byte in 0..16 {
        u.outb(THR, byte);
    }
    assert_eq!(u.inb(LSR) & 0x20, 0, "not yet");
    assert_eq!(u.advance(1), [(IRQ, true)]);
    assert_eq!(u.device.take_output(), (0..16).collect::<Vec<u8>>());
    u.outb(IER, 0x00);
    assert_eq!(u.outb(IER, 0x02), [(IRQ, true)], "switched on again, it asks again");
}

#[test]
fn out2_and_loopback_gate_the_interrupt() {
    let mut u = uart();
    assert_eq!(u.outb(IER, 0x02), []);
    assert_eq!(u.outb(MCR, 0x08), [(IRQ, true)]);
    assert_eq!(u.outb(MCR, 0x18), [(IRQ, false)]);
    assert_eq!(u.outb(MCR, 0x00), []);
}

#[test]
fn receiver_trigger_levels_and_timeout() {
    for (code, level) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] {
        let mut u = uart();
        u.outb(LCR, 0x03);
        u.outb(FCR, code);
        u.outb(MCR, 0x08);
        u.outb(IER, 0x01);
        for n in 1..level {
            receive(&mut u, &[n]);
            assert!(!u.levels().get(IRQ), "{n} of {level}");
        }
        receive(&mut u, &[level]);
        assert!(u.levels().get(IRQ));
        assert_eq!(u.inb(IIR), 0xc4);
        u.inb(RBR);
        assert!(!u.levels().get(IRQ));
        if level > 1 {
            // 9600 baud, 8N1: a character is 1.042 ms.
            assert_eq!(u.advance(4_160_000), []);
            assert_eq!(u.advance(10_000), [(IRQ, true)]);
            assert_eq!(u.inb(IIR), 0xcc);
            u.inb(RBR);
            assert!(!u.levels().get(IRQ), "a read ends the time-out");
        }
    }
}

#[test]
fn flow_is_by_room() {
    let mut u = uart();
    assert_eq!(receive(&mut u, b"abc"), 1, "no FIFO");
    assert_eq!(u.inb(RBR), b'a');
    u.outb(FCR, 0x01);
    assert_eq!(receive(&mut u, &[7; 20]), 16);
    assert_eq!(u.device.room(), 0);
    assert_eq!(receive(&mut u, b"x"), 0);
    u.inb(RBR);
    assert_eq!(u.device.room(), 1);
    u.outb(FCR, 0x03);
    assert_eq!(u.device.room(), 16, "FCR bit 1 clears the receiver");
    assert_eq!(u.inb(LSR), 0x60);
}

#[test]
fn loopback() {
    let mut u = uart();
    u.outb(LCR, 0x03);
    u.outb(FCR, 0x01);
    u.outb(MCR, 0x10);
    u.outb(THR, 0xa5);
    u.advance(1);
    assert_eq!(u.inb(LSR), 0x61);
    assert_eq!(u.inb(RBR), 0xa5);
    assert_eq!(u.device.take_output(), b"", "nothing leaves");
    for (mcr, msr) in [(0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80)] {
        u.outb(MCR, 0x10 | mcr);
        assert_eq!(u.inb(MSR) & 0xf0, msr);
    }
    // Without FIFOs the second character overruns the first.
    u.outb(FCR, 0x00);
    u.outb(THR, 1);
    u.advance(1);
    u.outb(THR, 2);
    u.advance(1);
    assert_eq!(u.inb(LSR), 0x63);
    assert_eq!(u.inb(LSR), 0x61, "reading clears OE");
    assert_eq!(u.inb(RBR), 2);
}

#[test]
fn modem_status() {
    let mut u = uart();
    u.inb(MSR);
    u.outb(MCR, 0x0b);
    assert_eq!(u.device.dtr_rts(), (true, true));
    u.outb(IER, 0x08);
    let set = |u: &mut Rig<Uart>, lines| {
        u.port.at(u.now, |cx| u.device.set_modem(cx, lines));
        u.lines()
    };
    assert_eq!(set(&mut u, ModemLines::DISCONNECTED), [(IRQ, true)]);
    assert_eq!(u.inb(IIR), 0x00);
    assert_eq!(u.inb(MSR), 0x0b);
    assert!(!u.levels().get(IRQ));
    set(&mut u, ModemLines { ri: true, ..ModemLines::DISCONNECTED });
    assert_eq!(u.inb(MSR), 0x40, "RI counts only when it ends");
    set(&mut u, ModemLines::DISCONNECTED);
    assert_eq!(u.inb(MSR), 0x04);
}

#[test]
fn breaks() {
    let mut u = uart();
    u.outb(FCR, 0x01);
    u.outb(MCR, 0x08);
    u.outb(IER, 0x04);
    receive(&mut u, b"a");
    let taken = u.port.at(u.now, |cx| u.device.receive_break(cx));
    u.lines();
    assert!(taken);
    assert_eq!(u.inb(LSR), 0xe1, "an error is in the FIFO, not at its head");
    assert_eq!(u.inb(RBR), b'a');
    assert!(u.levels().get(IRQ));
    assert_eq!(u.inb(IIR), 0xc6);
    assert_eq!(u.inb(LSR), 0xf9);
    assert_eq!(u.inb(LSR), 0x61);
    assert!(!u.levels().get(IRQ));
    u.outb(LCR, 0x40);
    assert!(u.device.sends_break());
    u.outb(THR, b'x');
    u.advance(1);
    assert_eq!(u.device.take_output(), b"");
}

#[test]
fn baud_pacing() {
    let mut u = with(false, Pacing::Baud);
    u.outb(LCR, 0x83);
    u.outb(THR, 1); // 115200
    u.outb(IER, 0);
    u.outb(LCR, 0x03);
    u.outb(FCR, 0x01);
    for byte in b"0123456789" {
        u.outb(THR, *byte);
    }
    assert_eq!(u.inb(LSR) & 0x60, 0);
    u.advance(86_806);
    assert_eq!(u.device.take_output(), b"0", "10 bits at 115200 baud");
    u.advance(8 * 86_806);
    assert_eq!(u.device.take_output(), b"12345678");
    assert_eq!(u.inb(LSR) & 0x60, 0x20, "the last one is in the shift register");
    u.advance(86_806);
    assert_eq!(u.inb(LSR) & 0x60, 0x60);
    assert_eq!(u.device.take_output(), b"9");
    assert_eq!(u.device.next_deadline(), None);
}

#[test]
fn word_length_limits_what_is_sent() {
    for (lcr, mask) in [(0x00, 0x1f), (0x01, 0x3f), (0x02, 0x7f), (0x03, 0xff)] {
        let mut u = uart();
        u.outb(LCR, lcr);
        u.outb(THR, 0xff);
        u.advance(1);
        assert_eq!(u.device.take_output(), [mask]);
    }
}

#[test]
fn nobody_takes_the_output() {
    let mut u = uart();
    u.outb(LCR, 0x03);
    for n in 0..OUTPUT_LIMIT + 100 {
        u.outb(THR, n as u8);
        u.now += 1;
    }
    u.settle();
    assert_eq!(u.device.take_output().len(), OUTPUT_LIMIT);
}

#[test]
fn reset_keeps_what_was_sent() {
    let mut u = uart();
    u.outb(LCR, 0x03);
    u.outb(THR, b'!');
    u.advance(1);
    u.outb(IER, 0x0f);
    u.reset(ResetKind::Bus);
    assert_eq!(u.inb(IER), 0);
    assert_eq!(u.device.take_output(), b"!");
}

#[test]
fn states_that_no_uart_can_have() {
    let u = uart();
    let good = u.state();
    let body = 4 + "16550a".len() + 2 + 4; // name, version, length
    // IER, FCR, MCR, line errors, modem lines, deltas.
    for (field, value) in [(0, 0x10), (1, 0x21), (1, 0x02), (3, 0x20), (7, 0x20), (8, 0x01), (9, 0x10)] {
        let mut bad = good.clone();
        bad[body + field] = value;
        let refused = Uart::new(UartConfig::new(BASE)).restore(&mut StateReader::new(&bad));
        assert!(matches!(refused, Err(StateError::Invalid { .. })), "field {field} = {value:#x}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the FIFO settings and the pace, what goes in comes out in order.
    #[test]
    fn bytes_pass_in_order(text in prop::collection::vec(any::<u8>(), 0..200), fcr in any::<u8>(), paced in any::<bool>()) {
        let mut u = with(true, if paced { Pacing::Baud } else { Pacing::Immediate });
        u.outb(LCR, 0x83);
        u.outb(THR, 1);
        u.outb(FCR, fcr);
        u.outb(LCR, 0x03);
        for byte in &text {
            while u.inb(LSR) & 0x20 == 0 {
                u.advance(10_000);
            }
            u.outb(THR, *byte);
        }
        u.advance(100_000_000);
        prop_assert_eq!(u.device.take_output(), text.clone());
        let mut got = Vec::new();
        let mut rest = &text[..];
        while got.len() < text.len() {
            let n = receive(&mut u, rest);
            rest = &rest[n..];
            while u.inb(LSR) & 1 != 0 {
                got.push(u.inb(RBR));
            }
        }
        prop_assert_eq!(got, text);
    }
}
