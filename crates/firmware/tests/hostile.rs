//! Guests that lie: arbitrary registers, frames, data areas and drives. Nothing may panic, and every call ends or waits.

mod common;

use common::scsi::{Scsi, Unit};
use common::{Atapi, Chaos, Config, Disk, Ide, Mock, Regs};
use proptest::prelude::*;
use slotone_block::memory::MemoryDisk;
use slotone_firmware::{Outcome, Registers};

fn regs() -> impl Strategy<Value = Regs> {
    let word = prop_oneof![Just(0u16), Just(0xFFFF), Just(0x9FC0), any::<u16>()];
    (any::<[u32; 7]>(), word.clone(), word).prop_map(|(r, ds, es)| Regs {
        eax: r[0],
        ebx: r[1],
        ecx: r[2],
        edx: r[3],
        esi: r[4],
        edi: r[5],
        ebp: r[6],
        ds,
        es,
        cs: 0x1000,
        ip: 0x100,
        flags: 0x202,
    })
}

fn machine() -> Mock {
    let mut mock = Mock::new();
    mock.ide[0] = Ide::with_disk(Disk::new(3000));
    mock.ide[1] = Ide::with_cd(Atapi { disc: Some(vec![1; 40 * 2048]), attentions: 0 });
    let units = vec![(0, Unit::Disk(MemoryDisk::new(64 << 20))), (4, Unit::Cd(Some(vec![2; 40 * 2048])))];
    mock.scsi.push(Scsi::new(9, units));
    mock.post();
    mock
}

/// One trap on a frame that is already in memory at 0:7000.
fn trap(mock: &mut Mock) -> Outcome {
    mock.registers = Registers { cs: 0xF000, eip: 0x8030, esp: 0x7000, cr0: 0x10, ..Registers::default() };
    let firmware = mock.firmware.clone();
    firmware.service(mock)
}

/// Traps again for as long as the service waits, but not for ever.
fn trap_for_a_while(mock: &mut Mock) {
    for _ in 0..2000 {
        match trap(mock) {
            Outcome::Done => return,
            _ => mock.now += 50_000_000,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_registers(vector in prop_oneof![Just(0x10u16), Just(0x13), Just(0x15), Just(0x16), Just(0x17), Just(0x14), Just(0x1A), 0u16..0x110],
                     r in regs()) {
        let mut mock = machine();
        let mut frame = vec![0u8; 76];
        for (i, value) in [r.edi, r.esi, r.ebp, 0, r.ebx, r.edx, r.ecx, r.eax].into_iter().enumerate() {
            frame[36 + 4 * i..40 + 4 * i].copy_from_slice(&value.to_le_bytes());
        }
        frame[32..34].copy_from_slice(&r.es.to_le_bytes());
        frame[34..36].copy_from_slice(&r.ds.to_le_bytes());
        frame[68..70].copy_from_slice(&vector.to_le_bytes());
        mock.memory[0x7000..0x704C].copy_from_slice(&frame);
        trap_for_a_while(&mut mock);
    }

    #[test]
    fn any_frame(bytes in proptest::collection::vec(any::<u8>(), 76), service in 0u16..0x108, phase in prop_oneof![0u16..12, any::<u16>()],
                 stage in 0u16..8) {
        let mut mock = machine();
        mock.memory[0x7000..0x704C].copy_from_slice(&bytes);
        mock.memory[0x7044..0x7046].copy_from_slice(&service.to_le_bytes());
        mock.memory[0x7002..0x7004].copy_from_slice(&phase.to_le_bytes());
        mock.memory[0x7016..0x7018].copy_from_slice(&stage.to_le_bytes());
        trap_for_a_while(&mut mock);
    }

    #[test]
    fn any_data_areas(bda in proptest::collection::vec(any::<u8>(), 256), ebda in proptest::collection::vec(any::<u8>(), 1024),
                      vector in prop_oneof![Just(0x10u8), Just(0x13), Just(0x14), Just(0x16), Just(0x17), Just(0x18), Just(0x19), Just(0x1A)],
                      r in regs()) {
        let mut mock = machine();
        mock.memory[0x400..0x500].copy_from_slice(&bda);
        mock.memory[0x9_FC00..0xA_0000].copy_from_slice(&ebda);
        let mut frame = vec![0u8; 76];
        frame[56..60].copy_from_slice(&r.edx.to_le_bytes());
        frame[60..64].copy_from_slice(&r.ecx.to_le_bytes());
        frame[64..68].copy_from_slice(&r.eax.to_le_bytes());
        frame[68] = vector;
        mock.memory[0x7000..0x704C].copy_from_slice(&frame);
        trap_for_a_while(&mut mock);
    }
}

#[test]
fn traps_from_elsewhere_are_ignored() {
    let mut mock = machine();
    let before = mock.memory.clone();
    let firmware = mock.firmware.clone();
    for registers in [
        Registers { cs: 0x1000, esp: 0x7000, cr0: 0x10, ..Registers::default() },
        // Protected mode, flat.
        Registers { cs: 0xF000, esp: 0x7000, cr0: 0x11, ..Registers::default() },
    ] {
        mock.registers = registers;
        assert_eq!(firmware.service(&mut mock), Outcome::Done);
    }
    assert!(mock.memory == before);
    // Virtual-8086 mode counts as 16-bit: the page tables may not have the stack, though.
    mock.registers =
        Registers { cs: 0xF000, esp: 0x7000, cr0: 0x8000_0011, eflags: 1 << 17, ..Registers::default() };
    mock.mapped_end = 0x7000;
    assert_eq!(firmware.service(&mut mock), Outcome::Done);
}

#[test]
fn a_buffer_that_is_not_mapped_fails_the_write() {
    let mut mock = machine();
    mock.mapped_end = 0x2_0000;
    let r = mock.int(0x13, Regs { eax: 0x0301, ecx: 1, edx: 0x80, es: 0x3000, ..Regs::default() });
    assert!(r.carry());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// An adapter whose registers read anything at all. POST gives up in time, and so does whoever believes in its disks.
    #[test]
    fn any_adapter(bytes in proptest::collection::vec(any::<u8>(), 1..12), r in regs()) {
        let mut mock = Mock::new();
        mock.pci.insert((9, 0), Config::new(0x9004, 0x7078, 0x01_0000, false).bar(0x10, 256, 1).pin(1));
        mock.chaos = Some(Chaos { base: 0xC000, bytes, at: 0 });
        mock.post();
        prop_assert!(mock.now < 60_000_000_000, "{} s", mock.now / 1_000_000_000);
        // Disks and CDs that are not there: 80h to 83h, E0h.
        for (index, kind) in [1u8, 1, 2, 1].into_iter().enumerate() {
            let entry = 0x9_FE00 + 16 * index;
            mock.memory[entry..entry + 16].copy_from_slice(&[kind, 9 << 3, 7, index as u8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        }
        for drive in [0x80, 0x82, 0xE0] {
            mock.memory[0x600..0x610].copy_from_slice(&[16, 0, 90, 0, 0, 0, 0, 0x10, 7, 0, 0, 0, 0, 0, 0, 0]);
            for ah in [0x42, 0x43, 0x02, 0x44] {
                mock.int(0x13, Regs { eax: ah << 8 | 5, ecx: 1, edx: drive, esi: 0x600, ds: 0, es: 0x1000, ..r });
            }
        }
    }
}
