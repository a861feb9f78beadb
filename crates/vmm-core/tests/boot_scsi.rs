//! Booting from SCSI disks: the firmware's driver and the model of the AIC-7870 on the whole machine.

use std::sync::Arc;

use slotone_block::memory::MemoryDisk;
use slotone_bus::VmInstant;
use slotone_firmware::BootDevice;
use slotone_superio_w83977::Uart;
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{ClockMode, DriveBay, Machine, RunExit, VirtualServer2005, virtual_server_2005};

/// A disk that prints its drive number with the bits of `mark` on COM1: MOV BL,DL; 8 bits; OR BL,mark; OUT; HLT; JMP.
fn disk(mark: u8) -> DriveBay {
    let code = [
        0xfb, 0x88, 0xd3, 0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, 0x80, 0xcb, mark, 0xba, 0xf8, 0x03, 0x88, 0xd8,
        0xee, 0xf4, 0xeb, 0xfd,
    ];
    let mut disk = vec![0; 1 << 20];
    disk[..code.len()].copy_from_slice(&code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    DriveBay::Disk(Arc::new(MemoryDisk::from_bytes(&disk)))
}

const IDE: u8 = 0x10;
const SCSI: u8 = 0x20;

fn machine(boot: &[BootDevice], ide: bool, scsi: bool) -> Machine {
    let mut config = VirtualServer2005 {
        memory_mib: 4,
        clock: ClockMode::Counted,
        boot: boot.to_vec(),
        ..VirtualServer2005::new()
    };
    if ide {
        config.ide[0] = disk(IDE);
    }
    if scsi {
        let mut bays: [DriveBay; 7] = Default::default();
        bays[2] = DriveBay::CdRom(None);
        bays[5] = disk(SCSI);
        config.scsi[1] = Some(bays);
    }
    virtual_server_2005(&config).unwrap().build().unwrap()
}

fn at(nanos: u64) -> VmInstant {
    VmInstant::from_nanos(nanos)
}

/// When every boot sector has run.
const END: u64 = 4_000_000_000;

/// What the boot sector that ran has printed.
fn booted(machine: &mut Machine) -> Vec<u8> {
    assert_eq!(machine.run(at(END)), RunExit::Limit);
    let id = machine.find(name::UART0).unwrap();
    machine.with(id, |uart: &mut Uart, _| uart.take_output()).unwrap()
}

#[test]
fn the_order_says_which_disk_is_drive_80h() {
    use BootDevice::{Cd, Floppy, HardDisk, Scsi};
    let default = [Cd, Floppy, HardDisk];
    for (boot, ide, scsi, printed) in [
        (&default[..], true, true, &[0x80 | IDE][..]),
        (&default, false, true, &[0x80 | SCSI]),
        (&[Scsi], false, true, &[0x80 | SCSI]),
        (&[Scsi, HardDisk], true, true, &[0x80 | SCSI]),
        (&[HardDisk, Scsi], true, true, &[0x80 | IDE]),
        (&[Scsi, HardDisk], true, false, &[0x80 | IDE]),
        (&[Scsi], true, false, &[]),
    ] {
        assert_eq!(booted(&mut machine(boot, ide, scsi)), printed, "{boot:?}, IDE {ide}, SCSI {scsi}");
    }
}

/// Physical addresses in the extended BIOS data area: the name of the target that was asked last, the type of the second SCSI drive that was found.
const INQUIRY: u64 = 0x9_fc88;
const SECOND: u64 = 0x9_fe10;

fn byte(machine: &mut Machine, address: u64) -> u8 {
    let mut byte = [0];
    machine.physical_read(address, &mut byte);
    byte[0]
}

#[test]
fn a_machine_is_saved_and_restored_anywhere_in_the_scan() {
    let make = || machine(&[BootDevice::Scsi], false, true);
    let mut whole = make();
    assert_eq!(booted(&mut whole), [0x80 | SCSI]);

    let mut cut = make();
    let (mut now, mut times) = (0, 0);
    // From the CD drive's first answer until the disk behind it is known.
    while byte(&mut cut, SECOND) == 0 {
        if byte(&mut cut, INQUIRY) == 0 {
            now += 400_000;
        } else {
            // Two turns of a wait; commands take longer.
            now += 11_000;
            let saved = cut.save().unwrap();
            cut = make();
            cut.restore(&saved).unwrap();
            times += 1;
        }
        assert!(now < END);
        cut.run(at(now));
    }
    assert!(times > 20, "the scan was cut {times} times");
    assert_eq!(booted(&mut cut), [0x80 | SCSI]);
    assert_eq!(cut.state_hash().unwrap(), whole.state_hash().unwrap());
}
