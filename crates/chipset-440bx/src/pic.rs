//! The 8259A pair with PIIX4's edge/level control registers (Intel 8259A data sheet; PIIX4 290562, section 8.6).
//!
//! | ports | register |
//! | --- | --- |
//! | 20h, 21h | master: ICW1, OCW2, OCW3, IRR/ISR; ICW2-4, OCW1 (aliases 24h, 28h ... 3Ch) |
//! | A0h, A1h | slave (aliases A4h, A8h ... BCh) |
//! | 4D0h, 4D1h | ELCR1, ELCR2: 1 is level-triggered |
//!
//! A request in edge mode is latched by the rising edge and vanishes when the line falls before it is acknowledged, as the chip's
//! does; an acknowledge that then finds nothing gets the spurious vector of IR7 (or IR15) and sets no in-service bit.

use crate::util::{check, read_bytes, show, write_bytes};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window,
    WindowId, WindowSet, encode_fields,
};

/// Pins of [`Pic`].
pub mod pin {
    use slotone_bus::Pin;

    /// Input: interrupt request `n` (0 to 15). 2 is the cascade inside the pair and is ignored.
    pub const fn ir(n: u8) -> Pin {
        Pin(n & 15)
    }

    /// Output: INTR to the processor.
    pub const INTR: Pin = Pin(0);
}

const SECTION: &str = "8259a-pair";
/// Level of the master that the slave is wired to.
const CASCADE: u8 = 2;
/// Bits of ELCR1 and ELCR2 that can be set: IRQ 0, 1, 2, 8 and 13 are always edge-triggered.
const ELCR_MASK: [u8; 2] = [0xf8, 0xde];
const WINDOW_SLAVE: u16 = 8;
const WINDOW_ELCR: u16 = 16;

/// Which initialisation word is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    /// None: the chip works.
    #[default]
    Ready,
    Icw2,
    Icw3,
    Icw4,
}
slotone_bus::encode_enum!(Expect { Ready, Icw2, Icw3, Icw4 });

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chip {
    /// Levels of the IR inputs.
    lines: u8,
    /// Rising edges not yet acknowledged.
    edges: u8,
    elcr: u8,
    imr: u8,
    isr: u8,
    expect: Expect,
    icw1: u8,
    /// ICW2: bits 7:3 of the vector.
    base: u8,
    icw3: u8,
    icw4: u8,
    /// The level with the lowest priority.
    lowest: u8,
    rotate_on_auto_eoi: bool,
    special_mask: bool,
    read_isr: bool,
    poll: bool,
}

encode_fields!(Chip {
    lines,
    edges,
    elcr,
    imr,
    isr,
    expect,
    icw1,
    base,
    icw3,
    icw4,
    lowest,
    rotate_on_auto_eoi,
    special_mask,
    read_isr,
    poll
});

impl Chip {
    fn new(lines: u8) -> Self {
        Self {
            lines,
            edges: 0,
            elcr: 0,
            imr: 0,
            isr: 0,
            expect: Expect::Ready,
            icw1: 0,
            base: 0,
            icw3: 0,
            icw4: 0,
            lowest: 7,
            rotate_on_auto_eoi: false,
            special_mask: false,
            read_isr: false,
            poll: false,
        }
    }

    fn auto_eoi(&self) -> bool {
        self.icw4 & 0x02 != 0
    }

    /// Interrupt request register; `level_mask` has the inputs that are level-sensitive besides those of ELCR.
    fn irr(&self, level_mask: u8) -> u8 {
        let level = self.elcr | level_mask;
        (self.edges & !level) | (self.lines & level)
    }

    fn set_line(&mut self, level: u8, high: bool) {
        let bit = 1 << level;
        if high {
            self.edges |= bit & !self.lines;
            self.lines |= bit;
        } else {
            self.lines &= !bit;
            self.edges &= !bit;
        }
    }

    /// Levels from the highest priority to the lowest.
    fn by_priority(&self) -> impl Iterator<Item = u8> + use<> {
        let lowest = self.lowest;
        (1..=8).map(move |i| (lowest + i) & 7)
    }

    /// The request that INT stands for. `cascade` has the bit of the slave's input, 0 for the slave itself.
    fn pending(&self, cascade: u8) -> Option<u8> {
        if self.expect != Expect::Ready {
            return None;
        }
        let requests = self.irr(cascade) & !self.imr;
        let blocking = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let nested = if self.icw4 & 0x10 != 0 { cascade } else { 0 };
        for level in self.by_priority() {
            let bit = 1 << level;
            if requests & bit != 0 && (blocking & bit == 0 || nested & bit != 0) {
                return Some(level);
            }
            if blocking & bit != 0 {
                return None;
            }
        }
        None
    }

    fn acknowledge(&mut self, level: u8) {
        let bit = 1 << level;
        self.edges &= !bit;
        if !self.auto_eoi() {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.lowest = level;
        }
    }

