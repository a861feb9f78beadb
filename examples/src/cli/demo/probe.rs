//! Who on the board answers, when the machine got stuck before its program could tell: each device's identity, or a register
//! that keeps what it is given, asked for from outside with the processor standing still.

use slotone_vmm_core::Machine;
use slotone_vmm_core::vs2005::name;

const PIIX4: u8 = 7;
const IDE_FUNCTION: u8 = 1;
/// Function, offset of the configuration register with the command bits.
const COMMAND: u8 = 0x04;

/// Devices that do not answer, with what was expected of them. Resets the board first.
pub(super) fn dead_devices(machine: &mut Machine, chipset_id: u16) -> Vec<(&'static str, String)> {
    machine.reset();
    let mut board = Board { machine };
    let mut dead: Vec<(&'static str, String)> = Vec::new();
    let mut check = |device: &'static str, found: Result<(), String>| {
        if let Err(why) = found {
            dead.push((device, format!("does not answer: {why}")));
        }
    };
    check(name::HOST_BRIDGE, board.function(0, 0, 0x8086, chipset_id).and_then(|()| board.memory()));
    check(name::ISA_BRIDGE, board.function(PIIX4, 0, 0x8086, 0x7110).and_then(|()| board.flash()));
    let ide = board.function(PIIX4, IDE_FUNCTION, 0x8086, 0x7111);
    let has_ide = ide.is_ok();
    check(name::IDE, ide);
    check(name::PM, board.function(PIIX4, 3, 0x8086, 0x7113));
    check(name::VGA, board.function(8, 0, 0x5333, 0x8811).and_then(|()| board.video()));
    check(name::PIC, board.interrupt_controllers());
    check(name::PIT, board.timer());
    check(
        name::DMA,
        board.keeps("address register of channel 1", &[(0x0c, 0), (0x02, 0x5a), (0x0c, 0)], 0x02, 0x5a),
    );
    check(name::RTC, board.clock());
    check(name::KBC, board.keyboard_controller());
    check(name::UART0, board.keeps("scratch register", &[(0x3ff, 0x96)], 0x3ff, 0x96));
    check(name::UART1, board.keeps("scratch register", &[(0x2ff, 0x96)], 0x2ff, 0x96));
    let unlock = [(0x370, 0x87), (0x370, 0x87), (0x370, 0x20)];
    check(name::SUPER_IO, board.keeps("chip number", &unlock, 0x371, 0x97));
    for (nic, slot) in name::NICS.into_iter().zip([10, 11]) {
        check(nic, board.function(slot, 0, 0x1011, 0x0009));
    }
    for (adapter, slot) in name::SCSI.into_iter().zip([9, 14, 15, 16]) {
        check(adapter, board.function(slot, 0, 0x9004, 0x7078));
    }
    if has_ide {
        board.enable_ide();
        for (device, position) in [("hda", 0), ("hdb", 1), ("hdc", 2)] {
            if let Err(why) = board.drive(position) {
                dead.push((device, why));
            }
        }
    }
    dead
}

struct Board<'a> {
    machine: &'a mut Machine,
}

