//! MII management: the bits on MDC and MDIO, and the PHY at address 1 (IEEE 802.3u, clause 22).

/// The PHY's management address.
pub(crate) const ADDRESS: u8 = 1;

const BMCR_RESET: u16 = 1 << 15;
const BMCR_LOOPBACK: u16 = 1 << 14;
const BMCR_SPEED_100: u16 = 1 << 13;
const BMCR_ANE: u16 = 1 << 12;
const BMCR_POWER_DOWN: u16 = 1 << 11;
const BMCR_ISOLATE: u16 = 1 << 10;
const BMCR_FULL_DUPLEX: u16 = 1 << 8;
/// What stays of a write to the control register: RESET and restart auto-negotiation are done at once.
const BMCR_STORED: u16 = 0x7d80;
const BMCR_DEFAULT: u16 = BMCR_SPEED_100 | BMCR_ANE | BMCR_FULL_DUPLEX;
/// All of 10BASE-T and 100BASE-TX, extended registers, can negotiate.
const BMSR_FIXED: u16 = 0x7809;
const BMSR_AN_COMPLETE: u16 = 1 << 5;
const BMSR_LINK: u16 = 1 << 2;
const ANAR_DEFAULT: u16 = 0x01e1;
const ANAR_STORED: u16 = 0x3fff;
/// A partner that can do everything up to 100BASE-TX full duplex.
const PARTNER: u16 = 0x45e1;

/// A transceiver with the registers of a DP83840A, which drivers of the chip's time know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phy {
    bmcr: u16,
    anar: u16,
    /// The cable is in.
    pub(crate) cable: bool,
    /// The link was lost, or found down, since the status register was last read.
    was_down: bool,
}
slotone_bus::encode_fields!(Phy { bmcr, anar, cable, was_down });

impl Phy {
    pub(crate) fn new(cable: bool) -> Self {
        // A cable that is plugged in before the first look was there at power-on: nothing was lost.
        Self { bmcr: BMCR_DEFAULT, anar: ANAR_DEFAULT, cable, was_down: false }
    }

    /// The link is up.
    pub(crate) fn link(&self) -> bool {
        self.cable && self.bmcr & (BMCR_POWER_DOWN | BMCR_ISOLATE | BMCR_LOOPBACK) == 0
    }

    /// What is sent comes back from the PHY and does not reach the cable.
    pub(crate) fn loops(&self) -> bool {
        self.bmcr & BMCR_LOOPBACK != 0 && self.bmcr & (BMCR_POWER_DOWN | BMCR_ISOLATE) == 0
    }

    pub(crate) fn set_cable(&mut self, up: bool) {
        self.cable = up;
        self.was_down |= !self.link();
    }

    /// 100 Mbit/s and full duplex, as negotiated or forced.
    fn resolved(&self) -> (bool, bool) {
        if self.bmcr & BMCR_ANE == 0 {
            return (self.bmcr & BMCR_SPEED_100 != 0, self.bmcr & BMCR_FULL_DUPLEX != 0);
        }
        let both = self.anar & PARTNER;
        let fast = both & 0x0180 != 0;
        (fast, both & if fast { 0x0100 } else { 0x0040 } != 0)
    }

    /// A register without the side effects of reading it.
    pub(crate) fn peek(&self, register: u8) -> u16 {
        let negotiated = self.link() && self.bmcr & BMCR_ANE != 0;
        match register {
            0 => self.bmcr,
            1 => {
                let link = if self.link() && !self.was_down { BMSR_LINK } else { 0 };
                BMSR_FIXED | link | if negotiated { BMSR_AN_COMPLETE } else { 0 }
            }
            2 => 0x2000,
            3 => 0x5c01,
            4 => self.anar,
            5 => u16::from(negotiated) * PARTNER,
            6 => 1,
            0x19 => {
                let (fast, full) = self.resolved();
                u16::from(full) << 7 | u16::from(!fast) << 6 | u16::from(ADDRESS)
            }
            _ => 0,
        }
    }

    fn read(&mut self, register: u8) -> u16 {
        let value = self.peek(register);
        if register == 1 {
            self.was_down = !self.link();
        }
        value
    }