    fn end_of_interrupt(&mut self, level: Option<u8>, rotate: bool) {
        let masked = if self.special_mask { self.imr } else { 0 };
        let level = level.or_else(|| self.by_priority().find(|l| self.isr & !masked & (1 << l) != 0));
        if let Some(level) = level {
            self.isr &= !(1 << level);
            if rotate {
                self.lowest = level;
            }
        }
    }

    fn read(&mut self, offset: u64, cascade: u8) -> u8 {
        if self.poll {
            self.poll = false;
            return match self.pending(cascade) {
                Some(level) => {
                    self.acknowledge(level);
                    0x80 | level
                }
                None => 0,
            };
        }
        match offset & 1 {
            0 if self.read_isr => self.isr,
            0 => self.irr(cascade),
            _ => self.imr,
        }
    }

    fn write(&mut self, offset: u64, value: u8) {
        match (offset & 1, self.expect) {
            (0, _) if value & 0x10 != 0 => self.icw1(value),
            (0, _) if value & 0x08 != 0 => self.ocw3(value),
            (0, _) => self.ocw2(value),
            (_, Expect::Ready) => self.imr = value,
            (_, Expect::Icw2) => {
                self.base = value & 0xf8;
                self.expect = match self.icw1 {
                    v if v & 0x02 == 0 => Expect::Icw3,
                    v if v & 0x01 != 0 => Expect::Icw4,
                    _ => Expect::Ready,
                };
            }
            (_, Expect::Icw3) => {
                self.icw3 = value;
                self.expect = if self.icw1 & 0x01 != 0 { Expect::Icw4 } else { Expect::Ready };
            }
            (_, Expect::Icw4) => {
                self.icw4 = value & 0x1f;
                self.expect = Expect::Ready;
            }
        }
    }

    fn icw1(&mut self, value: u8) {
        // LTIM (bit 3) is without effect in the PIIX4: ELCR decides.
        let (lines, elcr, base) = (self.lines, self.elcr, self.base);
        *self = Self { elcr, base, icw1: value, expect: Expect::Icw2, ..Self::new(lines) };
    }

    fn ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => self.end_of_interrupt(None, false),
            0b101 => self.end_of_interrupt(None, true),
            0b011 => self.end_of_interrupt(Some(level), false),
            0b111 => self.end_of_interrupt(Some(level), true),
            0b110 => self.lowest = level,
            _ => {}
        }
    }

    fn ocw3(&mut self, value: u8) {
        self.poll = value & 0x04 != 0;
        if value & 0x02 != 0 {
            self.read_isr = value & 0x01 != 0;
        }
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    chips: [Chip; 2],
    intr: bool,
    spurious: u64,
}
encode_fields!(State { chips, intr, spurious });

impl State {
    /// Carries the slave's request to the master and returns the master's.
    fn compute_intr(&mut self) -> bool {
        let [master, slave] = &mut self.chips;
        master.set_line(CASCADE, slave.pending(0).is_some());
        master.pending(1 << CASCADE).is_some()
    }
}

/// The 8259A pair of a PC. Pins: [`pin`].
///
/// ```
/// use slotone_bus::{At, Device, TestPort, WindowId};
/// use slotone_chipset_440bx::pic::{Pic, pin};
///
/// let (mut pic, mut port) = (Pic::new(), TestPort::new(0x1000));
/// for (offset, value) in [(0, 0x11), (1, 0x20), (1, 0x04), (1, 0x01), (1, 0xfe)] {
///     port.at(0, |cx| pic.write(cx, At { window: WindowId(0), offset }, &[value]));
/// }
/// port.at(1_000, |cx| pic.input(cx, pin::ir(0), true));
/// assert_eq!(port.take_lines(), [(pin::INTR, true)]);
/// assert_eq!(port.at(1_100, |cx| pic.intack(cx)), Some(0x20));
/// assert_eq!(port.take_lines(), [(pin::INTR, false)]);
/// ```
#[derive(Debug)]
pub struct Pic {
    windows: WindowSet,
    state: State,
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

impl Pic {
    /// A pair without requests, nothing masked, vectors from 0: real chips power up undefined.
    pub fn new() -> Self {
        let alias =
            |first: u16, base: u16| (0..8).map(move |i| Window::io(WindowId(first + i), base + 4 * i, 2));
        let mut windows: Vec<_> = alias(0, 0x20).chain(alias(WINDOW_SLAVE, 0xa0)).collect();
        windows.push(Window::io(WindowId(WINDOW_ELCR), 0x4d0, 2));
        let state = State { chips: [Chip::new(0), Chip::new(0)], intr: false, spurious: 0 };
        Self { windows: WindowSet::new(windows), state }
    }

