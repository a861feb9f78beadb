//! Int 15h: system services.

use crate::Firmware;
use crate::bda::{self, EBDA_SEGMENT};
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::memory_map::{self, MemoryMap};
use crate::rom::fixed;
use crate::wait;

const SMAP: u32 = 0x534D_4150;
/// A PIT tick; waits shorter than this spin.
const TICK_NANOS: u64 = 54_925_400;

/// Serves int 15h.
pub(crate) fn int15(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    frame.set_carry(false);
    match frame.ah() {
        0x24 => a20(bus, frame),
        // Keyboard intercept: nothing was changed, go on.
        0x4F => frame.set_carry(true),
        0x80..=0x82 | 0x85 | 0x90 | 0x91 => frame.set_ah(0),
        0x83 => event_wait(bus, frame),
        0x86 => {
            if frame.phase() == 0 {
                let micros = u64::from(frame.cx()) << 16 | u64::from(frame.dx());
                wait::start(bus, frame, micros * 1000);
                frame.set_phase(1);
            }
            let left = wait::left(bus, frame);
            if left > 0 {
                return if left > TICK_NANOS { wait::idle(bus) } else { Outcome::Spin };
            }
            frame.set_ah(0);
        }
        0x87 => block_move(bus, frame),
        0x88 => {
            let kib = (memory_map::low_top(firmware.memory) - (1 << 20)) >> 10;
            frame.set_ax(kib.min(0xFC00) as u16);
        }
        0xC0 => {
            frame.set_es(0xF000);
            frame.set_bx(fixed::CONFIG);
            frame.set_ah(0);
        }
        0xC1 => frame.set_es(EBDA_SEGMENT),
        0xE8 => extended(firmware, bus, frame),
        _ => unsupported(frame),
    }
    Outcome::Done
}

fn unsupported(frame: &mut Frame) {
    frame.set_ah(0x86);
    frame.set_carry(true);
}

fn a20(bus: &mut dyn Initiator, frame: &mut Frame) {
    let port = bus.inb(0x92);
    match frame.al() {
        // Bit 0 would reset the processor.
        0 => bus.outb(0x92, port & !0x03),
        1 => bus.outb(0x92, port & !0x01 | 0x02),
        2 => frame.set_al(port >> 1 & 1),
        // Keyboard controller and port 92h.
        3 => frame.set_bx(3),
        _ => return unsupported(frame),
    }
    frame.set_ah(0);
}

/// AH=83h: sets a bit of the caller's after a time, by the RTC's periodic interrupt.
fn event_wait(bus: &mut dyn Initiator, frame: &mut Frame) {
    let control = bus.cmos(0x0B);
    match frame.al() {
        0 if bus.get8(bda::WAIT_ACTIVE) & 1 != 0 => {
            frame.set_ah(0x80);
            frame.set_carry(true);
        }
        0 => {
            bus.put16(bda::WAIT_POINTER, frame.bx());
            bus.put16(bda::WAIT_POINTER + 2, frame.es());
            bus.put16(bda::WAIT_COUNT, frame.dx());
            bus.put16(bda::WAIT_COUNT + 2, frame.cx());
            bus.put8(bda::WAIT_ACTIVE, 1);
            for port in [0x21, 0xA1] {
                let mask = bus.inb(port);
                bus.outb(port, mask & if port == 0x21 { !0x04 } else { !0x01 });
            }
            bus.set_cmos(0x0B, control | 0x40);
            frame.set_ah(0);
        }
        1 => {
            bus.put8(bda::WAIT_ACTIVE, 0);
            bus.set_cmos(0x0B, control & !0x40);
            frame.set_ah(0);
        }
        _ => unsupported(frame),
    }
}

/// IRQ 8: the alarm (int 4Ah) and the end of AH=83h.
pub(crate) fn rtc(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    if frame.phase() != 0 {
        return Outcome::Done;
    }
    let control = bus.cmos(0x0B);
    let cause = bus.cmos(0x0C) & control;
    if cause & 0x40 != 0 && bus.get8(bda::WAIT_ACTIVE) & 1 != 0 {
        // 1024 Hz: 976 microseconds each.
        match bus.get32(bda::WAIT_COUNT).checked_sub(976) {
            Some(left) => bus.put32(bda::WAIT_COUNT, left),
            None => {
                bus.put8(bda::WAIT_ACTIVE, 0);
                bus.set_cmos(0x0B, control & !0x40);
                let (segment, offset) = crate::int10::pointer(bus.get32(bda::WAIT_POINTER));
                let flag = crate::frame::far(segment, offset);
                let value = bus.get8(flag);
                bus.put8(flag, value | 0x80);
            }
        }
    }
    if cause & 0x20 != 0 {
        let (segment, offset) = crate::int10::pointer(bus.get32(0x4A * 4));
        frame.call(segment, offset, 0, 0, 0, 0);
        frame.set_phase(1);
        return Outcome::Interrupt;
    }
    Outcome::Done
}

/// AH=87h: copies CX words between the 32-bit addresses of two descriptors.
fn block_move(bus: &mut dyn Initiator, frame: &mut Frame) {
    let words = frame.cx();
    if words > 0x8000 {
        frame.set_ah(2);
        frame.set_carry(true);
        return;
    }
    let table = frame.at_es(frame.si());
    let mut base = |descriptor: u32| {
        let low = bus.get32(table + descriptor + 2) & 0xFF_FFFF;
        u64::from(low) | u64::from(bus.get8(table + descriptor + 7)) << 24
    };
    let (mut from, mut to) = (base(0x10), base(0x18));
    let mut left = usize::from(words) * 2;
    let mut buffer = [0; 4096];
    while left > 0 {
        let n = left.min(buffer.len());
        bus.phys_read(from, &mut buffer[..n]);
        bus.phys_write(to, &buffer[..n]);
        (from, to, left) = (from + n as u64, to + n as u64, left - n);
    }
    frame.set_ah(0);
    frame.set_zero(true);
}

fn extended(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) {
    let top = memory_map::low_top(firmware.memory);
    // KiB between 1 and 16 MiB, and 64 KiB units above.
    let low = (top.min(16 << 20) - (1 << 20)) >> 10;
    let high = top.saturating_sub(16 << 20) >> 16;
    match frame.al() {
        0x01 => {
            frame.set_ax(low as u16);
            frame.set_cx(low as u16);
            frame.set_bx(high as u16);
            frame.set_dx(high as u16);
        }
        0x81 => {
            frame.set_eax(low as u32);
            frame.set_ecx(low as u32);
            frame.set_ebx(high as u32);
            frame.set_edx(high as u32);
        }
        0x20 if frame.edx() == SMAP => {
            let map = MemoryMap::new(firmware.memory);
            let index = frame.ebx() as usize;
            let Some(range) = map.entries().get(index) else { return unsupported(frame) };
            if frame.ecx() < 20 {
                return unsupported(frame);
            }
            bus.put(frame.at_es(frame.di()), &range.to_bytes());
            let next = if index + 1 == map.entries().len() { 0 } else { index as u32 + 1 };
            frame.set_eax(SMAP);
            frame.set_ebx(next);
            frame.set_ecx(20);
        }
        _ => unsupported(frame),
    }
}
