//! What is saved, and the checks of what is restored.

use slotone_bus::{InspectValue, Inspector, VmInstant};
use slotone_pci::{ConfigBytes, ConfigSpace};

use crate::device::Tulip;
use crate::eeprom::Eeprom;
use crate::filter::Filter;
use crate::mii::{Management, Phy};
use crate::receive::{self, Receiver};
use crate::registers::{config, csr0, csr5, csr6, csr7, csr8, csr9, csr15};
use crate::timer::Timer;
use crate::transmit::{self, Transmitter};

pub(crate) const SECTION: &str = "tulip-nic";
pub(crate) const VERSION: u16 = 1;

/// Everything that a guest can observe. Registers are kept without their bits that always read as one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Configuration space; up to date only in a saved state.
    pub(crate) config: ConfigBytes,
    /// The status register's high byte; up to date only in a saved state.
    pub(crate) status_high: u8,
    /// CSID as loaded at the last reset.
    pub(crate) csid: u32,
    pub(crate) csr0: u32,
    pub(crate) csr3: u32,
    pub(crate) csr4: u32,
    /// Events and EB; the rest is derived.
    pub(crate) csr5: u32,
    pub(crate) csr6: u32,
    pub(crate) csr7: u32,
    pub(crate) csr8: u32,
    pub(crate) csr9: u32,
    pub(crate) csr10: u32,
    pub(crate) timer: Timer,
    pub(crate) gpr_direction: u8,
    pub(crate) gpr_data: u8,
    pub(crate) csr15: u32,
    /// A DMA access failed; only a reset lets the chip on the bus again.
    pub(crate) fatal: bool,
    /// Level of the interrupt pin.
    pub(crate) line: bool,
    pub(crate) filter: Filter,
    pub(crate) eeprom: Eeprom,
    pub(crate) mii: Management,
    pub(crate) phy: Phy,
    pub(crate) tx: Transmitter,
    pub(crate) rx: Receiver,
}
slotone_bus::encode_fields!(State {
    config,
    status_high,
    csid,
    csr0,
    csr3,
    csr4,
    csr5,
    csr6,
    csr7,
    csr8,
    csr9,
    csr10,
    timer,
    gpr_direction,
    gpr_data,
    csr15,
    fatal,
    line,
    filter,
    eeprom,
    mii,
    phy,
    tx,
    rx
});

impl State {
    /// The reset state around what survives a reset.
    pub(crate) fn new(config: ConfigBytes, eeprom: Eeprom, phy: Phy) -> Self {
        Self {
            config,
            status_high: 0x02,
            csid: 0,
            csr0: 0,
            csr3: 0,
            csr4: 0,
            csr5: 0,
            csr6: csr6::RESET,
            csr7: 0,
            csr8: 0,
            csr9: csr9::RESET,
            csr10: 0,
            timer: Timer::default(),
            gpr_direction: 0,
            gpr_data: 0,
            csr15: 0,
            fatal: false,
            line: false,
            filter: Filter::new(),
            eeprom,
            mii: Management::default(),
            phy,
            tx: Transmitter::new(),
            rx: Receiver::new(),
        }
    }

    /// `Err` says in words what no machine comes to.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let masks = [
            (self.csr0, csr0::WRITABLE),
            (self.csr3 | self.csr4, !3),
            (self.csr5, csr5::EVENTS | csr5::EB_MASTER_ABORT << csr5::EB_SHIFT),
            (self.csr6, csr6::WRITABLE),
            (self.csr7, csr7::WRITABLE),
            (self.csr8, csr8::MFO | 0xffff),
            (self.csr9, csr9::WRITABLE),
            (self.csr10, 0x3_ffff),
            (self.csr15, csr15::WRITABLE),
        ];
        if masks.iter().any(|(value, mask)| value & !mask != 0) {
            return Err("a register has bits that do not exist");
        }
        let stopped = [
            (self.csr6 & csr6::ST == 0, self.tx.process == transmit::Process::Stopped),
            (self.csr6 & csr6::SR == 0, self.rx.process == receive::Process::Stopped),
        ];
        if stopped.iter().any(|(register, process)| register != process) {
            return Err("CSR6 and the processes do not fit");
        }
        if !self.tx.is_sound() || !self.rx.is_sound() {
            return Err("a process is in no possible state");
        }
        if !self.timer.is_sound() {
            return Err("the timer is in no possible state");
        }
        if !self.eeprom.is_sound() || !self.mii.is_sound() || !self.phy.is_sound() {
            return Err("a serial engine is in no possible state");
        }
        Ok(())
    }
}

/// What is counted for people. No part of the state.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) tx_frames: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) tx_errors: u64,
    pub(crate) rx_frames: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) rx_errors: u64,
    pub(crate) rx_filtered: u64,
    pub(crate) rx_missed: u64,
    pub(crate) setup_frames: u64,
    pub(crate) dma_faults: u64,
}

impl Tulip {
    /// Shows registers, the PHY and counters.
    pub(crate) fn show(&self, out: &mut Inspector<'_>) {
        let mut register = |name: &str, value: u32, bits: u8| {
            out(name, InspectValue::Register { value: value.into(), bits })
        };
        let space = self.config();
        register("CFCS", space.dword(ConfigSpace::COMMAND), 32);
        register("CBIO", space.dword(0x10), 32);
        register("CBMA", space.dword(0x14), 32);
        register("CSID", space.dword(config::CSID), 32);
        register("CFDD", space.dword(config::CFDD), 32);
        // CSR11 is shown as it was written: what it has come to depends on the time.
        for n in [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15] {
            register(&format!("CSR{n}"), self.peek(n, VmInstant::ZERO), 32);
        }
        for (name, n) in [("BMCR", 0), ("BMSR", 1), ("ANAR", 4), ("ANLPAR", 5)] {
            register(&format!("PHY.{name}"), self.state.phy.peek(n).into(), 16);
        }
        register("transmit_descriptor", self.state.tx.next, 32);
        register("receive_descriptor", self.state.rx.next, 32);
        out("transmit", InspectValue::Text(format!("{:?}", self.state.tx.process)));
        out("receive", InspectValue::Text(format!("{:?}", self.state.rx.process)));
        out("cable", InspectValue::Flag(self.state.phy.cable));
        out("INTA", InspectValue::Flag(self.state.line));
        let c = &self.counters;
        for (name, count) in [
            ("tx_frames", c.tx_frames),
            ("tx_bytes", c.tx_bytes),
            ("tx_errors", c.tx_errors),
            ("rx_frames", c.rx_frames),
            ("rx_bytes", c.rx_bytes),
            ("rx_errors", c.rx_errors),
            ("rx_filtered", c.rx_filtered),
            ("rx_missed", c.rx_missed),
            ("setup_frames", c.setup_frames),
            ("dma_faults", c.dma_faults),
        ] {
            out(name, InspectValue::Count(count));
        }
    }
}