    /// Level of INTR.
    pub fn intr(&self) -> bool {
        self.state.intr
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        let intr = self.state.compute_intr();
        if intr != self.state.intr {
            self.state.intr = intr;
            cx.line(pin::INTR, intr);
        }
    }
}

impl Device for Pic {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        let [master, slave] = &mut self.state.chips;
        read_bytes(at.offset, data, |offset| match (at.window.0, offset) {
            (WINDOW_ELCR, 0) => master.elcr,
            (WINDOW_ELCR, 1) => slave.elcr,
            (_, 2..) => 0xff,
            (..WINDOW_SLAVE, _) => master.read(offset, 1 << CASCADE),
            (..WINDOW_ELCR, _) => slave.read(offset, 0),
            _ => 0xff,
        });
        self.settle(cx);
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        let [master, slave] = &mut self.state.chips;
        write_bytes(at.offset, data, |offset, value| match (at.window.0, offset) {
            (WINDOW_ELCR, 0) => master.elcr = value & ELCR_MASK[0],
            (WINDOW_ELCR, 1) => slave.elcr = value & ELCR_MASK[1],
            (_, 2..) => {}
            (..WINDOW_SLAVE, _) => master.write(offset, value),
            (..WINDOW_ELCR, _) => slave.write(offset, value),
            _ => {}
        });
        self.settle(cx);
    }

    fn input(&mut self, cx: &mut Cx<'_>, pin: Pin, level: bool) {
        let n = pin.0;
        if n < 16 && n != CASCADE {
            self.state.chips[usize::from(n >> 3)].set_line(n & 7, level);
            self.settle(cx);
        }
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(pin::INTR, self.state.intr)
    }

    fn intack(&mut self, cx: &mut Cx<'_>) -> Option<u8> {
        let [master, slave] = &mut self.state.chips;
        let vector = match master.pending(1 << CASCADE) {
            None => {
                self.state.spurious = self.state.spurious.wrapping_add(1);
                master.base | 7
            }
            Some(CASCADE) => {
                master.acknowledge(CASCADE);
                match slave.pending(0) {
                    None => {
                        self.state.spurious = self.state.spurious.wrapping_add(1);
                        slave.base | 7
                    }
                    Some(level) => {
                        slave.acknowledge(level);
                        slave.base | level
                    }
                }
            }
            Some(level) => {
                master.acknowledge(level);
                master.base | level
            }
        };
        self.settle(cx);
        Some(vector)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    fn tick(&mut self, _cx: &mut Cx<'_>) {}

    fn reset(&mut self, _kind: ResetKind) {
        let [master, slave] = &mut self.state.chips;
        // The IR lines belong to others and keep their levels.
        (*master, *slave) = (Chip::new(master.lines & !(1 << CASCADE)), Chip::new(slave.lines));
        self.state.intr = self.state.compute_intr();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        for (chip, mask) in state.chips.iter().zip(ELCR_MASK) {
            check(SECTION, chip.lowest < 8, "the lowest priority is a level from 0 to 7")?;
            check(SECTION, chip.elcr & !mask == 0, "ELCR has reserved bits set")?;
            check(SECTION, chip.base & 7 == 0, "a vector base is a multiple of 8")?;
            check(SECTION, chip.icw4 & 0xe0 == 0, "ICW4 has reserved bits set")?;
            check(SECTION, chip.edges & !chip.lines == 0, "an edge is latched of a line that is low")?;
        }
        check(SECTION, state.clone().compute_intr() == state.intr, "INTR does not follow from the requests")?;
        self.state = state;
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        for (chip, (name, cascade)) in self.state.chips.iter().zip([("PIC1", 1 << CASCADE), ("PIC2", 0)]) {
            show(out, &format!("{name}.IRR"), chip.irr(cascade), 8);
            show(out, &format!("{name}.ISR"), chip.isr, 8);
            show(out, &format!("{name}.IMR"), chip.imr, 8);
            show(out, &format!("{name}.ICW2"), chip.base, 8);
            show(out, &format!("{name}.ELCR"), chip.elcr, 8);
        }
        out("INTR", InspectValue::Flag(self.state.intr));
        out("spurious acknowledges", InspectValue::Count(self.state.spurious));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotone_bus::TestPort;

    /// A slave's request that goes away between the two acknowledge pulses: IR15 without an in-service bit at the slave.
    #[test]
    fn spurious_ir15() {
        let (mut pic, mut port) = (Pic::new(), TestPort::new(0));
        pic.state.chips[0].base = 0x20;
        pic.state.chips[1].base = 0x28;
        pic.state.chips[0].set_line(CASCADE, true);
        assert_eq!(port.at(0, |cx| pic.intack(cx)), Some(0x2f));
        assert_eq!(pic.state.chips.each_ref().map(|c| c.isr), [1 << CASCADE, 0]);
        assert_eq!(pic.state.spurious, 1);
    }
}
