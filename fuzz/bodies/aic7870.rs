//! AIC-7870 with three disks (one has a bad sector, one attentions, hangs and absences) and a CD drive: registers under any script, and any sequencer program. Besides the rules of
//! `slotone-fuzz-kit`, the sequencer goes instruction by instruction beside a reference (`aic7870_steps`).

use std::any::Any;

use slotone_aic7870::{Aic7870, Aic7870Config, Latency, Timing};
use slotone_block::BlockBackend;
use slotone_block::layers::{ErrorLayer, On};
use slotone_block::memory::MemoryDisk;
use slotone_bus::{At, Device, TestPort, WindowId};
use slotone_fuzz_kit::{Harness, Operation, Script, assert_rules};
use slotone_scsi::{CdRom, Disk, DiskConfig, Fault, FaultKind, Faulty, Target};

use super::aic7870_steps::stepped;
use super::{Reader, text};

const SECTORS: u64 = 400;
const CD: u8 = 5;
const CD_BYTES: u64 = 64 << 10;

fn adapter(config: Aic7870Config) -> Aic7870 {
    let disk = |sectors: u64| -> Option<Box<dyn Target>> {
        Some(Box::new(Disk::new(DiskConfig::new(MemoryDisk::new(sectors * 512).info()))))
    };
    let mut cd = CdRom::new();
    cd.insert(CD_BYTES);
    let mut targets: [Option<Box<dyn Target>>; 16] = Default::default();
    targets[0] = disk(SECTORS);
    targets[1] = disk(64);
    let fault = |kind, access, times| Fault { kind, access, times };
    let faults = [
        fault(FaultKind::Vanish, 2, 1),
        fault(FaultKind::Hang, 3, 1),
        fault(FaultKind::Attention, 4, 1),
        fault(FaultKind::Hang, 6, u64::MAX),
    ];
    targets[2] = disk(64).map(|disk| Box::new(Faulty::new(disk, faults.to_vec())) as Box<dyn Target>);
    targets[usize::from(CD)] = Some(Box::new(cd));
    Aic7870::new(config, targets)
}

fn media() -> Vec<Option<Box<dyn BlockBackend>>> {
    let mut media: Vec<Option<Box<dyn BlockBackend>>> = (0..16).map(|_| None).collect();
    let bad = ErrorLayer::new(MemoryDisk::new(SECTORS * 512)).bad(300 * 512..301 * 512, On::Both);
    media[0] = Some(Box::new(bad));
    media[1] = Some(Box::new(MemoryDisk::new(64 * 512)));
    media[2] = Some(Box::new(MemoryDisk::new(64 * 512)));
    media[usize::from(CD)] = Some(Box::new(MemoryDisk::new(CD_BYTES).read_only()));
    media
}

/// Windows as a BIOS sets them: 0 configuration space, 1 ports at D000h, 2 memory.
fn configure(aic: &mut Aic7870) {
    let mut port = TestPort::new(1 << 12);
    let mut write = |offset: u64, data: &[u8]| {
        port.at(0, |cx| aic.write(cx, At { window: WindowId(0), offset }, data));
    };
    write(0x10, &0xd001u32.to_le_bytes());
    write(0x14, &0xfeb0_0000u32.to_le_bytes());
    write(0x04, &[7, 1]);
}

fn load(aic: &mut Aic7870, program: &[u8]) {
    let mut port = TestPort::new(1 << 12);
    let mut write = |offset: u64, value: u8| {
        port.at(0, |cx| aic.write(cx, At { window: WindowId(2), offset }, &[value]));
    };
    write(0x87, 0x04);
    write(0x60, 0xb1);
    program.iter().for_each(|byte| write(0x61, *byte));
    write(0x60, 0x10);
    write(0x62, 0);
    write(0x63, 0);
    write(0x02, 0x27);
    write(0x87, 0x02);
}

/// How the targets behave: at once, as fast disks do, or with hesitations.
fn config(kind: u8) -> Aic7870Config {
    let none = Timing { access: 0, sector: 0, selection: 0, selection_timeout: 0, disconnect_after: 0 };
    let timing = if kind & 1 == 0 { Timing::default() } else { none };
    let latency = match kind & 2 {
        0 => Latency::default(),
        _ => Latency { request: 2_000, burst: 100, seed: kind.into() },
    };
    Aic7870Config { wide: kind & 4 != 0, timing, latency, ..Aic7870Config::default() }
}

/// Runs `script` under the rules; `h 0` inserts a disc, `h 1` ejects it.
fn check(config: Aic7870Config, program: Vec<u8>, script: &Script) {
    let make = move || {
        let mut aic = adapter(config);
        configure(&mut aic);
        if !program.is_empty() {
            load(&mut aic, &program);
        }
        aic
    };
    let harness = || {
        Harness::new(make.clone())
            .with_media(media())
            .with_prepare(|old: &Aic7870, new: &mut Aic7870| {
                let old = old.target(CD).and_then(|t| (t as &dyn Any).downcast_ref::<CdRom>());
                if old.is_some_and(|cd| cd.blocks().is_none()) {
                    new.target_as::<CdRom>(CD).expect("a CD drive").eject();
                }
            })
            .with_host(|aic: &mut Aic7870, _, event, _| {
                let cd = aic.target_as::<CdRom>(CD).expect("a CD drive");
                if event == 0 { cd.insert(CD_BYTES) } else { cd.eject() }
            })
    };
    assert_rules(harness, script);
}

/// The sequencer runs in all the time that passes, ten million instructions a second: a script has 20 ms of it.
fn shortened(mut script: Script) -> Script {
    let mut left = 20_000_000;
    for operation in &mut script.operations {
        if let Operation::Advance { nanos } = operation {
            *nanos = (*nanos).min(left);
            left -= *nanos;
        }
    }
    script
}

/// Any script on the registers, without a program and with all three kinds of targets.
pub fn aic7870_registers(input: &[u8]) {
    let script = shortened(Script::from_input(input));
    for kind in [0, 1, 6] {
        check(config(kind), Vec::new(), &script);
    }
    stepped(loaded(config(1), &[]), &[], &script);
}

/// Any program: a byte for the kind of targets, a word for its length in bytes, the program, and a script in the form of bytes.
pub fn aic7870_sequencer(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let kind = input.u8();
    let len = usize::from(input.u16()) % 2049;
    let program = input.take(len).to_vec();
    let script = shortened(Script::from_bytes(input.0));
    check(config(kind), program.clone(), &script);
    stepped(loaded(config(kind), &program), &program, &script);
}

/// An adapter with a program, about to run it.
fn loaded(config: Aic7870Config, program: &[u8]) -> Aic7870 {
    let mut aic = adapter(config);
    configure(&mut aic);
    load(&mut aic, program);
    aic
}