    fn write(&mut self, register: u8, value: u16) {
        match register {
            0 if value & BMCR_RESET != 0 => *self = Self::new(self.cable),
            0 => {
                self.bmcr = value & BMCR_STORED;
                self.was_down |= !self.link();
            }
            4 => self.anar = value & ANAR_STORED,
            _ => {}
        }
    }

    /// Whether some machine can come to this.
    pub(crate) fn is_sound(&self) -> bool {
        self.bmcr & !BMCR_STORED == 0 && self.anar & !ANAR_STORED == 0
    }
}

/// The serial frame on MDIO: ones, start 01, operation, PHY, register, turnaround, data.
///
/// Rising edges of MDC are counted from the first bit of the start: edge 14 takes the last bit of the register number, after edge 15
/// the PHY drives the turnaround's zero, after edges 16 to 31 the data.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Management {
    clock: bool,
    /// A one was seen, so that a zero begins a frame.
    idle: bool,
    /// Edges of the frame so far; 0 between frames.
    edges: u8,
    /// Bits taken, the latest lowest.
    shift: u32,
    /// The register's content, of a read from this PHY.
    data: Option<u16>,
}
slotone_bus::encode_fields!(Management { clock, idle, edges, shift, data });

/// Start, read, address.
const READ: u32 = 0b01_10;
const WRITE: u32 = 0b01_01;

impl Management {
    /// MDIO as the PHY leaves it: pulled up when nobody drives it.
    pub(crate) fn out(&self) -> bool {
        match (self.data, self.edges) {
            (Some(_), 15) => false,
            (Some(data), edge @ 16..=31) => data >> (31 - edge) & 1 != 0,
            _ => true,
        }
    }

    /// Drives MDC, and MDIO with what the host puts there (one while it does not drive).
    pub(crate) fn drive(&mut self, phy: &mut Phy, clock: bool, data: bool) {
        let rising = clock && !self.clock;
        self.clock = clock;
        if !rising {
            return;
        }
        if self.edges == 0 {
            if !data && self.idle {
                (self.edges, self.shift) = (1, 0);
            }
            self.idle = data;
            return;
        }
        self.edges += 1;
        self.shift = self.shift << 1 | u32::from(data);
        match self.edges {
            // Two zeros are no start.
            2 if !data => self.release(),
            14 => {
                let (head, register) = (self.shift >> 5, (self.shift & 0x1f) as u8);
                if head == READ << 5 | u32::from(ADDRESS) {
                    self.data = Some(phy.read(register));
                }
            }
            32 => {
                let (head, register) = (self.shift >> 23, (self.shift >> 18 & 0x1f) as u8);
                if head == WRITE << 5 | u32::from(ADDRESS) {
                    phy.write(register, self.shift as u16);
                }
                self.release();
            }
            _ => {}
        }
    }

    fn release(&mut self) {
        *self = Self { clock: self.clock, ..Self::default() };
    }

