//! The firmware as a bus initiator: its ports, its memory, the processor's page tables.

use slotone_bus::VmInstant;
use slotone_bus::cpu::{Cpu, CpuState};
use slotone_bus::mem::PAGE_SIZE;
use slotone_firmware::{Firmware, Initiator, Registers, Unmapped};

use crate::board::Board;

/// The board and the processor during one firmware service.
struct BusMaster<'a> {
    cpu: &'a mut dyn Cpu,
    board: &'a mut Board,
    state: CpuState,
}

/// What became of a trap.
pub(crate) enum Trap {
    /// The service is done, or waits in its stub.
    Served,
    /// POST is over, and a kernel is to be entered directly.
    EnterLinux,
}

/// Carries out the service that the guest trapped for.
pub(crate) fn service(firmware: &Firmware, cpu: &mut dyn Cpu, board: &mut Board, linux: bool) -> Trap {
    let state = cpu.save();
    board.sync(cpu.retired());
    let mut bus = BusMaster { cpu, board, state };
    if linux && firmware.is_boot(&mut bus) {
        return Trap::EnterLinux;
    }
    firmware.service(&mut bus);
    Trap::Served
}

impl BusMaster<'_> {
    /// Applies `each` to the pieces of a linear range, page by page.
    fn by_page(
        &mut self,
        linear: u32,
        len: usize,
        mut each: impl FnMut(&mut Board, u64, std::ops::Range<usize>),
    ) -> Result<(), Unmapped> {
        let mut done = 0;
        while done < len {
            let at = linear.wrapping_add(done as u32);
            let n = (PAGE_SIZE - at as usize % PAGE_SIZE).min(len - done);
            let physical = if self.state.cr0 >> 31 == 0 {
                u64::from(at)
            } else {
                self.cpu.translate(self.board, at).ok_or(Unmapped(at))?
            };
            each(self.board, physical, done..done + n);
            done += n;
        }
        Ok(())
    }
}

impl Initiator for BusMaster<'_> {
    fn io_read(&mut self, port: u16, data: &mut [u8]) {
        self.board.port_read(port, data);
    }

    fn io_write(&mut self, port: u16, data: &[u8]) {
        self.board.port_write(port, data);
    }

    fn io_read_burst(&mut self, port: u16, width: usize, data: &mut [u8]) -> usize {
        self.board.port_read_burst(port, width, data)
    }

    fn io_write_burst(&mut self, port: u16, width: usize, data: &[u8]) -> usize {
        self.board.port_write_burst(port, width, data)
    }

    fn mem_read(&mut self, linear: u32, data: &mut [u8]) -> Result<(), Unmapped> {
        self.by_page(linear, data.len(), |board, at, range| board.physical_read(at, &mut data[range]))
    }

    fn mem_write(&mut self, linear: u32, data: &[u8]) -> Result<(), Unmapped> {
        self.by_page(linear, data.len(), |board, at, range| board.physical_write(at, &data[range]))
    }

    fn phys_read(&mut self, physical: u64, data: &mut [u8]) {
        self.board.physical_read(physical, data);
    }

    fn phys_write(&mut self, physical: u64, data: &[u8]) {
        self.board.physical_write(physical, data);
    }

    fn registers(&self) -> Registers {
        let s = &self.state;
        Registers {
            cs: s.segments[1].selector,
            eip: s.eip,
            ss: s.segments[2].selector,
            ss_base: s.segments[2].base,
            esp: s.gpr[4],
            eflags: s.eflags,
            cr0: s.cr0,
        }
    }

    fn now(&self) -> VmInstant {
        self.board.now()
    }
}
