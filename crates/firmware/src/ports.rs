//! Int 11h, 12h, 14h and 17h: equipment, memory, serial and parallel ports.

use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::wait;

/// Serves int 11h and 12h.
pub(crate) fn equipment(bus: &mut dyn Initiator, frame: &mut Frame, address: u32) {
    frame.set_ax(bus.get16(address));
}

/// A wait of the unit in which the BDA keeps time-outs.
const TIMEOUT_UNIT_NANOS: u64 = 500_000_000;

/// Serves int 14h.
pub(crate) fn int14(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let number = u32::from(frame.dx());
    if number > 3 {
        return Outcome::Done;
    }
    let port = bus.get16(bda::COM_PORTS + 2 * number);
    if port == 0 {
        return Outcome::Done;
    }
    if frame.phase() == 0 {
        let units = u64::from(bus.get8(bda::COM_TIMEOUTS + number)).max(1);
        wait::start(bus, frame, units * TIMEOUT_UNIT_NANOS);
        frame.set_phase(1);
        match frame.ah() {
            0 => {
                const DIVISORS: [u16; 8] = [1047, 768, 384, 192, 96, 48, 24, 12];
                let [low, high] = DIVISORS[usize::from(frame.al() >> 5)].to_le_bytes();
                let format = frame.al() & 0x1F;
                for (register, value) in [(3, format | 0x80), (0, low), (1, high), (3, format), (1, 0)] {
                    bus.outb(port + register, value);
                }
            }
            1 => bus.outb(port + 4, 0x03),
            2 => bus.outb(port + 4, 0x01),
            _ => {}
        }
    }
    let line = bus.inb(port + 5);
    let ready = match frame.ah() {
        1 => line & 0x20 != 0,
        2 => line & 0x01 != 0,
        0 | 3 => true,
        _ => return Outcome::Done,
    };
    if !ready && wait::left(bus, frame) > 0 {
        return Outcome::Spin;
    }
    let timeout = if ready { 0 } else { 0x80 };
    match frame.ah() {
        1 => {
            if ready {
                bus.outb(port, frame.al());
            }
            frame.set_ah(line & 0x7F | timeout);
        }
        2 => {
            if ready {
                frame.set_al(bus.inb(port));
            }
            frame.set_ah(line & 0x1E | timeout);
        }
        _ => {
            frame.set_ah(line);
            frame.set_al(bus.inb(port + 6));
        }
    }
    Outcome::Done
}

/// Serves int 17h.
pub(crate) fn int17(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let number = u32::from(frame.dx());
    if number > 2 {
        return Outcome::Done;
    }
    let port = bus.get16(bda::LPT_PORTS + 2 * number);
    if port == 0 {
        return Outcome::Done;
    }
    // Bits 7-3 of the status with acknowledge and error turned to "1 is good news" as int 17h reports them.
    let status = bus.inb(port + 1) & 0xF8 ^ 0x48;
    let mut timeout = 0;
    match frame.ah() {
        0 => {
            if frame.phase() == 0 {
                if status & 0x80 == 0 && wait_for_printer(bus, frame, number) {
                    return Outcome::Spin;
                }
                if status & 0x80 == 0 {
                    timeout = 1;
                } else {
                    bus.outb(port, frame.al());
                    bus.outb(port + 2, 0x0D);
                    bus.outb(port + 2, 0x0C);
                }
            }
        }
        1 => {
            bus.outb(port + 2, 0x08);
            bus.outb(port + 2, 0x0C);
        }
        2 => {}
        _ => return Outcome::Done,
    }
    frame.set_ah(status | timeout);
    Outcome::Done
}

/// Starts or checks the time limit of a busy printer; true while there is time.
fn wait_for_printer(bus: &mut dyn Initiator, frame: &mut Frame, number: u32) -> bool {
    if frame.local16(0) == 0 {
        let units = u64::from(bus.get8(bda::LPT_TIMEOUTS + number)).max(1);
        wait::start(bus, frame, units * TIMEOUT_UNIT_NANOS);
        frame.set_local16(0, 1);
    }
    wait::left(bus, frame) > 0
}
