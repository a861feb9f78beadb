//! The whole machine with a random boot sector: nothing panics, and a machine that is saved, restored into another one and goes on
//! comes to the same state as one that runs on.
//!
//! The input: what the first 512 bytes of a disk hold, behind one byte of options. What follows them lies in the sectors behind.
//! The machine has been through POST already; the sector is put to 0000:7C00 and entered as the BIOS would.

use std::sync::{Arc, OnceLock};

use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, read_exact};
use slotone_bus::VmInstant;
use slotone_firmware::BootDevice;
use slotone_superio_w83977::{Kbc, KeyCode, Uart};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{ClockMode, DriveBay, Machine, RunExit, VirtualServer2005, virtual_server_2005};

use super::text;

/// Sectors of the disk and of the disc.
const SECTORS: u64 = 128;
/// Most bytes of an input.
const INPUT: usize = 8 * 512 + 1;
/// Virtual nanoseconds of each of the two halves of a run: 10,000 instructions at 5 ns each, and what HLT skips.
const HALF: u64 = 50_000;
/// Where the BIOS puts a boot sector.
const ENTRY: u64 = 0x7c00;

/// The disk and the disc of a machine.
#[derive(Clone)]
struct Media {
    disk: Arc<MemoryDisk>,
    disc: Arc<MemoryDisk>,
}

fn content(disk: &MemoryDisk) -> Vec<u8> {
    let mut bytes = vec![0; disk.info().capacity as usize];
    read_exact(disk, 0, &mut bytes).expect("it is in memory");
    bytes
}

fn media(image: &[u8]) -> Media {
    let mut bytes = image.to_vec();
    bytes.resize(SECTORS as usize * 512, 0);
    let disc: Vec<u8> = (0..SECTORS as u32).flat_map(|n| n.to_le_bytes().repeat(128)).collect();
    Media {
        disk: Arc::new(MemoryDisk::from_bytes(&bytes)),
        disc: Arc::new(MemoryDisk::from_bytes(&disc).read_only()),
    }
}

fn build(media: &Media) -> Machine {
    let config = VirtualServer2005 {
        memory_mib: 4,
        clock: ClockMode::Counted,
        boot: vec![BootDevice::HardDisk],
        ide: [
            DriveBay::Disk(media.disk.clone()),
            DriveBay::Empty,
            DriveBay::CdRom(Some(media.disc.clone())),
            DriveBay::Empty,
        ],
        ..VirtualServer2005::new()
    };
    let builder = virtual_server_2005(&config).expect("a machine of 4 MiB");
    builder.build().expect("it has a processor")
}

/// The state of a machine that has entered its boot sector, an endless loop.
pub(crate) fn booted() -> &'static [u8] {
    static STATE: OnceLock<Vec<u8>> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut sector = vec![0xeb, 0xfe];
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        let mut machine = build(&media(&sector));
        for seconds in 1..60 {
            machine.run(VmInstant::from_nanos(seconds * 1_000_000_000));
            let state = machine.cpu().save();
            if state.segments[1].base.wrapping_add(state.eip) == ENTRY as u32 {
                return save(&machine);
            }
        }
        panic!("POST does not come to the boot sector");
    })
}

/// Somebody types and something arrives on the serial line, in the middle of the run.
fn outside(machine: &mut Machine, options: u8) {
    if options & 1 != 0 {
        let keyboard = machine.find(name::KBC).expect("a keyboard");
        machine.with::<Kbc, _>(keyboard, |kbc, cx| {
            kbc.key(cx, KeyCode::ALL[usize::from(options >> 2) % KeyCode::ALL.len()], true);
        });
    }
    if options & 2 != 0 {
        let line = machine.find(name::UART0).expect("a serial port");
        machine.with::<Uart, _>(line, |uart, cx| {
            uart.receive(cx, &[options, 0x0d]);
        });
    }
}

fn save(machine: &Machine) -> Vec<u8> {
    machine.save().expect("media in memory answer at once")
}

fn limit(from: VmInstant) -> VmInstant {
    from + HALF
}

fn run(machine: &mut Machine) -> RunExit {
    let limit = limit(machine.now());
    machine.run(limit)
}

/// See the module.
pub fn machine(input: &[u8]) {
    let input = text::bytes(input);
    let input = &input[..input.len().min(INPUT)];
    let (options, image) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
    let media_a = media(image);
    let mut a = build(&media_a);
    a.restore(booted()).expect("its own state");
    let sector = content(&media_a.disk);
    a.physical_write(ENTRY, &sector[..512]);
    let first = run(&mut a);
    assert!(
        !matches!(first, RunExit::Unsupported { .. }),
        "the software processor executes everything: {first:?}"
    );
    outside(&mut a, options);
    let middle = save(&a);

    // Another machine goes on from there; its disk holds what the first one's holds now.
    let media_b =
        Media { disk: Arc::new(MemoryDisk::from_bytes(&content(&media_a.disk))), disc: media_a.disc.clone() };
    let mut b = build(&media_b);
    b.restore(&middle).expect("its own state");
    assert!(save(&b) == middle, "a restored machine saves as what it was");
    let ends = [run(&mut a), run(&mut b)];
    assert_eq!(ends[0], ends[1], "the restored machine ends otherwise");
    assert_eq!(a.retired(), b.retired(), "the restored machine has executed another number of instructions");
    assert_eq!(a.cpu().save(), b.cpu().save(), "the processors differ");
    let (a_end, b_end) = (save(&a), save(&b));
    let differs = a_end.iter().zip(&b_end).position(|(x, y)| x != y);
    assert_eq!(differs, None, "the states differ at that byte");
    assert!(a_end == b_end);
    assert!(content(&media_a.disk) == content(&media_b.disk), "the disks differ");
}