    /// Whether some machine can come to this.
    pub(crate) fn is_sound(&self) -> bool {
        let shift = self.shift.checked_shr(u32::from(self.edges)).unwrap_or(0) == 0;
        let idle = if self.edges == 0 { self.shift == 0 } else { !self.idle };
        self.edges < 32 && shift && idle && (self.data.is_none() || self.edges >= 14)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bus {
        engine: Management,
        phy: Phy,
    }

    impl Bus {
        fn new(cable: bool) -> Self {
            Self { engine: Management::default(), phy: Phy::new(cable) }
        }
        fn edge(&mut self, data: bool) {
            self.engine.drive(&mut self.phy, false, data);
            self.engine.drive(&mut self.phy, true, data);
            assert!(self.engine.is_sound() && self.phy.is_sound());
        }
        fn bits(&mut self, value: u32, count: u32) {
            (0..count).rev().for_each(|n| self.edge(value >> n & 1 != 0));
        }
        /// Samples before each edge, 19 times, as Linux does: idle, turnaround, 16 bits, one too many.
        fn read_before(&mut self, phy: u32, register: u32) -> u32 {
            self.bits(u32::MAX, 32);
            self.bits(0b0110 << 10 | phy << 5 | register, 14);
            let bits = (0..19).fold(0, |got, _| {
                let bit = self.engine.out();
                self.edge(true);
                got << 1 | u32::from(bit)
            });
            bits >> 1
        }
        /// Samples after each edge, as ReactOS does: the turnaround, then 16 bits.
        fn read_after(&mut self, phy: u32, register: u32) -> Option<u32> {
            self.bits(u32::MAX, 32);
            self.bits(0b0110 << 10 | phy << 5 | register, 14);
            self.edge(true);
            let absent = self.engine.out();
            let value = (0..16).fold(0, |got, _| {
                self.edge(true);
                got << 1 | u32::from(self.engine.out())
            });
            self.edge(true);
            (!absent).then_some(value)
        }
        fn write(&mut self, phy: u32, register: u32, value: u32) {
            self.bits(u32::MAX, 32);
            self.bits(0b0101 << 10 | phy << 5 | register, 14);
            self.bits(0b10, 2);
            self.bits(value, 16);
        }
    }

    #[test]
    fn both_ways_of_sampling_agree() {
        let mut bus = Bus::new(true);
        let values = [(0, 0x3100), (1, 0x782d), (2, 0x2000), (3, 0x5c01), (4, 0x01e1), (5, 0x45e1), (6, 1)];
        for (register, value) in values.into_iter().chain([(0x19, 0x81), (7, 0)]) {
            assert_eq!(bus.read_before(1, register), 0x2_0000 | value, "register {register}, Linux");
            assert_eq!(bus.read_after(1, register), Some(value), "register {register}, ReactOS");
        }
        for phy in (0..32).filter(|p| *p != 1) {
            assert_eq!(bus.read_before(phy, 1), 0x3_ffff, "nobody pulls the line down");
            assert_eq!(bus.read_after(phy, 1), None);
        }
    }

    #[test]
    fn control_and_advertisement_are_written() {
        let mut bus = Bus::new(true);
        bus.write(1, 4, 0x0061);
        assert_eq!((bus.phy.peek(4), bus.phy.peek(0x19)), (0x0061, 0x00c1), "10BASE-T, full duplex");
        bus.write(2, 4, 0x01e1);
        assert_eq!(bus.phy.peek(4), 0x0061, "that was another PHY");
        bus.write(1, 0, 0x0000);
        assert_eq!((bus.phy.peek(0), bus.phy.peek(1), bus.phy.peek(5)), (0, 0x780d, 0), "forced 10 Mbit/s");
        bus.write(1, 0, 0x1200);
        assert_eq!((bus.phy.peek(0), bus.phy.peek(1)), (0x1000, 0x782d), "restart is done at once");
        bus.write(1, 0, 0x9000);
        assert_eq!((bus.phy.peek(0), bus.phy.peek(4)), (0x3100, 0x01e1), "reset");
        bus.write(1, 0, 0x0800);
        assert!(!bus.phy.link());
        bus.write(1, 0, 0x4100);
        assert!(bus.phy.loops() && !bus.phy.link());
    }

    #[test]
    fn link_down_is_latched_until_it_was_read() {
        let mut bus = Bus::new(true);
        bus.phy.set_cable(false);
        bus.phy.set_cable(true);
        assert_eq!(bus.read_after(1, 1), Some(0x7829));
        assert_eq!(bus.read_after(1, 1), Some(0x782d));
        bus.phy.set_cable(false);
        assert_eq!([0; 2].map(|_| bus.read_after(1, 1)), [Some(0x7809); 2]);
        assert_eq!(bus.read_after(1, 5), Some(0));
    }

    #[test]
    fn noise_is_no_frame() {
        let mut bus = Bus::new(true);
        bus.bits(0, 32);
        bus.bits(0, 32);
        assert_eq!(bus.engine.edges, 0, "no one before the zeros");
        bus.bits(0b100, 3);
        assert_eq!(bus.engine.edges, 0, "two zeros are no start");
        bus.bits(1, 1);
        bus.bits(0b0111 << 10 | 1 << 5, 14);
        bus.bits(0, 18);
        assert_eq!((bus.phy.peek(0), bus.engine.edges), (0x3100, 0), "no operation 11");
        assert_eq!(bus.read_after(1, 2), Some(0x2000));
    }
}