impl Board<'_> {
    fn inb(&mut self, port: u16) -> u8 {
        let mut data = [0];
        self.machine.port_read(port, &mut data);
        data[0]
    }

    fn outb(&mut self, port: u16, value: u8) {
        self.machine.port_write(port, &[value]);
    }

    fn config_address(&mut self, device: u8, function: u8, register: u8) {
        let address =
            0x8000_0000 | u32::from(device) << 11 | u32::from(function) << 8 | u32::from(register & 0xfc);
        self.machine.port_write(0xcf8, &address.to_le_bytes());
    }

    fn function(&mut self, device: u8, function: u8, vendor: u16, id: u16) -> Result<(), String> {
        self.config_address(device, function, 0);
        let mut data = [0; 4];
        self.machine.port_read(0xcfc, &mut data);
        let expected = u32::from(id) << 16 | u32::from(vendor);
        if u32::from_le_bytes(data) == expected {
            return Ok(());
        }
        Err(format!("no {vendor:04x}:{id:04x} at 00:{device:02x}.{function}"))
    }

    /// A port that shows what was written, after a sequence of writes.
    fn keeps(&mut self, what: &str, writes: &[(u16, u8)], port: u16, expected: u8) -> Result<(), String> {
        writes.iter().for_each(|(port, value)| self.outb(*port, *value));
        self.expect(what, port, expected)
    }

    fn expect(&mut self, what: &str, port: u16, expected: u8) -> Result<(), String> {
        match self.inb(port) {
            value if value == expected => Ok(()),
            value => Err(format!("{what} at port {port:x}h is {value:02x}h, not {expected:02x}h")),
        }
    }

    fn memory(&mut self) -> Result<(), String> {
        let (address, pattern) = (0x1000, *b"slot one");
        self.machine.physical_write(address, &pattern);
        let mut data = [0; 8];
        self.machine.physical_read(address, &mut data);
        if data == pattern { Ok(()) } else { Err(format!("no memory at {address:#x}")) }
    }

    fn flash(&mut self) -> Result<(), String> {
        let mut vector = [0; 16];
        self.machine.physical_read(0xffff_fff0, &mut vector);
        if vector == [0xff; 16] { Err("no flash at the reset vector".into()) } else { Ok(()) }
    }

    /// The graphics controller's bit mask register, once its ports are on.
    fn video(&mut self) -> Result<(), String> {
        self.config_address(8, 0, COMMAND);
        self.outb(0xcfc, 0x03);
        self.keeps("bit mask register", &[(0x3ce, 8), (0x3cf, 0x5a)], 0x3cf, 0x5a)
    }

    fn interrupt_controllers(&mut self) -> Result<(), String> {
        for (command, first, third) in [(0x20, 0x08, 0x04), (0xa0, 0x70, 0x02)] {
            let set_up = [(command, 0x11), (command + 1, first), (command + 1, third), (command + 1, 1)];
            set_up.iter().for_each(|(port, value)| self.outb(*port, *value));
            self.keeps("mask", &[(command + 1, 0xa5)], command + 1, 0xa5)?;
        }
        Ok(())
    }

    fn timer(&mut self) -> Result<(), String> {
        [(0x43, 0x34), (0x40, 0), (0x40, 0)].iter().for_each(|(port, value)| self.outb(*port, *value));
        let mut counts = [0u16; 2];
        for count in &mut counts {
            self.machine.pass(100_000);
            self.outb(0x43, 0);
            *count = u16::from_le_bytes([self.inb(0x40), self.inb(0x40)]);
        }
        // 0.1 ms are 119 clocks.
        match counts[0].wrapping_sub(counts[1]) {
            110..=130 => Ok(()),
            clocks => Err(format!("counter 0 counts {clocks} clocks in 0.1 ms, not 119")),
        }
    }

    fn clock(&mut self) -> Result<(), String> {
        self.outb(0x70, 0x0d);
        self.expect("register D", 0x71, 0x80)
    }

    fn keyboard_controller(&mut self) -> Result<(), String> {
        self.inb(0x60);
        self.outb(0x64, 0xaa);
        self.machine.pass(10_000_000);
        self.expect("answer to the self-test", 0x60, 0x55)
    }

    // ---- drives ---------------------------------------------------------------------------------------------------

    /// Ports and both channels on.
    fn enable_ide(&mut self) {
        self.config_address(PIIX4, IDE_FUNCTION, COMMAND);
        self.outb(0xcfc, 0x01);
        self.config_address(PIIX4, IDE_FUNCTION, 0x40);
        for half in [0xcfd, 0xcff] {
            self.outb(half, 0x80);
        }
    }

    /// Issues a command without data towards the drive, and waits for its status.
    fn ata(&mut self, base: u16, command: u8) -> u8 {
        self.outb(base + 7, command);
        self.machine.pass(50_000_000);
        self.inb(base + 7)
    }

    /// The drive is there, and its medium can be read.
    fn drive(&mut self, position: u16) -> Result<(), String> {
        let base = if position < 2 { 0x1f0 } else { 0x170 };
        // A reset, for the drive before may not have finished; no interrupts.
        for control in [0x06, 0x02] {
            self.outb(base + 0x206, control);
            self.machine.pass(1_000_000);
        }
        self.outb(base + 6, 0xe0 | (position as u8 & 1) << 4);
        self.keeps("block number", &[(base + 3, 0x5a)], base + 3, 0x5a)
            .map_err(|why| format!("does not answer: {why}"))?;
        let status = if position < 2 { self.read_sector(base) } else { self.read_block(base) };
        match status {
            status if status & 0x01 != 0 => {
                let error = self.inb(base + 1);
                Err(format!("cannot be read: status {status:02x}h, error {error:02x}h"))
            }
            status if status & 0x88 != 0x08 => Err(format!("gives no data: status {status:02x}h")),
            _ => Ok(()),
        }
    }

    fn read_sector(&mut self, base: u16) -> u8 {
        for (register, value) in [(2, 1), (3, 0), (4, 0), (5, 0)] {
            self.outb(base + register, value);
        }
        self.ata(base, 0x20)
    }

    /// READ(10) of block 0; the first tries are refused because of the reset.
    fn read_block(&mut self, base: u16) -> u8 {
        let mut status = 0;
        for _ in 0..4 {
            for (register, value) in [(1, 0), (4, 0x00), (5, 0x08)] {
                self.outb(base + register, value);
            }
            if self.ata(base, 0xa0) & 0x88 != 0x08 {
                return 0;
            }
            for word in [[0x28, 0], [0, 0], [0, 0], [0, 0], [1, 0], [0, 0]] {
                self.machine.port_write(base, &word);
            }
            self.machine.pass(50_000_000);
            status = self.inb(base + 7);
            if status & 0x01 == 0 {
                break;
            }
        }
        status
    }
}
